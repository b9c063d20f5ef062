"""Types of answers, all immutable: their base, and the answers about events.

`to_dict` returns what the command prints with `--json`. Ids are `source/stream/number`; times are RFC 3339 in
UTC, or nanoseconds since the Unix epoch if the field ends in `_ns`; labels are packed, as hexadecimal. A
field that does not apply is UNSET, and `to_dict` leaves it out. Every answer names its epoch; data that is
not published yet is not included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from msgspec import UNSET, Struct, UnsetType, to_builtins

from streams import limits
from streams.policy.recheck import StoredDecision
from streams.queries.role import RowClass

T = TypeVar("T")


class Bounded(Struct, Generic[T], frozen=True):
    """At most ANSWER_ROWS_MAX rows of an answer; `more` is the number of further rows."""

    rows: tuple[T, ...]
    more: int = 0

    @classmethod
    def of(cls, rows: Sequence[T]) -> Bounded[T]:
        """Keep at most ANSWER_ROWS_MAX rows, and count the others."""
        return cls(tuple(rows[: limits.ANSWER_ROWS_MAX]), max(len(rows) - limits.ANSWER_ROWS_MAX, 0))

    def __iter__(self) -> Iterator[T]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


class Answer(Struct, frozen=True, kw_only=True):
    """Base of all answers."""

    def to_dict(self) -> dict[str, object]:
        """The answer as plain values for JSON: rows are dicts, and `<field>_more` counts further rows."""
        plain: dict[str, object] = {}
        for field, name in zip(self.__struct_fields__, self.__struct_encode_fields__, strict=True):
            value = getattr(self, field)
            if isinstance(value, Bounded):
                plain |= {name: to_builtins(value.rows), f"{name}_more": value.more}
            elif value is not UNSET:
                plain[name] = to_builtins(value)
        return plain


class ReachedRow(Struct, frozen=True):
    """Events of one run that a hop of a walk reached: numbers from `first` to `last`, with their zones.

    `of` is the stream that the walk came from; `operator` made the child among the two.
    """

    hop: int
    id: str
    events: int
    source: str
    stream: str
    revision: int
    first: int
    last: int
    zones: tuple[str, ...]
    of: str
    operator: str
    operator_version: int
    directness: str
    declassifier: str


class ModelVersion(Struct, frozen=True):
    """A model version, with the numbers of examples and wearers that it learned from; accuracy is 0 to 1."""

    id: str
    version: int
    examples: int
    wearers: int
    accuracy: float
    zone: str
    policy_version: str
    trained: str


class MetModel(ModelVersion, frozen=True):
    """A model version that a walk reached; `whose` are the wearers of the examples that the role may see."""

    whose: tuple[str, ...]


class Generation(ModelVersion, frozen=True):
    """A model version, `hop` steps back, and how many of its answers the event was made from."""

    hop: int
    answers: int
    whose: tuple[str, ...]


class LaterGeneration(ModelVersion, frozen=True):
    """A model version, how many answers it gave, and whether it learned from the event.

    `declined` says why it never serves; empty if it was promoted.
    """

    answers: int
    learned_from_it: bool
    whose: tuple[str, ...]
    declined: str = ""


class Ancestors(Answer, frozen=True, kw_only=True):
    """All that an event was made from, nearest first; `models` are the versions at which the walk stopped."""

    id: str
    epoch: int
    hops: int
    ancestors: Bounded[ReachedRow]
    models: tuple[MetModel, ...]


class Generations(Answer, frozen=True, kw_only=True):
    """The generations of the loop that an event was made from; `made_of` counts all events by kind."""

    id: str
    epoch: int
    hops: int
    made_of: Mapping[str, int]
    generations: Bounded[Generation]


class ToldDecision(Struct, frozen=True):
    """A decision about an event at one sink, with everything that it was based on."""

    sink: str
    purpose: str
    verdict: str
    passed: bool
    mode: str
    zone: str
    label: str
    rule: str
    policy_version: str
    attributes: str
    consent: int
    consent_state: str
    wearer: str
    t: str
    appended_ns: int
    at_ns: int

    @property
    def row_class(self) -> RowClass:
        """Class of the row, which decides whether a role may see it."""
        return RowClass(self.policy_version, self.zone, self.label, self.wearer)

    @property
    def stored(self) -> StoredDecision:
        """The decision in the form that a recheck needs."""
        return StoredDecision(**{name: getattr(self, name) for name in StoredDecision.__struct_fields__})


class ToldRejection(Struct, frozen=True):
    """Why an event was rejected, and the position of its batch."""

    stage: str
    reason: str
    rule: str
    outcome: str
    zone: str
    policy_version: str
    topic: str
    partition: int
    offset: int
    digest: str
    t: str
    wearer: str
    epoch: int

    @property
    def row_class(self) -> RowClass:
        """Class of the row, which decides whether a role may see it; rejections have no label."""
        return RowClass(self.policy_version, self.zone, "", self.wearer)


class WhyEvent(Answer, frozen=True, kw_only=True):
    """Common part of answers to `why`; `rejected` are the rejections of the event's number."""

    id: str
    epoch: int
    source: str
    stream: str
    number: int
    revision: int
    rejected: tuple[ToldRejection, ...]


class WhyStored(WhyEvent, frozen=True, kw_only=True):
    """Why a stored event is in its zone, the decisions about it, and its direct parents.

    `label_says` is the label in words, by part; empty if it cannot be read. For an answer event, `model` is
    its model version (None if the role may not see it) and `situation` the id of its situation (or None).
    """

    kind: str
    zone: str
    label: str
    rule: str
    policy_version: str
    wearer: str
    consent: int
    session: str
    topic: str
    partition: int
    offset: int
    digest: str
    split_from: str
    origin: str
    label_says: Mapping[str, str]
    t_first: str
    t_last: str
    published_in_epoch: int
    decisions: Bounded[ToldDecision]
    parents: Bounded[ReachedRow]
    model: MetModel | UnsetType | None = UNSET
    situation: str | UnsetType | None = UNSET


class WhyRejected(WhyEvent, frozen=True, kw_only=True):
    """Why an event is not stored, as a sentence in `says`. It has no parents."""

    says: str
    decisions: Bounded[ToldDecision]
    parents: Bounded[ReachedRow]


Why = WhyStored | WhyRejected


class Genuine(Answer, frozen=True, kw_only=True):
    """Whether an agent wrote a record, and a sentence in `says` that explains it.

    The other fields describe the stored event, if there is one.
    """

    id: str
    epoch: int
    genuine: bool
    says: str
    kind: str | UnsetType = UNSET
    zone: str | UnsetType = UNSET
    label: str | UnsetType = UNSET
    policy_version: str | UnsetType = UNSET
    partition: int | UnsetType = UNSET


class Loop(Answer, frozen=True, kw_only=True):
    """What an event led to: ids by kind, and the model versions since then, oldest first.

    `made_of_it` counts events by kind; `says` explains that the event led to nothing, or that it was refused
    and because of what. `refused` is why it was, or, if the event is feedback, why no example was made of it.
    """

    id: str
    epoch: int
    says: str | UnsetType = UNSET
    made_of_it: Mapping[str, int]
    answers: tuple[str, ...]
    feedback: tuple[str, ...]
    examples: tuple[str, ...]
    refused: Bounded[ToldRejection]
    generations: Bounded[LaterGeneration]
