"""Write the files of a store again without some rows: a pure function of immutable files.

These are the rows of erased wearers, or what is over. Like a fold it makes files beside the current ones, and
the next epoch records them. Files without such rows are not touched. Memory is bounded like that of a fold.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from streams import files, limits
from streams.consent.erased import ErasedPlace, ErasedTime
from streams.lineage import expired
from streams.lineage.division import PERSONAL, divide, touched
from streams.lineage.expired import Expired
from streams.lineage.parting import Divided
from streams.lineage.selection import READ, Selection
from streams.lineage.stays import looks, stays_at
from streams.lineage.tables import CONSENT_TAKEUP, EXAMPLE_ORDER
from streams.quoting import quoted
from streams.snapshots.epochs.hot import Hot
from streams.snapshots.files import index
from streams.snapshots.files.chunks import scan
from streams.snapshots.files.columnar import classes_of, ordered
from streams.snapshots.files.directory import FOLDING, SEGMENTS, TEMPORARY, sync
from streams.snapshots.files.output import UNZONED, Output, parquet
from streams.snapshots.files.segments import CLASSED, Segment, schema_of, settled
from streams.snapshots.folds.fold import LISTED, Folded, Index

STEPS = (12, 13, 14)
"""Steps between which tests simulate a crash: 12 rows found, 13 segments made, 14 index made."""
#: Tables with a column that names a wearer.
_NAMING = ("events", "decisions", "rejected", "feedback", "zone_runs")
_INDEX = f"erasing-index{TEMPORARY}"


class Kept(Struct, frozen=True):
    """What a file that is written again keeps of the former one."""

    file: str
    table: str
    fresh: bool
    audience: int | None
    classes: Sequence[int] | None


class Leaving(NamedTuple):
    """The rows that leave the store: of which devices and tables, by `touched` and `divide`."""

    sources: frozenset[str]
    tables: Collection[str]
    touched: Callable[[str], str]
    divide: Callable[[str, pa.Table], Divided]


class Rewritten(Struct, frozen=True):
    """Result: `folded` is to be recorded by the next epoch, `rows` were removed or lost a part.

    `runs` are those of the erased events, `devices` those that nobody else wore: rows of `selection.KNOWN`.
    """

    folded: Folded
    rows: int
    runs: pa.Table
    devices: pa.Table

    @property
    def files(self) -> int:
        """Number of files that were replaced."""
        return len(self.folded.replaced) + len(self.folded.merged)


class Rewriting:
    """One rewriting of the store in `path`; use it in `with`, which removes what an error left behind."""

    def __init__(self, hot: Hot, path: Path, after_step: Callable[[int], None]) -> None:
        self._path, self._after_step, self._store_id = path, after_step, hot.store_id
        self._epoch = hot.newest().number + 1
        self._current = hot.files.current_files()
        self._segments = {
            row[0]: Kept(*row)
            for row in hot.connection.execute(
                "SELECT file, table_name, fresh, audience, classes FROM segments WHERE superseded IS NULL"
            ).fetchall()
        }
        self._classes = {each: number for number, each in enumerate(hot.classes)}
        self._indexes = hot.indexes()
        self._made: list[Segment] = []
        self._interrupted = False

    def __enter__(self) -> Rewriting:
        self._beside = self._path / FOLDING
        shutil.rmtree(self._beside, ignore_errors=True)
        files.make_directory(self._beside)
        self._connection = duckdb.connect(config={"memory_limit": f"{limits.FOLD_MEMORY_MB}MB", "threads": 1})
        self._connection.execute(f"SET temp_directory = {quoted(str(self._beside / 'spilled'))}")
        return self

    def interrupt(self) -> None:
        """End it soon, with an error; for another thread."""
        self._interrupted = True
        # One that has just ended has closed the connection.
        with suppress(duckdb.ConnectionException, AttributeError):
            self._connection.interrupt()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._connection.close()
        shutil.rmtree(self._beside, ignore_errors=True)
        if kind is not None and issubclass(kind, Exception):
            for segment in self._made:
                with suppress(OSError):
                    (self._path / segment.file).unlink(missing_ok=True)

    def wearers(self) -> set[str]:
        """Everybody whom any row names as a wearer, or as who said something."""
        parts = [
            f"SELECT DISTINCT wearer FROM {scan(self._paths(self._current[table]))}"  # noqa: S608 - names of ours
            for table in _NAMING
            if table in self._current
        ]
        names = {name for (name,) in self._all(" UNION ".join(parts))} if parts else set[str]()
        if "training_checks" in self._current:
            names |= {
                text for (text,) in self._all(f"SELECT DISTINCT subject {self._from('training_checks')}")
            }
        for value in self._values(CONSENT_TAKEUP):
            names |= {row[0] for row in orjson.loads(value) if isinstance(row, list)}
        return names

    def streams(self) -> list[tuple[str, str]]:
        """Every stream that rows name, also where no event of it is stored."""
        sides = [
            f"SELECT DISTINCT {side}source, {side}stream {self._from(table)}"
            for table, prefixes in {
                "edges": ("child_", "parent_"),
                **dict.fromkeys(("streams", "events", "decisions", "rejected", "shadow"), ("",)),
            }.items()
            if table in self._current
            for side in prefixes
        ]
        names = {tuple(row) for row in self._all(" UNION ".join(sides))} if sides else set()
        texts = [text for value in self._values(EXAMPLE_ORDER) for text in value.split(" ")]
        if "training_runs" in self._current:
            texts += [text for (text,) in self._all(f'SELECT "trigger" {self._from("training_runs")}')]
        ids = (text.split("/") for text in texts if text.count("/") == 2)
        return sorted(names | {(source, stream) for source, stream, _ in ids})

    def stays(self, wearer: str, where: ErasedPlace) -> tuple[ErasedTime, ...]:
        """When the rows say that a wearer was at a place."""
        return stays_at(looks(self._connection, self._relations(READ), wearer), where)

    def run(self, bounds: Mapping[str, Sequence[ErasedTime]], known: pa.Table, *, words: bool) -> Rewritten:
        """Make the files without what these wearers captured in some times.

        With `words`, what they decided about their data then goes, too.

        Raises
        ------
        duckdb.Error, OSError, pa.ArrowException
            It is not possible now: no space, too little memory, a damaged file.
        """
        selection = Selection(self._connection, self._relations(READ), bounds, known, words=words)
        folded, taken = self._without(
            Leaving(selection.sources, PERSONAL, partial(touched, selection), partial(divide, selection))
        )
        return Rewritten(folded, taken, selection.runs, selection.devices)

    def expire(self, kept: pa.Table, now_ns: int) -> Folded:
        """Make the files without what is over at a time of the broker, and one with what that was.

        `kept` has rows of `lineage.expired.KEPT`. Errors are those of `run`.
        """
        over = Expired(self._connection, self._relations(expired.READ), kept, now_ns)
        folded, taken = self._without(Leaving(over.sources, over.tables, over.touched, over.divide))
        if taken and len(book := over.book()):
            book = book.append_column("epoch", pa.array([self._epoch] * len(book), pa.int64()))
            with Output(self._path, self._store_id, self._epoch, "expired", together=UNZONED) as output:
                output.add(book.cast(schema_of("expired")), UNZONED, ())
                self._made += output.finish()
            sync(self._path / SEGMENTS)
        return replace(folded, made=[*self._made], passed_ns=now_ns)

    def _relations(self, tables: Sequence[str]) -> dict[str, str]:
        return {table: scan(self._paths(self._current[table])) for table in tables if table in self._current}

    def _without(self, leaving: Leaving) -> tuple[Folded, int]:
        """Make the files without these rows; also how many were removed or lost a part."""
        self._after_step(12)
        replaced, taken = list[str](), 0
        for table in sorted(leaving.tables & self._current.keys()):
            for file in self._touched(leaving, table):
                made, count = self._again(leaving, self._segments[file])
                taken += count
                if count:
                    replaced.append(file)
                    self._made += made
        sync(self._path / SEGMENTS)
        self._after_step(13)
        made_index, merged = self._index(leaving, frozenset(replaced))
        self._after_step(14)
        listed = [segment.file for segment in self._made if not segment.fresh] if made_index else []
        return Folded([*self._made], replaced, made_index, merged, listed), taken

    def _all(self, statement: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement).fetchall()

    def _paths(self, names: Sequence[str]) -> list[Path]:
        return [self._path / name for name in names]

    def _from(self, table: str) -> str:
        return f"FROM {scan(self._paths(self._current[table]))}"

    def _values(self, kind: str) -> Iterator[str]:
        """Values of the recorded inputs of a kind."""
        if "inputs" in self._current:
            values = self._connection.sql(f"SELECT value {self._from('inputs')} WHERE kind = '{kind}'")
            for batch in values.to_arrow_reader(limits.ROW_GROUP_ROWS):
                yield from batch.column(0).to_pylist()

    def _touched(self, leaving: Leaving, table: str) -> list[str]:
        """Current files of a table with rows that may have to go, oldest first."""
        every = self._current[table]
        listed = ", ".join(quoted(str(path)) for path in self._paths(every))
        rows = self._all(
            f"SELECT DISTINCT filename FROM read_parquet([{listed}], filename = true) "  # noqa: S608 - as above
            f"WHERE {leaving.touched(table)}"
        )
        names = {Path(path).name for (path,) in rows}
        return [file for file in every if Path(file).name in names]

    def _again(self, leaving: Leaving, former: Kept) -> tuple[list[Segment], int]:
        """A segment without these rows, and how many those are; no segment if none are."""
        table, taken = former.table, 0
        with Output(
            self._path, self._store_id, self._epoch, table, together=UNZONED, fresh=former.fresh
        ) as output:
            segment = pq.ParquetFile(self._path / former.file)
            for group in range(segment.num_row_groups):
                if self._interrupted:
                    raise InterruptedError
                rows = segment.read_row_group(group).select(schema_of(table).names).cast(schema_of(table))
                kept, gone = leaving.divide(table, rows)
                taken += len(gone)
                if len(kept):
                    kept = ordered(kept, table) if len(gone) else kept
                    output.add(kept, UNZONED, self._numbered(kept, former))
            made = output.finish() if taken else []
        # The rows of a file that is split by audience are seen by the same roles as before.
        return [replace(each, audience=former.audience) for each in made], taken

    def _numbered(self, rows: pa.Table, former: Kept) -> Sequence[int] | None:
        """Classes of rows; those of edges, whose ends are not looked up again, are all of the former file."""
        if former.table in CLASSED:
            return [self._classes[each] for each in classes_of(rows, former.table)[0]]
        return former.classes

    def _index(self, leaving: Leaving, replaced: frozenset[str]) -> tuple[Index | None, list[str]]:
        """One index in place of those that name a device of these rows, and their names."""
        merged, parts = list[Index](), dict[str, list[Path]]({"edges": [], "zone_runs": []})
        for each in self._indexes if replaced else ():
            with ExitStack() as stack:
                writers: dict[str, pq.ParquetWriter] = {}
                for table, rows in index.rows_of(self._connection, self._path / each.file, leaving.sources):
                    if table not in writers:
                        path = self._beside / f"{table}-{len(merged)}.parquet"
                        writers[table] = stack.enter_context(
                            parquet(stack.enter_context(files.create(path)), rows.schema)
                        )
                        parts[table].append(path)
                    writers[table].write_table(leaving.divide(table, rows).kept)
                if writers:
                    merged.append(each)
        if not merged:
            return None, []
        target = self._path / SEGMENTS / _INDEX
        spans = [
            (segment.file, segment.table, *span)
            for segment in self._made
            if segment.table in LISTED and not segment.fresh
            for span in segment.spans
        ]
        current = self._segments.keys() - replaced
        try:
            counts = index.build(
                self._connection,
                target,
                edges=parts["edges"],
                zone_runs=parts["zone_runs"],
                spans=spans,
                merged=self._paths([each.file for each in merged]),
                without=leaving.sources,
                current=[*current, *(segment.file for segment in self._made)],
            )
            file, size, digest = settled(target, self._path, f"index-{self._epoch:08d}", self._store_id)
        finally:
            for left in (target, target.with_name(f"{target.name}.wal")):
                left.unlink(missing_ok=True)
        sync(self._path / SEGMENTS)
        first, last = merged[0].first_epoch, max(each.last_epoch for each in merged)
        made = Index(file, first, last, counts.edges, counts.zone_runs, size, digest)
        return made, [each.file for each in merged]
