"""The question what is held of a wearer."""

from __future__ import annotations

from msgspec import Struct

from streams.errors import InputError
from streams.events.identity import NAME_PATTERN
from streams.queries.about import told
from streams.queries.answers import Answer, Bounded
from streams.queries.store import Rows, Store


class WearerStream(Struct, frozen=True):
    """A stream with events of a wearer, captured from `since` to `until`."""

    source: str
    stream: str
    kind: str
    events: int
    since: str
    until: str


class WearerZone(Struct, frozen=True):
    """A zone with events of a wearer, of so many kinds, captured from `since` to `until`."""

    zone: str
    events: int
    kinds: int
    since: str
    until: str


class WearerSink(Struct, frozen=True):
    """Where events of a wearer went, or were kept from going."""

    sink: str
    purpose: str
    verdict: str
    passed: bool
    events: int


class WearerAnswers(Struct, frozen=True):
    """How many answers of a model version a wearer got."""

    model: str
    answers: int


class WearerExamples(Struct, frozen=True):
    """How many examples of a wearer a model version learned from."""

    model: str
    examples: int


class WearerRefusal(Struct, frozen=True):
    """What of a wearer was refused, by one rule."""

    stage: str
    outcome: str
    rule: str
    zone: str
    batches: int
    events: int


class Wearer(Answer, frozen=True, kw_only=True):
    """What is held of a wearer; counts are in events."""

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
    """Return what the store holds of a wearer, as far as the role is shown it.

    Those are her streams and zones, the sinks that her events went to or were kept from, the answers that she
    got and the model versions that gave them, her examples and the versions that learned from them, and what
    of hers was refused.

    InputError when `name` is no pseudonym, or the role is shown nothing of such a wearer.
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
    """Return the name if it has the form of a wearer's; InputError if not."""
    if NAME_PATTERN.fullmatch(name) is None:
        raise InputError(
            "wearer: found another form, expected a pseudonym such as w1: lower-case letters, digits, hyphens"
        )
    return name


def nothing_of(store: Store, name: str) -> InputError:
    """Say that the role is shown nothing of a wearer: in the same words whether or not there is one."""
    shown = "" if store.role_filter is None else f" that the role {store.role_filter.role} is shown"
    return InputError(
        f"{name}: epoch {store.epoch} of {store.directory} has nothing of such a wearer{shown}; "
        "`sightline sql` can list those who are: column wearer of view events"
    )
