"""`sightline policy check`, `show` and `test`.

They tell what a policy file says, and whether it does what its own examples say.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import click
from msgspec import UNSET, Struct, UnsetType, field, to_builtins

from streams import clock
from streams.cli.extending import kinds_option
from streams.cli.output import emit_facts, emit_json, emit_rows, json_option
from streams.events.kinds import Kinds
from streams.policy import examples
from streams.policy.analysis import in_words
from streams.policy.diff import every_combination
from streams.policy.load import load
from streams.policy.notice import NOBODY
from streams.policy.policy import UNCONFIGURED, Policy
from streams.policy.possible import sealed_kinds
from streams.policy.rules import Declassifier, Sink, Zone
from streams.policy.vocabulary import Vocabulary
from streams.printing import say, say_exactly
from streams.queries.answers import Answer
from streams.topology import CROSSINGS, SINGLE_STREAMS

UNTAKEN_SHOWN = 5
#: Captured kinds of single events that people or the device state; of all others there are many a second.
_STATED = frozenset(
    {*SINGLE_STREAMS, "consent_change", "erasure_request", "device_state", "capture", "gesture"}
)
#: As measured with zstd.
_COSTS = "each value is sealed alone, so none are compressed together: 269 bytes a batch of motion, not 107"
_AS_IT_SAYS = "each comes out as the file says"


@click.command("check")
@click.argument("file")
@kinds_option
@json_option
def check(file: str, kinds: Kinds, as_json: bool) -> None:
    """Read the policy FILE (a path, or the name of one that is shipped) and say what it declares."""
    answer = _checked(load(file, clock.date_today(), kinds), kinds)
    if as_json:
        emit_json(answer.to_dict())
        return
    tables = ("zones", "sinks", "requirements", "declassifiers", "withheld", "untaken")
    emit_facts({name: value for name, value in answer.to_dict().items() if name not in tables})
    for name in tables:
        if rows := getattr(answer, name):
            say()
            say("no zone takes, so refused (some)" if name == "untaken" else name)
            emit_rows(rows)


class ZoneRow(Struct, frozen=True, kw_only=True):
    """A zone; it takes so many combinations of attributes."""

    rank: int
    zone: str
    mode: str
    takes: int
    keeps: str
    consent: str
    reads: str
    when: str


class SinkRow(Struct, frozen=True, kw_only=True):
    """A sink: what it may receive, or what it may not where that is shorter to say."""

    sink: str
    purpose: str
    region: str
    risk: str
    run_by: str = field(name="run by")
    trained_on: str = field(name="trained on")
    subjects: Sequence[str]
    honours: Sequence[str]
    receives: Sequence[str] | str
    but_not: Sequence[str] = field(name="but not")
    keys_for: Sequence[str] = field(name="keys for")


class RequirementRow(Struct, frozen=True):
    """A requirement, in the words of the policy; owner and proof are empty where it names none."""

    requirement: str
    when: str
    require: str
    about: str
    owner: str
    proof: str


class DeclassifierRow(Struct, frozen=True, kw_only=True):
    """A declassifier, who owns it and when its owner has to look at it again."""

    declassifier: str
    owner: str
    sets: str
    wearers: int
    review_by: str = field(name="review by")
    days_left: int = field(name="days left")
    overdue: str
    when_overdue: str = field(name="when overdue")


class WithheldRow(Struct, frozen=True):
    """A rule by which an answer is not said."""

    withheld: str
    when: str
    about: str


class Checked(Answer, frozen=True, kw_only=True):
    """What a policy declares; `untaken` are some combinations of attributes that no zone takes."""

    policy: str
    version: str
    owner: str
    combinations: int = field(name="combinations of attributes")
    unconfigured: int = field(name="of them unconfigured")
    crossings: str = field(name="crossings with a sink")
    examples: int
    unnamed: str = field(name="kinds that it does not name, so refused")
    confidence: str = field(name="confidence below which an answer says so")
    anonymised: str = field(name="anonymised exports")
    second_order: str = field(name="second order after an erasure")
    sealed: str | UnsetType = field(default=UNSET, name="sealed beside examples")
    sealing_costs: str | UnsetType = field(default=UNSET, name="what sealing costs")
    zones: tuple[ZoneRow, ...]
    sinks: tuple[SinkRow, ...]
    requirements: tuple[RequirementRow, ...]
    declassifiers: tuple[DeclassifierRow, ...]
    withheld: tuple[WithheldRow, ...]
    untaken: tuple[Mapping[str, str | bool], ...]


class ExampleDifference(Struct, frozen=True):
    """An example of a policy that comes out otherwise than it says, and in which line it stands."""

    line: int
    event: str
    about: str
    expected: str
    actual: str


class Tested(Answer, frozen=True, kw_only=True):
    """How many examples a policy gives of itself, and which come out otherwise."""

    policy: str
    version: str
    examples: int
    differences: tuple[ExampleDifference, ...]


def _checked(policy: Policy, kinds: Kinds) -> Checked:
    taken = dict.fromkeys([*(zone.name for zone in policy.zones), UNCONFIGURED], 0)
    untaken: list[Mapping[str, str | bool]] = []
    for attributes in every_combination({kind.name for kind in kinds.captured}):
        zone = policy.tag(attributes).zone
        taken[zone] += 1
        if zone == UNCONFIGURED and attributes.consent_given and len(untaken) < UNTAKEN_SHOWN:
            untaken.append({name: value for name, value in attributes._asdict().items() if name != "stream"})
    sealed = sealed_kinds(policy)
    sampled = sorted({kind for some in sealed.values() for kind in some} - _STATED)
    with_sink = sum(crossing in policy.sinks for crossing in CROSSINGS)
    return Checked(
        policy=policy.name,
        version=policy.version,
        owner=policy.owner.says or NOBODY,
        combinations=sum(taken.values()),
        unconfigured=taken[UNCONFIGURED],
        crossings=f"{with_sink} of {len(CROSSINGS)}",
        examples=len(policy.examples),
        unnamed=", ".join(policy.unnamed(kinds)) or "none",
        confidence=f"{policy.speech.confidence_percent_min} %"
        if policy.speech.confidence_percent_min
        else "none",
        anonymised="none"
        if policy.anonymised is None
        else ", ".join(f"{name} {bound}" for name, bound in to_builtins(policy.anonymised).items()),
        second_order=policy.second_order,
        sealed="; ".join(f"{zone}: {', '.join(some)}" for zone, some in sealed.items()) or UNSET,
        sealing_costs=f"{', '.join(sampled)}: {_COSTS}" if sampled else UNSET,
        zones=tuple(_zone(zone, taken[zone.name]) for zone in policy.zones),
        sinks=tuple(_sink(policy.vocabulary, sink) for sink in policy.sinks.values()),
        requirements=tuple(
            RequirementRow(
                rule.name,
                rule.when.text if rule.when else "always",
                rule.require.text,
                rule.about,
                rule.owner,
                rule.proof,
            )
            for rule in policy.requirements
        ),
        declassifiers=tuple(map(_declassifier, policy.declassifiers.values())),
        withheld=tuple(WithheldRow(rule.name, rule.when.text, rule.about) for rule in policy.speech.withheld),
        untaken=tuple(untaken),
    )


def _zone(zone: Zone, taken: int) -> ZoneRow:
    return ZoneRow(
        rank=zone.rank,
        zone=zone.name,
        mode=zone.mode,
        takes=taken,
        keeps=zone.retention,
        consent="not needed" if zone.without_consent else "needed",
        reads="recorded" if zone.restricted else "",
        when=zone.condition.text,
    )


def _declassifier(declassifier: Declassifier) -> DeclassifierRow:
    today = clock.date_today()
    return DeclassifierRow(
        declassifier=declassifier.name,
        owner=declassifier.owner,
        sets=declassifier.retention,
        wearers=declassifier.wearers_min,
        review_by=declassifier.review_by.isoformat(),
        days_left=(declassifier.review_by - today).days,
        overdue=declassifier.review(today) if declassifier.overdue(today) else "",
        when_overdue=declassifier.when_overdue,
    )


def _sink(vocabulary: Vocabulary, sink: Sink) -> SinkRow:
    words = vocabulary.words
    but_not = vocabulary.mask("categories", vocabulary.categories) & ~sink.receives
    few = but_not.bit_count() < sink.receives.bit_count()
    return SinkRow(
        sink=sink.name,
        purpose=sink.purpose,
        region=sink.region,
        risk=sink.risk,
        run_by=sink.run_by,
        trained_on=sink.trained_on,
        subjects=words("subjects", sink.subjects),
        honours=words("obligations", sink.honours),
        receives="everything" if few else words("categories", sink.receives),
        but_not=words("categories", but_not) if few else (),
        keys_for=sorted(sink.keys_for),
    )


@click.command("show")
@click.argument("file")
@kinds_option
@json_option
def show(file: str, kinds: Kinds, as_json: bool) -> None:
    """Print the policy FILE (a path, or the name of one that is shipped) whole, with all that it imports.

    `sightline policy show household > mine.toml` makes a policy of your own to change: the version of what is
    printed is that of FILE, which is the SHA-256 of the text, the first 16 digits.
    """
    policy = load(file, kinds=kinds)
    if as_json:
        emit_json({"policy": policy.name, "version": policy.version, "text": policy.text})
    else:
        say_exactly(policy.text)


@click.command("test")
@click.argument("file")
@kinds_option
@json_option
def test(file: str, kinds: Kinds, as_json: bool) -> None:
    """Decide the examples that the policy FILE gives of itself; exit code 1 if one comes out otherwise."""
    policy = load(file, clock.date_today(), kinds)
    outcomes = examples.run(policy)
    differences = tuple(
        ExampleDifference(outcome.example.line, in_words(outcome.example.attributes), about, expected, actual)
        for outcome in outcomes
        for about, expected, actual in outcome.differences
    )
    if as_json:
        answer = Tested(
            policy=policy.name, version=policy.version, examples=len(outcomes), differences=differences
        )
        emit_json(answer.to_dict())
    else:
        outcome = f"{len(differences)} verdicts come out otherwise" if differences else _AS_IT_SAYS
        say(f"{policy.name} {policy.version}: {len(outcomes)} examples, {outcome}")
        if differences:
            emit_rows(differences)
    sys.exit(1 if differences else 0)
