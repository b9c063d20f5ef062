"""Answers that a person should look at: which, why, and where their queries lie. No word of any is stored."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.events.identity import EventId, derived_stream, example_stream, format_id
from streams.limits import OPEN_ANSWERS_MAX
from streams.policy.rules import SECOND_ORDER_RULES
from streams.queries.answers import Answer, Bounded
from streams.queries.models import has_view
from streams.queries.store import Store
from streams.topology import SINGLE_STREAMS


class Reviewable(Struct, frozen=True):
    """An answer that should be looked at, because of `why`, and its query, which lies at `offset`.

    `why` is `denied` (feedback says that it was wrong, and not what was meant), `contradictory` (feedback
    says different things), `withheld` (by a rule of the policy), `second-order` (its example was held after
    an erasure) or `unsure`. `zone`, `label`, `policy_version`, `wearer` and `consent` are those of the query,
    `digest` is that of its record's value; times are in ns since the Unix epoch.
    """

    source: str
    stream: str
    number: int
    why: str
    reviewed: bool
    query_stream: str
    zone: str
    label: str
    policy_version: str
    wearer: str
    consent: int
    appended_ns: int
    t_ns: int
    partition: int
    offset: int
    digest: str

    @property
    def id(self) -> str:
        """Identity of the answer."""
        return format_id(self.source, self.stream, self.number)

    @property
    def query(self) -> str:
        """Identity of the query."""
        return format_id(self.source, self.query_stream, self.number)


def reviewable(store: Store, unsure: Iterable[EventId] = ()) -> list[Reviewable]:
    """Return what the role may see of the answers that a person should look at, the oldest first.

    `unsure` are answers of which the model was not sure, which a store cannot know. InputError if the store
    is one of before feedback was kept.
    """
    if not has_view(store, "feedback"):
        raise InputError(
            f"{store.parts[0].directory}: found a store that does not keep what feedback says, expected one "
            "that a writer of this version has published"
        )
    named = list(unsure)
    rows = store.shown(
        "review",
        {
            "sources": [answer.source for answer in named],
            "streams": [answer.stream for answer in named],
            "numbers": [answer.number for answer in named],
            "remembered": OPEN_ANSWERS_MAX,
            "held": SECOND_ORDER_RULES["review"],
        },
    ).of(Reviewable)
    # An answer may be there for several reasons.
    return list({(row.id, row.why): row for row in rows}.values())


class Queued(Struct, frozen=True):
    """An answer that a person should look at, why, whether somebody did, and when its query was asked."""

    id: str
    why: str
    state: str
    zone: str
    asked: str

    @classmethod
    def of(cls, item: Reviewable) -> Queued:
        """Make it of what the store has of an answer."""
        state = "reviewed" if item.reviewed else "open"
        return cls(item.id, item.why, state, item.zone, rfc3339(item.t_ns))


class Queue(Answer, frozen=True, kw_only=True):
    """Answers that a person should look at; the oldest first. Whether one may, the policy decides then."""

    epoch: int
    answers: Bounded[Queued]


def queue(store: Store) -> Queue:
    """Return what the role may see of the answers that a person should look at.

    Those of which a model was not sure are not among them: a store does not know how sure it was. A store of
    before feedback was kept has none.
    """
    items = reviewable(store) if has_view(store, "feedback") else []
    return Queue(epoch=store.epoch, answers=Bounded.of([Queued.of(item) for item in items]))


def next_number(store: Store, source: str, stream: str) -> int:
    """Number after the highest of a stream that the store has, accepted or refused."""
    [(highest,)] = store.shown("review_number", {"source": source, "stream": stream}).rows
    return 0 if highest is None else int(highest) + 1


def review_stream(query_stream: str) -> str:
    """Name of the stream of reviews beside a stream of queries: of the same incarnation of the device."""
    return derived_stream(SINGLE_STREAMS["review"], query_stream)


class Outcome(Struct, frozen=True):
    """What became of a review: the example that was made of it, or the rule and the reason why none was."""

    example: str
    rule: str
    reason: str


def outcome_of(store: Store, review: EventId, partition: int, offset: int) -> Outcome | None:
    """What became of a review that lies there on `glasses.captured`; None if the store does not know yet."""
    rows = store.shown(
        "review_outcome",
        {
            "source": review.source,
            "stream": review.stream,
            "example": example_stream(review.stream),
            "number": review.number,
            "partition": partition,
            "offset": offset,
        },
    ).of(Outcome)
    return rows[0] if rows else None
