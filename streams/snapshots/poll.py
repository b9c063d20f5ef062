"""What one poll of `glasses.lineage` returned: rows by table, and of each row the record that it came in.

Checks mark what is wrong by columns, never row by row: a record that holds what no agent writes is left out
whole, a row that only stands where another stands already is left out alone. Either is said by one row of
`rejected`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct
from numpy.typing import NDArray

from streams.events.record import Received, stamp_ns
from streams.topology import LINEAGE

Numbers: TypeAlias = "NDArray[np.int64]"
Mask: TypeAlias = "NDArray[np.bool_]"
#: Rules of what is left out: what nobody could read, what no agent writes at that place, what is there twice,
#: and what costs more than a record may.
MALFORMED, FORGED, DUPLICATE, LIMITS = "malformed", "forged", "duplicate", "limits"


class Place(Struct, frozen=True):
    """A record with its partition, and the agent whose key it bears."""

    partition: int
    record: Received
    agent: str


class Poll:
    """Rows of several records; `owners` says of each row which of `places` it came in."""

    def __init__(
        self,
        places: Sequence[Place],
        tables: Mapping[str, pa.Table],
        owners: Mapping[str, Numbers],
    ) -> None:
        self.places = places
        self.tables, self.owners = dict(tables), dict(owners)
        self.partitions = np.array([one.partition for one in places], np.int64)
        self._agents = np.array([one.agent for one in places], object)
        self._refused: dict[int, tuple[str, str]] = {}
        self._left: dict[tuple[int, str, str], int] = {}

    def by(self, table: str, agent: str) -> Mask:
        """Rows of a table that came in records of an agent."""
        found: Mask = (self._agents == agent)[self.owners[table]]
        return found

    def partition_of(self, table: str) -> Numbers:
        """Partition of `glasses.lineage` that each row of a table came by."""
        return self.partitions[self.owners[table]]

    def refuse(self, table: str, wrong: Mask, rule: str, reason: str) -> None:
        """Leave out the records that the rows in `wrong` came in; `drop` takes their rows away."""
        if wrong.any():
            for owner in np.unique(self.owners[table][wrong]).tolist():
                self._refused.setdefault(owner, (rule, f"{table}{reason}"))

    def refuse_record(self, owner: int, rule: str, reason: str) -> None:
        """Leave out one record."""
        self._refused.setdefault(owner, (rule, reason))

    def drop(self) -> None:
        """Take the rows of refused records away."""
        if not self._refused:
            return
        gone = np.fromiter(self._refused, np.int64, len(self._refused))
        for table, owners in self.owners.items():
            self._keep(table, ~np.isin(owners, gone))

    def leave(self, table: str, wrong: Mask, rule: str, reason: str) -> None:
        """Leave out rows of a table, and nothing else of their records."""
        if wrong.any():
            owners, counts = np.unique(self.owners[table][wrong], return_counts=True)
            for owner, count in zip(owners.tolist(), counts.tolist(), strict=True):
                key = (owner, rule, f"{table}{reason}")
                self._left[key] = self._left.get(key, 0) + count
            self._keep(table, ~wrong)

    def _keep(self, table: str, kept: Mask) -> None:
        if not kept.all():
            self.tables[table] = self.tables[table].filter(pa.array(kept))
            self.owners[table] = self.owners[table][kept]

    def rejected(self) -> Iterator[dict[str, Any]]:
        """Rows of `rejected` that say what was left out."""
        for owner, (rule, reason) in sorted(self._refused.items()):
            yield rejected(self.places[owner], rule, reason)
        for (owner, rule, reason), count in sorted(self._left.items()):
            if owner not in self._refused:
                yield rejected(self.places[owner], rule, f"{reason}; {count} rows of the record are left out")


def numbers(table: pa.Table, name: str) -> Numbers:
    """A column of whole numbers."""
    found: Numbers = table.column(name).to_numpy()
    return found


def is_in(table: pa.Table, name: str, words: Sequence[str]) -> Mask:
    """Rows whose text is one of `words`."""
    return mask(pc.is_in(table.column(name), value_set=pa.array(words, pa.string())))


def mask(array: pa.ChunkedArray) -> Mask:
    """Truth values as numpy has them."""
    found: Mask = array.to_numpy().astype(bool, copy=False)
    return found


def distinct(*columns: pa.ChunkedArray) -> tuple[list[tuple[Any, ...]], Numbers]:
    """The different combinations of some columns' values, and which of them stands in each row."""
    codes = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        encoded = column.combine_chunks().dictionary_encode()
        width = max(len(encoded.dictionary), 1)
        _, codes = np.unique(codes, return_inverse=True)
        codes = codes * width + encoded.indices.to_numpy()
    _, first, codes = np.unique(codes, return_index=True, return_inverse=True)
    at = pa.array(first)
    return list(zip(*(column.take(at).to_pylist() for column in columns), strict=True)), codes


def rejected(place: Place, rule: str, reason: str) -> dict[str, Any]:
    """Row of `rejected` about a record; `reason` holds nothing of it."""
    record = place.record
    value = record.value or b""
    return {
        "source": "",
        "stream": "",
        "first": 0,
        "count": 0,
        "stage": "snapshots",
        "reason": reason,
        "rule": rule,
        "zone": "malformed",
        "policy_version": "",
        "topic": LINEAGE,
        "partition": place.partition,
        "offset": record.offset,
        "bytes": len(value),
        "digest": hashlib.sha256(value).hexdigest(),
        "t_ns": stamp_ns(record),
        "wearer": "",
        "appended_ns": stamp_ns(record),
    }
