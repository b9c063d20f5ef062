"""What the questions answer, a frozen value for each: those about events, and what all have in common.

`to_dict` makes of each what the command prints with `--json`. Ids are `source/stream/number`; times are RFC
3339 in UTC, those that end in `_ns` nanoseconds since the Unix epoch; labels are packed, as hexadecimal. A
field that does not apply is UNSET, and `to_dict` leaves it out. Every answer names the epoch that it is
about: what is not published yet is not in it.
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
    """At most ANSWER_ROWS_MAX rows of an answer; `more` says how many there are beyond them."""

    rows: tuple[T, ...]
    more: int = 0

    @classmethod
    def of(cls, rows: Sequence[T]) -> Bounded[T]:
        """As many of some rows as an answer holds."""
        return cls(tuple(rows[: limits.ANSWER_ROWS_MAX]), max(len(rows) - limits.ANSWER_ROWS_MAX, 0))

    def __iter__(self) -> Iterator[T]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


class Answer(Struct, frozen=True, kw_only=True):
    """What a question answers."""

    def to_dict(self) -> dict[str, object]:
        """The answer in plain values, for JSON: rows are dicts, and beside `rows` stands `rows_more`."""
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

    `of` is the stream that the walk came from, `operator` what made the child of the two.
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
    """A model version: how many examples of how many wearers it learned from, its accuracy from 0 to 1."""

    id: str
    version: int
    examples: int
    wearers: int
    accuracy: float
    zone: str
    policy_version: str
    trained: str


class MetModel(ModelVersion, frozen=True):
    """A model version that a walk met; `whose` are the wearers of the examples that the role is shown."""

    whose: tuple[str, ...]


class Generation(ModelVersion, frozen=True):
    """A model version and how many of the answers that an event was made of it gave, `hop` steps back."""

    hop: int
    answers: int
    whose: tuple[str, ...]


class LaterGeneration(ModelVersion, frozen=True):
    """A model version, how many answers it gave, and whether an event was among what it learned from."""

    answers: int
    learned_from_it: bool
    whose: tuple[str, ...]


class Ancestors(Answer, frozen=True, kw_only=True):
    """All that an event was made of, the nearest first; `models` are where the walk stopped."""

    id: str
    epoch: int
    hops: int
    ancestors: Bounded[ReachedRow]
    models: tuple[MetModel, ...]


class Generations(Answer, frozen=True, kw_only=True):
    """The generations of the loop that an event was made of; `made_of` counts all events by kind."""

    id: str
    epoch: int
    hops: int
    made_of: Mapping[str, int]
    generations: Bounded[Generation]


class ToldDecision(Struct, frozen=True):
    """A decision about an event at one sink, with all that it looked at."""

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
        """By what a role is shown it or not."""
        return RowClass(self.policy_version, self.zone, self.label, self.wearer)

    @property
    def stored(self) -> StoredDecision:
        """What is decided again where somebody asks why."""
        return StoredDecision(**{name: getattr(self, name) for name in StoredDecision.__struct_fields__})


class ToldRejection(Struct, frozen=True):
    """Why an event was rejected, and where the batch that held it stands."""

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
        """By what a role is shown it or not; what was rejected has no label."""
        return RowClass(self.policy_version, self.zone, "", self.wearer)


class WhyEvent(Answer, frozen=True, kw_only=True):
    """What is said of any event; `rejected` is what was refused of its number."""

    id: str
    epoch: int
    source: str
    stream: str
    number: int
    revision: int
    rejected: tuple[ToldRejection, ...]


class WhyStored(WhyEvent, frozen=True, kw_only=True):
    """Why a stored event is in its zone, what was decided about it, and its direct parents.

    `label_says` is the label in words, by part; empty where it cannot be read. `model` (None where the role
    is shown none) and `situation` (an id, None without one) are those of an answer.
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
    """Why an event is not stored; it `says` so in a sentence. What is not stored has no parents."""

    says: str
    decisions: Bounded[ToldDecision]
    parents: Bounded[ReachedRow]


Why = WhyStored | WhyRejected


class Genuine(Answer, frozen=True, kw_only=True):
    """Whether a record is one that an agent wrote, and a sentence that `says` why.

    The others are those of the event, where it is.
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
    """Where the loop carried an event: ids by kind, and the model versions since, oldest first.

    `made_of_it` counts events by kind; it `says` so where the loop carried it nowhere.
    """

    id: str
    epoch: int
    says: str | UnsetType = UNSET
    made_of_it: Mapping[str, int]
    answers: tuple[str, ...]
    feedback: tuple[str, ...]
    examples: tuple[str, ...]
    generations: Bounded[LaterGeneration]
