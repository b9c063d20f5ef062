"""The question `superseded`: derived events that were replaced, and the answers that relied on them."""

from __future__ import annotations

from msgspec import Struct

from streams.events.identity import format_id
from streams.queries.answers import Answer, Bounded
from streams.queries.store import Store


class SupersededEvent(Struct, frozen=True):
    """An event that `by` replaced, because samples came late; `answers` counts those that relied on it."""

    id: str
    by: str
    answers: int


class OutdatedAnswer(Struct, frozen=True):
    """An answer whose situation cites an event that was replaced later; `now` is what is in force instead."""

    id: str
    cites: str
    now: str


class Superseded(Answer, frozen=True, kw_only=True):
    """Derived events that were replaced, and the answers that relied on them."""

    epoch: int
    superseded: Bounded[SupersededEvent]
    answers: Bounded[OutdatedAnswer]


def superseded(store: Store) -> Superseded:
    """Return the derived events that a revision replaced, and the answers that were given before that.

    An answer is not given again: it says what was known at its time. Nothing that was replaced is deleted.
    """
    by: dict[str, str] = {}
    answers: dict[str, list[str]] = {}
    for source, stream, number, revision, by_number, by_revision, named, answer in store.shown(
        "superseded"
    ).rows:
        replaced = format_id(source, stream, number, revision)
        by[replaced] = format_id(source, stream, by_number, by_revision)
        if named is not None:
            answers.setdefault(replaced, []).append(format_id(source, named, answer))
    return Superseded(
        epoch=store.epoch,
        superseded=Bounded.of(
            [SupersededEvent(replaced, own, len(answers.get(replaced, ()))) for replaced, own in by.items()]
        ),
        answers=Bounded.of(
            [
                OutdatedAnswer(answer, replaced, _in_force(replaced, by))
                for replaced, relied in answers.items()
                for answer in relied
            ]
        ),
    )


def _in_force(replaced: str, by: dict[str, str]) -> str:
    """The event at the end of the chain; a damaged store could have a circle."""
    passed = {replaced}
    while (after := by.get(replaced)) is not None and after not in passed:
        passed.add(after)
        replaced = after
    return replaced
