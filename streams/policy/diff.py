"""What another policy would decide otherwise.

It is asked on paper, over every combination of attributes, or over decisions that were made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

from msgspec import Struct

from streams.events.consent import CLAIMED_CONSENT, NO_CONSENT
from streams.policy.attributes import DOMAINS, Attributes
from streams.policy.policy import UNCONFIGURED, Policy
from streams.policy.recheck import Policies, again


class Change(Struct, frozen=True):
    """One way in which decisions differ.

    They differ at a sink, from zone to zone, from verdict to verdict, by the new rule.
    """

    sink: str
    zone: str
    next_zone: str
    verdict: str
    next_verdict: str
    next_rule: str


class Group(Struct):
    """All that differs in one way: how many, of which kinds, and one example.

    On paper it counts combinations, over decisions events.
    """

    count: int
    kinds: set[str]
    example: str


Groups = dict[Change, Group]


def every_combination() -> Iterable[Attributes]:
    """Every combination of attributes; streams are named after their kinds."""
    names = [name for name in DOMAINS if name not in {"kind", "stream"}]
    for kind in DOMAINS["kind"]:
        for values in product(*(DOMAINS[name] for name in names)):
            yield Attributes(
                kind=kind, stream=kind.replace("_", "-"), **dict(zip(names, values, strict=True))
            )


def on_paper(old: Policy, new: Policy) -> tuple[int, Groups, Groups]:
    """(combinations, changes of zone, changes of verdict) between two policies.

    Sink is empty for changes of zone.
    """
    zones: Groups = {}
    flows: Groups = {}
    count = 0
    for attributes in every_combination():
        count += 1
        before, after = old.tag(attributes), new.tag(attributes)
        if before.zone != after.zone:
            _add(
                zones,
                Change("", before.zone, after.zone, "", "", after.rule),
                1,
                attributes.kind,
                attributes.text(),
            )
        for sink in dict.fromkeys((*old.sinks, *new.sinks)):
            said, rule = _verdict(old, attributes, sink), _verdict(new, attributes, sink)
            if said[0] != rule[0]:
                _add(
                    flows,
                    Change(sink, before.zone, after.zone, said[0], rule[0], rule[1]),
                    1,
                    attributes.kind,
                    attributes.text(),
                )
    return count, zones, flows


def _verdict(policy: Policy, attributes: Attributes, sink: str) -> tuple[str, str]:
    tag = policy.tag(attributes)
    if tag.zone == UNCONFIGURED or not tag.label:
        return UNCONFIGURED, tag.rule
    flow = policy.flow(tag.zone, tag.label, sink, CLAIMED_CONSENT if attributes.consent_given else NO_CONSENT)
    return flow.verdict, flow.rule


def over_decisions(rows: Iterable[Mapping[str, Any]], policies: Policies, new: Policy) -> tuple[int, Groups]:
    """(events, changes of verdict or zone) between stored decisions and the same under `new`.

    A row stands for `events` events.

    Captured events are tagged again from their attributes. A derived event keeps its zone, and its label in
    the words of `new`.
    """
    groups: Groups = {}
    count = 0
    for row in rows:
        count += row["events"]
        moved = row
        if not row["attributes"]:
            label = new.adopted(bytes.fromhex(row["label"]), policies.version(row["policy_version"]))
            moved = {**row, "label": label.hex()}
        now = again(new, moved)
        if (now["zone"], now["verdict"]) != (row["zone"], row["verdict"]):
            change = Change(
                row["sink"], row["zone"], now["zone"], row["verdict"], now["verdict"], now["rule"]
            )
            _add(groups, change, row["events"], row["kind"], row["attributes"] or "derived")
    return count, groups


def over_runs(before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]) -> tuple[int, Groups]:
    """(events decided, changes) between the decisions of two pipeline runs over one journal, by event."""
    mine, theirs = _by_event(before), _by_event(after)
    groups: Groups = {}
    for (sink, source, stream, number), here in {**theirs, **mine}.items():
        was = mine.get((sink, source, stream, number), ("", "not-asked", ""))
        now = theirs.get((sink, source, stream, number), ("", "not-asked", ""))
        if was[:2] != now[:2]:
            _add(
                groups,
                Change(sink, was[0], now[0], was[1], now[1], now[2]),
                1,
                stream.partition("~")[0],
                f"{source}/{stream}/{number}",
            )
        del here
    return len(mine), groups


def _by_event(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, str, int], tuple[str, str, str]]:
    return {
        (row["sink"], row["source"], row["stream"], row["first"] + at * row["step"]): (
            row["zone"],
            row["verdict"],
            row["rule"],
        )
        for row in rows
        for at in range(row["count"])
    }


def _add(groups: Groups, change: Change, count: int, kind: str, example: str) -> None:
    group = groups.setdefault(change, Group(0, set(), example))
    group.count += count
    group.kinds.add(kind)
