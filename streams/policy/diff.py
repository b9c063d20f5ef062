"""Which decisions differ under another policy.

Two policies are compared over all combinations of attributes, or over decisions that were made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import product

from msgspec import Struct, field, to_builtins

from streams.consent.words import CLAIMED_CONSENT, NO_CONSENT
from streams.events.runs import Run, consecutive
from streams.limits import DIFF_RUNS_MAX
from streams.policy.attributes import Attributes, domains_of
from streams.policy.policy import UNCONFIGURED, Policy
from streams.policy.rules import AnonymityBounds
from streams.policy.step import NOT_ASKED

#: Source, stream and numbers of events.
EventRun = tuple[str, str, Run]


class Change(Struct, frozen=True):
    """One way in which decisions differ: the sink, zones and verdicts before and after, and the new rule."""

    sink: str
    zone: str
    next_zone: str
    verdict: str
    next_verdict: str
    next_rule: str


#: The floor of confidence beside the rules; none of them can have this name.
CONFIDENCE = "[assistant] confidence_percent_min"


class SpeechChange(Struct, frozen=True):
    """What the assistant may say otherwise: a rule, and its condition under each policy, empty without it.

    `rule` is the name of a rule by which answers are withheld, or CONFIDENCE.
    """

    rule: str
    when: str
    new_when: str = field(name="new when")


class BoundChange(Struct, frozen=True):
    """A bound of anonymised exports that differs; None under a policy that permits none."""

    bound: str
    old: int | None
    new: int | None


class KeysChange(Struct, frozen=True):
    """A sink for whose purpose other programs are given keys of sealed values: who, under each policy."""

    sink: str
    old: tuple[str, ...]
    new: tuple[str, ...]


class Group(Struct):
    """Everything that differs in one way: the count, the kinds and, in `over_runs`, the runs of events.

    `on_paper` counts combinations, `over_runs` events; at most DIFF_RUNS_MAX runs are kept.
    """

    count: int
    kinds: set[str]
    runs: list[EventRun]


Groups = dict[Change, Group]


class DecidedRun(Struct, frozen=True):
    """A decision about a run of events; fields are columns of table `decisions`."""

    sink: str
    source: str
    stream: str
    first: int
    step: int
    count: int
    zone: str
    verdict: str
    rule: str


def every_combination(own_kinds: Collection[str] = ()) -> Iterable[Attributes]:
    """Yield all combinations of attributes of the shipped kinds and of `own_kinds`.

    Streams are named after their kinds.
    """
    domains = domains_of(own_kinds)
    names = [name for name in domains if name not in {"kind", "stream"}]
    for kind in domains["kind"]:
        for values in product(*(domains[name] for name in names)):
            yield Attributes(
                kind=kind, stream=kind.replace("_", "-"), **dict(zip(names, values, strict=True))
            )


def on_paper(old: Policy, new: Policy) -> tuple[int, Groups, Groups]:
    """Compare two policies: (combinations, changes of zone, changes of verdict).

    The sink of a change of zone is empty.
    """
    zones: Groups = {}
    flows: Groups = {}
    count = 0
    for attributes in every_combination({kind for kind, _ in (*old.labels, *new.labels)}):
        count += 1
        before, after = old.tag(attributes), new.tag(attributes)
        if before.zone != after.zone:
            _on_paper(zones, Change("", before.zone, after.zone, "", "", after.rule), attributes.kind)
        for sink in dict.fromkeys((*old.sinks, *new.sinks)):
            verdict, _ = _verdict(old, attributes, sink)
            new_verdict, rule = _verdict(new, attributes, sink)
            if verdict != new_verdict:
                change = Change(sink, before.zone, after.zone, verdict, new_verdict, rule)
                _on_paper(flows, change, attributes.kind)
    return count, zones, flows


def of_speech(old: Policy, new: Policy) -> tuple[SpeechChange, ...]:
    """Rules by which answers are withheld, and the floor of confidence, where two policies differ in them.

    Which answers that concerns is not known on paper: it depends on what was asked and on how sure a model
    was.
    """
    before, after = (
        {rule.name: " ".join(rule.when.text.split()) for rule in of.speech.withheld} for of in (old, new)
    )
    floors = (str(of.speech.confidence_percent_min or "") for of in (old, new))
    every = [
        *(SpeechChange(name, before.get(name, ""), after.get(name, "")) for name in {**before, **after}),
        SpeechChange(CONFIDENCE, *floors),
    ]
    return tuple(change for change in every if change.when != change.new_when)


def of_anonymity(old: Policy, new: Policy) -> tuple[BoundChange, ...]:
    """Bounds of anonymised exports where two policies differ in them."""
    before, after = (to_builtins(of.anonymised) if of.anonymised is not None else {} for of in (old, new))
    return tuple(
        BoundChange(name, before.get(name), after.get(name))
        for name in AnonymityBounds.__struct_fields__
        if before.get(name) != after.get(name)
    )


def of_keys(old: Policy, new: Policy) -> tuple[KeysChange, ...]:
    """Sinks for which two policies give keys to others."""
    sinks = dict.fromkeys((*old.sinks, *new.sinks))
    named = [
        {name: tuple(sorted(of.sinks[name].keys_for)) if name in of.sinks else () for name in sinks}
        for of in (old, new)
    ]
    before, after = named
    return tuple(KeysChange(name, before[name], after[name]) for name in sinks if before[name] != after[name])


def _verdict(policy: Policy, attributes: Attributes, sink: str) -> tuple[str, str]:
    tag = policy.tag(attributes)
    if tag.zone == UNCONFIGURED or not tag.label:
        return UNCONFIGURED, tag.rule
    flow = policy.flow(tag.zone, tag.label, sink, CLAIMED_CONSENT if attributes.consent_given else NO_CONSENT)
    return flow.verdict, flow.rule


def over_runs(before: Iterable[DecidedRun], after: Iterable[DecidedRun]) -> tuple[int, Groups]:
    """Compare the decisions of two pipeline runs over one journal, by event: (events decided, changes)."""
    mine, theirs = _by_event(before), _by_event(after)
    numbers: dict[tuple[Change, str, str], list[int]] = {}
    for sink, source, stream, number in {**theirs, **mine}:
        was = mine.get((sink, source, stream, number), ("", NOT_ASKED, ""))
        now = theirs.get((sink, source, stream, number), ("", NOT_ASKED, ""))
        if was[:2] != now[:2]:
            change = Change(sink, was[0], now[0], was[1], now[1], now[2])
            numbers.setdefault((change, source, stream), []).append(number)
    groups: Groups = {}
    for (change, source, stream), some in numbers.items():
        runs = [(source, stream, run) for run in consecutive(sorted(some))]
        add(groups, change, stream.partition("~")[0], runs)
    return len(mine), groups


def _by_event(runs: Iterable[DecidedRun]) -> dict[tuple[str, str, str, int], tuple[str, str, str]]:
    return {
        (run.sink, run.source, run.stream, run.first + at * run.step): (run.zone, run.verdict, run.rule)
        for run in runs
        for at in range(run.count)
    }


def add(groups: Groups, change: Change, kind: str, runs: Iterable[EventRun]) -> None:
    """Add runs of events of a kind to the group of their change."""
    group = groups.setdefault(change, Group(0, set(), []))
    group.kinds.add(kind)
    for run in runs:
        group.count += run[2].count
        if len(group.runs) < DIFF_RUNS_MAX:
            group.runs.append(run)


def _on_paper(groups: Groups, change: Change, kind: str) -> None:
    group = groups.setdefault(change, Group(0, set(), []))
    group.count += 1
    group.kinds.add(kind)
