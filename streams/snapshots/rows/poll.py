"""The rows of one poll of `glasses.lineage`, by table, with the record that each row came in.

Checks find errors by columns, never row by row. A record with a row that no agent writes is left out
completely; a row whose numbers another row has already is left out alone. Each case adds one row of
`rejected`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray

from streams.events.kinds import Kinds
from streams.events.record import Received, stamp_ns
from streams.policy.step import RejectOutcome
from streams.topology import LINEAGE

Numbers: TypeAlias = "NDArray[np.int64]"
Mask: TypeAlias = "NDArray[np.bool_]"
#: Rules for leaving out: unreadable, not written by an agent at that place, already stored, or beyond the
#: limits of a record.
MALFORMED, FORGED, DUPLICATE, LIMITS = "malformed", "forged", "duplicate", "limits"
#: Message about a row of a kind that the poll does not know; perhaps an extension is missing.
NO_KIND = "found a kind that is not known here, expected one of ours or of a package that --extend names"
#: A duplicate is refused and does not count as a repeat, because its content may differ.
_OUTCOMES: Mapping[str, RejectOutcome] = {
    MALFORMED: "malformed",
    FORGED: "refused",
    DUPLICATE: "refused",
    LIMITS: "refused",
}


class Place(Struct, frozen=True):
    """A record with its partition and the agent in its key."""

    partition: int
    record: Received
    agent: str


class Words(Struct, frozen=True):
    """Distinct texts of a column, and the index of each row's text."""

    values: list[Any]
    codes: Numbers

    def are(self, fits: Iterable[bool]) -> Mask:
        """Rows whose text fits; `fits` has one value for each distinct text, in order."""
        rows: Mask = np.fromiter(fits, bool, len(self.values))[self.codes]
        return rows


class Poll:
    """Rows of several records about events of `kinds`.

    `owners` has for each row of a table the index of its record in `places`.
    """

    def __init__(
        self,
        kinds: Kinds,
        places: Sequence[Place],
        tables: Mapping[str, pa.Table],
        owners: Mapping[str, Numbers],
    ) -> None:
        self.kinds, self.places = kinds, places
        self.tables, self.owners = dict(tables), dict(owners)
        self.partitions = np.array([place.partition for place in places], np.int64)
        self._agents = np.array([place.agent for place in places], object)
        self._refused: dict[int, tuple[str, str]] = {}
        self._left: dict[tuple[int, str, str], int] = {}
        self._words: dict[str, dict[str, Words]] = {}

    def by(self, table: str, agent: str) -> Mask:
        """Rows of a table that are in records of an agent."""
        rows: Mask = (self._agents == agent)[self.owners[table]]
        return rows

    def partition_of(self, table: str) -> Numbers:
        """Partition of `glasses.lineage` of each row of a table."""
        return self.partitions[self.owners[table]]

    def words(self, table: str, name: str) -> Words:
        """A column of texts, or of other values with few distinct ones; no value may be missing."""
        known = self._words.setdefault(table, {})
        if name not in known:
            column = self.tables[table].column(name).combine_chunks()
            encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
            codes = encoded.indices.to_numpy().astype(np.int64)
            # Texts that only rows which were left out had are dropped, so that no check sees them.
            used, codes = _ranks(codes, len(encoded.dictionary))
            known[name] = Words(encoded.dictionary.take(pa.array(used)).to_pylist(), codes)
        return known[name]

    def is_in(self, table: str, name: str, *words: str) -> Mask:
        """Rows whose text is one of `words`."""
        column = self.words(table, name)
        return column.are(value in words for value in column.values)

    def distinct(self, table: str, *names: str) -> tuple[list[tuple[Any, ...]], Numbers]:
        """Distinct combinations of the values of some columns, and the index of each row's combination."""
        return distinct([self.words(table, name) for name in names])

    def refuse(self, table: str, wrong: Mask, rule: str, reason: str) -> None:
        """Refuse the records of the rows in `wrong`; `drop` removes their rows."""
        if wrong.any():
            for owner in np.unique(self.owners[table][wrong]).tolist():
                self._refused.setdefault(owner, (rule, f"{table}{reason}"))

    def refuse_record(self, owner: int, rule: str, reason: str) -> None:
        """Refuse one record."""
        self._refused.setdefault(owner, (rule, reason))

    def of_unknown_kinds(self) -> int:
        """Number of records that were refused for a kind that is not in `kinds`."""
        return sum(why.endswith(NO_KIND) for _, why in self._refused.values())

    def pass_over(self, offsets: Mapping[int, int]) -> None:
        """Leave out records below these offsets by partition, unrejected, because the store has them."""
        below = {
            owner
            for owner, place in enumerate(self.places)
            if place.record.offset < offsets.get(place.partition, 0)
        }
        if below:
            self._refused = {owner: why for owner, why in self._refused.items() if owner not in below}
            self._left = {key: count for key, count in self._left.items() if key[0] not in below}
            self._drop(below)

    def drop(self) -> None:
        """Remove the rows of refused records."""
        if self._refused:
            self._drop(self._refused)

    def _drop(self, records: Collection[int]) -> None:
        gone = np.fromiter(records, np.int64, len(records))
        for table, owners in self.owners.items():
            self._keep(table, ~np.isin(owners, gone))

    def leave(self, table: str, wrong: Mask, rule: str, reason: str) -> None:
        """Leave out rows of a table, but keep the other rows of their records."""
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
            self._words.pop(table, None)

    def replace(self, table: str, rows: pa.Table, owners: Numbers) -> None:
        """Set the rows of a table, each with its record; nothing is rejected."""
        self.tables[table], self.owners[table] = rows.unify_dictionaries().combine_chunks(), owners
        self._words.pop(table, None)

    def rejected(self) -> Iterator[dict[str, Any]]:
        """Yield a row of `rejected` for everything that was left out."""
        for owner, (rule, reason) in sorted(self._refused.items()):
            yield rejected(self.places[owner], rule, reason)
        for (owner, rule, reason), count in sorted(self._left.items()):
            if owner not in self._refused:
                yield rejected(self.places[owner], rule, f"{reason}; {count} rows of the record are left out")


def numbers(table: pa.Table, name: str) -> Numbers:
    """A column of integers as an array."""
    values: Numbers = table.column(name).to_numpy()
    return values


def joined(first: Words, second: Words) -> Words:
    """Two columns as one; the rows of the second follow those of the first."""
    places = {value: place for place, value in enumerate(dict.fromkeys((*first.values, *second.values)))}
    codes = [
        np.fromiter((places[value] for value in some.values), np.int64, len(some.values))[some.codes]
        for some in (first, second)
    ]
    return Words(list(places), np.concatenate(codes))


def distinct(columns: Sequence[Words]) -> tuple[list[tuple[Any, ...]], Numbers]:
    """Distinct combinations of the values of some columns, and the index of each row's combination."""
    codes, different = np.zeros(len(columns[0].codes), np.int64), 1
    for column in columns:
        # Combined one column at a time, because a product of several sizes could overflow.
        codes = codes * max(len(column.values), 1) + column.codes
        used, codes = _ranks(codes, different * max(len(column.values), 1))
        different = len(used)
    first = np.empty(different, np.int64)
    first[codes] = np.arange(len(codes))
    rows = first.tolist()
    return [tuple(column.values[column.codes[row]] for column in columns) for row in rows], codes


def _ranks(codes: Numbers, below: int) -> tuple[Numbers, Numbers]:
    """Distinct codes from 0 to `below` (exclusive), sorted, and the index of each code among them.

    Codes are counted if that takes less work than sorting.
    """
    if below > 4 * len(codes) + 1024:
        used, ranks = np.unique(codes, return_inverse=True)
        return used, ranks
    occurs = np.bincount(codes, minlength=below) > 0
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[codes]


def rejected(place: Place, rule: str, reason: str) -> dict[str, Any]:
    """Row of `rejected` about a record; `reason` must not quote it."""
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
        "outcome": _OUTCOMES[rule],
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
