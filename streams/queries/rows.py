"""Rows of answers, and types for rows of the statements in `sql/`: fields are named like the columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from msgspec import Struct

from streams.queries.role import RowClass

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of an answer, at most ANSWER_ROWS_MAX; `more` is the number of further rows."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    more: int

    def dicts(self) -> list[dict[str, Any]]:
        """Rows by column name."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def of(self, kind: Callable[..., T]) -> list[T]:
        """Rows as objects of a type whose fields are the columns."""
        return [kind(**row) for row in self.dicts()]


class ClassedRow(Struct, frozen=True, kw_only=True):
    """A row with a class, which a role may see or not; `label` and `wearer` are empty if there is none."""

    policy_version: str
    zone: str
    label: str = ""
    wearer: str = ""

    @property
    def row_class(self) -> RowClass:
        """Class of the row, which decides whether a role may see it."""
        return RowClass(self.policy_version, self.zone, self.label, self.wearer)


class EventRow(ClassedRow, frozen=True, kw_only=True):
    """A run of events: a row of `events`."""

    revision: int
    first: int
    step: int
    count: int
    kind: str
    rule: str
    consent: int
    session: str
    t_first_ns: int
    t_last_ns: int
    topic: str
    partition: int
    offset: int
    bytes: int
    digest: str
    split_from: str
    origin: str
    epoch: int


class ModelRow(ClassedRow, frozen=True, kw_only=True):
    """A model version: a row of `models`."""

    source: str
    stream: str
    version: int
    examples: int
    wearers: int
    accuracy: float
    trained_ns: int


class CardRow(ModelRow, frozen=True, kw_only=True):
    """A model version with its training run, whose columns are None if the store does not have it."""

    digest: str
    retrain_by_ns: int
    bytes: int
    seed_examples: int | None
    admitted: int | None
    refused: int | None
    manifest_digest: str | None
    trigger: str | None


class ClaimedRun(ClassedRow, frozen=True, kw_only=True):
    """Numbers of a stream that a rejected record had or claimed to have."""

    source: str
    stream: str
    first: int
    count: int


class WearerRuns(ClassedRow, frozen=True, kw_only=True):
    """Runs of events of a wearer in one stream, with one class."""

    source: str
    stream: str
    revision: int
    firsts: Sequence[int]
    steps: Sequence[int]
    counts: Sequence[int]


class Since(ClassedRow, frozen=True, kw_only=True):
    """Since when there is something of one class; ns since the Unix epoch."""

    since_ns: int


class WornSince(Since, frozen=True, kw_only=True):
    """Since when a device has events of a wearer, and examples; 0: none."""

    source: str
    example_ns: int


class BesideRuns(WearerRuns, frozen=True, kw_only=True):
    """Runs of events of one kind, and the append time of the first."""

    kind: str
    since_ns: int


class StreamClass(ClassedRow, frozen=True, kw_only=True):
    """A class that occurs in a stream, among its events or its rejections."""

    table_name: str
    source: str
    stream: str


class CreepCell(ClassedRow, frozen=True, kw_only=True):
    """How many events of a kind in a generation have one label."""

    generation: int
    kind: str
    events: int


class DueCell(ClassedRow, frozen=True, kw_only=True):
    """How many events of a class may be used up to a day (counted from 1970), which is for how many days."""

    day: int
    retention_days: int
    events: int


class DueModelRow(ClassedRow, frozen=True, kw_only=True):
    """A model version, and the last day on which it may serve."""

    model: str
    day: int


class EpochRow(Struct, frozen=True, kw_only=True):
    """An epoch with all of `glasses.lineage` below `offsets`, of the log that is read since `since_epoch`."""

    epoch: int
    published_ns: int
    offsets: Mapping[int, int]
    rows: int
    cluster: str
    topic: str
    since_epoch: int


def together(newest: Sequence[EpochRow]) -> EpochRow:
    """What the newest epochs of several stores hold together; `published_ns` is that of the oldest."""
    return EpochRow(
        epoch=0,
        published_ns=min(row.published_ns for row in newest),
        offsets={partition: offset for row in newest for partition, offset in row.offsets.items()},
        rows=sum(row.rows for row in newest),
        cluster=max(row.cluster for row in newest),
        topic=max(row.topic for row in newest),
        since_epoch=max(row.since_epoch for row in newest),
    )
