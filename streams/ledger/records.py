"""Records of a topic in compact form: the events that they name, their offsets, the digests of their values.

Topics may have foreign records. A record that does not name its events as agents do counts as unreadable, and
only its offset is kept.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from streams import limits
from streams.ledger.runs import ByStream, Ints, column, halves, spread

if TYPE_CHECKING:
    from streams.ledger.sealed import Sealed

_NAMED_MAX = 5
#: Only bytes that are safe to print; the bound is longer than any valid name.
_ID = re.compile(rb"([\x21-\x7e]{1,200})/([0-9]{1,19})(\.[0-9]{1,6})?")
_DIGEST = re.compile(rb"[0-9a-f]{32}")
_RUN = re.compile(rb"([0-9]{1,19}) ([0-9]{1,19}) ([0-9]{1,7})")


def run_of(headers: Mapping[str, bytes | None]) -> tuple[str, int, int, int] | None:
    """(stream, first, step, count) of a record by its headers; None if they name no events.

    A revision stands behind the stream (`g1/activity.1`), because its events are others than the stream's.
    """
    named, run = (
        _ID.fullmatch(headers.get("ce_id") or b""),
        _RUN.fullmatch(headers.get("sightline-run") or b""),
    )
    if named is None or run is None:
        return None
    first, step, count = int(run[1]), int(run[2]), int(run[3])
    if first != int(named[2]) or not step or not count or first + step * (count - 1) > limits.NUMBER_MAX:
        return None
    return (named[1] + (named[3] or b"")).decode(), first, step, count


def is_sealed(headers: Mapping[str, bytes | None]) -> bool:
    """Whether a record says that its value is sealed."""
    return headers.get("content-encoding") == b"sightline-sealed"


@dataclass(slots=True)
class Records:
    """Records of one topic that name their events, in order within each partition.

    `unreadable` counts records that do not, and `unread` has (partition, offset) of the first of these.
    `whole`: records are batches of devices, whose numbers are consecutive. `sealed`: records that say so may
    be sealed there, and it tells by which digest each is compared.
    """

    whole: bool = False
    sealed: Sealed | None = None

    keys: list[str] = field(default_factory=list)
    key: array[int] = field(default_factory=lambda: array("q"))
    first: array[int] = field(default_factory=lambda: array("q"))
    step: array[int] = field(default_factory=lambda: array("q"))
    count: array[int] = field(default_factory=lambda: array("q"))
    partition: array[int] = field(default_factory=lambda: array("q"))
    offset: array[int] = field(default_factory=lambda: array("q"))
    digests: bytearray = field(default_factory=bytearray)
    """XXH3-128 of every value, or the keyed one of a sealed value, 16 bytes each."""
    records: int = 0
    unreadable: int = 0
    unread: list[tuple[int, int]] = field(default_factory=list)
    _index: dict[str, int] = field(default_factory=dict)

    def take(
        self,
        headers: Mapping[str, bytes | None],
        value: bytes | None,
        partition: int,
        offset: int,
        opened: Any = None,
    ) -> None:
        """Add one record; `opened` is the same with its value open, if somebody tried to open it."""
        self.records += 1
        run = run_of(headers)
        if run is None or (self.whole and run[2] != 1):
            self.unreadable += 1
            if len(self.unread) < _NAMED_MAX:
                self.unread.append((partition, offset))
            return
        index = self._index.setdefault(run[0], len(self.keys))
        if index == len(self.keys):
            self.keys.append(run[0])
        columns = (self.key, self.first, self.step, self.count, self.partition, self.offset)
        for place, number in zip(columns, (index, *run[1:], partition, offset), strict=True):
            place.append(number)
        sealed = self.sealed if is_sealed(headers) else None
        named = _DIGEST.fullmatch(headers.get("sightline-digest") or b"") if sealed is not None else None
        self.digests += (
            xxhash.xxh3_128_digest(value or b"")
            if named is None or sealed is None
            else sealed.digest(run[0], value or b"", bytes.fromhex(named[0].decode()), opened)
        )

    def __len__(self) -> int:
        return len(self.key)

    def runs(self) -> Iterator[tuple[str, int, int]]:
        """(stream, first, count) of every record, in order."""
        return (
            (self.keys[key], first, count)
            for key, first, count in zip(self.key, self.first, self.count, strict=True)
        )

    def rows(self) -> dict[str, Ints]:
        """Indices of records by stream, in the order of the topic."""
        keys = column(self.key)
        order = np.argsort(keys, kind="stable")
        cuts = np.searchsorted(keys[order], np.arange(1, len(self.keys)))
        return dict(zip(self.keys, np.split(order, cuts), strict=True)) if self.keys else {}

    def by_stream(self, chosen: Mapping[str, Ints] | None = None) -> ByStream:
        """Numbers by stream, of the `chosen` records or of all."""
        first, step, count = column(self.first), column(self.step), column(self.count)
        return {
            name: spread(first[rows], step[rows], count[rows], np.ones(rows.size, np.int64))
            for name, rows in (self.rows() if chosen is None else chosen).items()
        }

    def values(self) -> Ints:
        """Digests of the values, as two columns."""
        return halves(self.digests)

    def place(self, row: int) -> str:
        """Text that identifies a record on the topic."""
        stream, dot, revision = self.keys[self.key[row]].partition(".")
        name = f"{stream}/{self.first[row]}{dot}{revision}"
        return f"{name} (partition {self.partition[row]}, offset {self.offset[row]})"

    def named(self, rows: Ints) -> str:
        """Text with the first few of `rows`."""
        more = " …" if rows.size > _NAMED_MAX else ""
        return ", ".join(self.place(int(row)) for row in rows[:_NAMED_MAX]) + more
