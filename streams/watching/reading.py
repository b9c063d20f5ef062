"""What one look at store, broker and disk tells the alert rules; values only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct

from streams.queries.watched import Watched


class Reader(NamedTuple):
    """A reader of a partition: an agent, or the store's writer."""

    agent: str
    topic: str
    partition: int


class Position(NamedTuple):
    """The next offset of a reader, the end of its log, and the records between."""

    next_offset: int
    end_offset: int
    records: int


class Disk(NamedTuple):
    """The disk of the store."""

    free_bytes: int
    total_bytes: int


class Refused(NamedTuple):
    """Events that `glasses.rejected` added of one rule; `id` is one of them, or empty."""

    rule: str
    events: int
    id: str


class Reading(Struct, frozen=True, kw_only=True):
    """One look.

    `now_s` is of a clock that never steps. `now_ns` is the wall clock as it was when watching began, carried
    on by that clock. `epoch_age_s` is the age of the newest epoch by the wall clock, and only that of the
    first reading counts. `watched` is None if there is no epoch that was not read yet. `positions`, `disk`
    and `arrived` are None if they were not asked for this time.
    """

    now_s: float
    now_ns: int
    epoch_age_s: float = 0.0
    watched: Watched | None = None
    positions: Mapping[Reader, Position] | None = None
    disk: Disk | None = None
    arrived: tuple[Refused, ...] | None = None
