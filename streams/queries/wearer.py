"""The question `wearer`: what the store holds about a wearer."""

from __future__ import annotations

from msgspec import Struct

from streams.errors import InputError
from streams.events.identity import NAME_PATTERN
from streams.queries.about import told
from streams.queries.answers import Answer, Bounded
from streams.queries.rows import Rows
from streams.queries.store import Store


class WearerStream(Struct, frozen=True):
    """A stream with events of a wearer, captured from `since` to `until`."""

    source: str
    stream: str
    kind: str
    events: int
    since: str
    until: str


class WearerZone(Struct, frozen=True):
    """A zone with events of a wearer, captured from `since` to `until`."""

    zone: str
    events: int
    kinds: int
    since: str
    until: str


class WearerSink(Struct, frozen=True):
    """A sink that events of a wearer went to, or were kept from."""

    sink: str
    purpose: str
    verdict: str
    passed: bool
    events: int


class WearerAnswers(Struct, frozen=True):
    """How many answers a wearer got from a model version."""

    model: str
    answers: int


class WearerExamples(Struct, frozen=True):
    """How many examples of a wearer a model version learned from."""

    model: str
    examples: int


class WearerRefusal(Struct, frozen=True):
    """Data of a wearer that one rule refused."""

    stage: str
    outcome: str
    rule: str
    zone: str
    batches: int
    events: int


class Wearer(Answer, frozen=True, kw_only=True):
    """What the store holds about a wearer; counts are in events."""

    wearer: str
    epoch: int
    events: int
    answers_given: int
    examples: int
    streams: Bounded[WearerStream]
    zones: Bounded[WearerZone]
    sinks: Bounded[WearerSink]
    answers: Bounded[WearerAnswers]
    models: Bounded[WearerExamples]
    refusals: Bounded[WearerRefusal]


def wearer(store: Store, name: str) -> Wearer:
    """Return what the store holds about a wearer, as far as the role may see it.

    The answer has the wearer's streams and zones, the sinks that events went to or were kept from, answers
    and the model versions that gave them, examples and the versions that learned from them, and refusals.

    InputError if `name` is no pseudonym, or if the role may see nothing of such a wearer.
    """
    pseudonym(name)

    def held(part: str) -> Rows:
        return store.shown(f"wearer_{part}", {"wearer": name})

    streams = told(WearerStream, held("streams"))
    zones = told(WearerZone, held("zones"))
    sinks = told(WearerSink, held("sinks"))
    answers = told(WearerAnswers, held("answers"))
    models = told(WearerExamples, held("models"))
    refusals = told(WearerRefusal, held("refusals"))
    if not any((streams, zones, sinks, answers, models, refusals)):
        raise nothing_of(store, name)
    return Wearer(
        wearer=name,
        epoch=store.epoch,
        events=sum(row.events for row in streams),
        answers_given=sum(row.events for row in streams if row.kind == "answer"),
        examples=sum(row.events for row in streams if row.kind == "example"),
        streams=Bounded.of(streams),
        zones=Bounded.of(zones),
        sinks=Bounded.of(sinks),
        answers=Bounded.of(answers),
        models=Bounded.of(models),
        refusals=Bounded.of(refusals),
    )


def pseudonym(name: str) -> str:
    """Return the name if it has the form of a pseudonym; InputError if not."""
    if NAME_PATTERN.fullmatch(name) is None:
        raise InputError(
            "wearer: found another form, expected a pseudonym such as w1: lower-case letters, digits, hyphens"
        )
    return name


def nothing_of(store: Store, name: str) -> InputError:
    """Error for a wearer of whom the role may see nothing; the same whether or not the wearer exists."""
    shown = "" if store.role_filter is None else f" that the role {store.role_filter.role} is shown"
    return InputError(
        f"{name}: {store.named} has nothing of such a wearer{shown}; "
        "`sightline sql` can list those who are: column wearer of view events"
    )
