"""Write rows of a table to segments: one file for each audience, and one for all audiences with few rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from streams import files, limits
from streams.snapshots.files.columnar import bounds, combinations, ordered
from streams.snapshots.files.directory import SEGMENTS, TEMPORARY
from streams.snapshots.files.segments import CLASSED, NUMBERS, Segment, Span, settled
from streams.snapshots.rows.poll import numbers

#: Group of a table whose rows have no class: they are never split.
UNZONED = -1
#: Group of rows that are too few to split by audience.
MIXED = None

_RECURRING = pa.dictionary(pa.int32(), pa.string())
_DIGESTS = frozenset({"digest", "split_from", "manifest_digest"})


@dataclass
class _Part:
    """Rows for one file, in order of arrival; `classes` is None once those of any row are unknown."""

    audience: int | None
    held: list[pa.Table] = field(default_factory=list)
    rows: int = 0
    epochs: tuple[int, int] = (2**63 - 1, 0)
    classes: set[int] | None = field(default_factory=set)
    spans: dict[tuple[str, str, str], tuple[int, int]] = field(default_factory=dict)
    file: BinaryIO | None = None
    writer: pq.ParquetWriter | None = None
    path: Path | None = None

    def add(self, rows: pa.Table, classes: Iterable[int] | None) -> None:
        epoch = numbers(rows, "epoch")
        self.held.append(rows)
        self.rows += len(rows)
        self.epochs = min(self.epochs[0], int(epoch.min())), max(self.epochs[1], int(epoch.max()))
        self.classes = None if self.classes is None or classes is None else self.classes | set(classes)

    def take(self, other: _Part) -> None:
        """Take over the rows of another part that are not written yet."""
        self.held += other.held
        self.rows += other.rows
        self.epochs = min(self.epochs[0], other.epochs[0]), max(self.epochs[1], other.epochs[1])
        known = self.classes is not None and other.classes is not None
        self.classes = {*(self.classes or ()), *(other.classes or ())} if known else None
        for key, (low, high) in other.spans.items():
            self.reach(key, low, high)

    def reach(self, key: tuple[str, str, str], low: int, high: int) -> None:
        before = self.spans.get(key, (low, high))
        self.spans[key] = min(before[0], low), max(before[1], high)


class Output:
    """Files of one table that a fold or an epoch makes; use it in `with`, which removes unfinished files.

    Parameters
    ----------
    directory, store_id, epoch
        Of the store; the epoch is part of the files' names.
    together
        The group of all rows if they must not be split; MIXED if they are split by audience.
    fresh
        Whether it is a segment of one epoch, not of a fold.
    """

    def __init__(
        self,
        directory: Path,
        store_id: str,
        epoch: int,
        table: str,
        *,
        together: int | None = MIXED,
        fresh: bool = False,
    ) -> None:
        self._directory, self._store_id, self._epoch, self._table = directory, store_id, epoch, table
        self._together, self._fresh = together, fresh
        self._parts: dict[int | None, _Part] = {}
        self._made: list[Segment] = []

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for part in self._parts.values():
            # On a full disk, closing a file fails too; the file is removed anyway.
            with suppress(OSError, pa.ArrowException):
                self._close(part)
            if part.path is not None:
                part.path.unlink(missing_ok=True)
        if error is not None:
            for segment in self._made:
                (self._directory / segment.file).unlink(missing_ok=True)

    def add(self, rows: pa.Table, audience: int, classes: Iterable[int] | None) -> None:
        """Add rows of an audience; rows must be sorted, and calls must follow the order of the table."""
        key = audience if self._together is MIXED else self._together
        part = self._parts.setdefault(key, _Part(key))
        part.add(rows, classes)
        for role in NUMBERS.get(self._table, ()):
            for stream, low, high in _reach(rows, self._table, role):
                part.reach((role, *stream), low, high)
        if sum(len(held) for held in part.held) > limits.RESIDUE_ROWS:
            self._write(part)

    def finish(self) -> list[Segment]:
        """Give the files their final names and return their segments."""
        residue = _Part(MIXED)
        for key in [key for key, part in self._parts.items() if part.writer is None]:
            part = self._parts.pop(key)
            if self._together is MIXED and part.rows < limits.RESIDUE_ROWS:
                residue.take(part)
            else:
                self._parts[key] = part
        if residue.rows:
            residue.held = [ordered(pa.concat_tables(residue.held), self._table)]
            self._parts[MIXED] = residue
        for part in self._parts.values():
            self._made.append(self._finished(part))
        return self._made

    def _finished(self, part: _Part) -> Segment:
        self._write(part)
        self._close(part)
        if part.path is None:
            raise AssertionError("a part has rows")
        classed = self._table in CLASSED or self._table == "edges"
        # A fold may produce the same bytes as its input file; the `f` makes sure that the names differ.
        name = f"{self._table}-{self._epoch:08d}{'' if self._fresh else 'f'}"
        file, size, digest = settled(part.path, self._directory, name, self._store_id)
        part.path = None
        return Segment(
            file,
            self._table,
            *part.epochs,
            part.rows,
            size,
            digest,
            tuple(sorted(part.classes)) if classed and part.classes is not None else None,
            self._fresh,
            MIXED if self._fresh else part.audience,
            [Span(*key, low, high) for key, (low, high) in part.spans.items()],
        )

    def _write(self, part: _Part) -> None:
        if not part.held:
            return
        rows = pa.concat_tables(part.held)
        part.held.clear()
        if part.writer is None:
            number = sum(other.path is not None for other in self._parts.values())
            part.path = (
                self._directory
                / SEGMENTS
                / f"{'fresh' if self._fresh else 'fold'}-{self._table}-{number}{TEMPORARY}"
            )
            part.path.unlink(missing_ok=True)
            part.file = files.create(part.path)
            # Fresh files are compressed lightly, because they are folded soon.
            part.writer = parquet(part.file, rows.schema, "lz4" if self._fresh else "zstd")
        part.writer.write_table(rows, row_group_size=limits.ROW_GROUP_ROWS)

    @staticmethod
    def _close(part: _Part) -> None:
        try:
            if part.writer is not None:
                part.writer.close()
        finally:
            if part.file is not None:
                part.file.close()
            part.writer = part.file = None


def parquet(file: BinaryIO, schema: pa.Schema, compression: str = "zstd") -> pq.ParquetWriter:
    """Writer with the settings of all segments.

    Sorted integers are stored as differences. Digests have no dictionary, because nearly all are distinct.
    """
    whole = [column.name for column in schema if pa.types.is_integer(column.type)]
    return pq.ParquetWriter(
        file,
        schema,
        compression=compression,
        use_dictionary=[
            column.name
            for column in schema
            if column.type in (pa.string(), _RECURRING) and column.name not in _DIGESTS
        ],
        column_encoding=dict.fromkeys(whole, "DELTA_BINARY_PACKED"),
        store_schema=False,
        write_page_index=False,
    )


def _reach(rows: pa.Table, table: str, role: str) -> Iterator[tuple[tuple[Any, ...], int, int]]:
    """Yield each stream of a role with its lowest and highest number."""
    streams, of = combinations(rows, NUMBERS[table][role][:2])
    low, high = bounds(rows, table, role)
    lowest, highest = np.full(len(streams), 2**63 - 1), np.full(len(streams), -(2**63))
    np.minimum.at(lowest, of, low)
    np.maximum.at(highest, of, high)
    yield from zip(streams, lowest.tolist(), highest.tolist(), strict=True)
