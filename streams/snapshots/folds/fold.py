"""A fold merges segments of many epochs into few: a pure function of immutable files.

The next epoch records the files that a fold made and replaced, so every catalog is consistent. A fold that
was interrupted leaves files that belong to no epoch.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from streams import files, limits
from streams.lineage.retention import retained
from streams.policy.audience import audience
from streams.policy.recheck import StoredPolicies
from streams.quoting import quoted
from streams.snapshots.files import coalesce, index
from streams.snapshots.files.chunks import chunks, scan
from streams.snapshots.files.columnar import bounds, classes_of, combinations, dense, ordered
from streams.snapshots.files.directory import FOLDING, SEGMENTS, TEMPORARY, sync
from streams.snapshots.files.output import UNZONED, Output, parquet
from streams.snapshots.files.segments import CLASSED, NUMBERS, Segment, schema_of, settled, types_of
from streams.snapshots.files.zones import Coverage, Stream, Zones
from streams.snapshots.rows.poll import Mask, Numbers, numbers

STEPS = (10, 11)
"""Steps of a fold between which tests simulate a crash: 10 segments made, 11 index made."""
_STREAM = ("source", "stream", "revision")
_CLASS = ("policy_version", "zone", "label")
#: Tables whose spans of numbers are in an index; an index has the rows of edges and zones themselves.
LISTED = NUMBERS.keys() - {"edges", "zone_runs"}
_RELATION = (
    *(f"{side}_{name}" for side in ("child", "parent") for name in _STREAM),
    "operator",
    "operator_version",
    "directness",
    "declassifier",
)


@dataclass(frozen=True, slots=True)
class Index:
    """A finished index file."""

    file: str
    first_epoch: int
    last_epoch: int
    edges: int
    zone_runs: int
    bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The task of one fold, with everything that it needs to know.

    Parameters
    ----------
    epoch
        The newest epoch, by which files are named.
    inputs
        Files to be replaced, by table, oldest first.
    group
        The audience of all inputs, which stay together; MIXED if rows must be split by audience.
    fresh
        Files among them that no index covers; none for a fold of folded files.
    current
        All files of the newest epoch, by table.
    reach
        First and last epoch of the fresh files among them.
    epochs
        (epoch, published_ns) of those that are not in segments yet.
    classes
        (policy version, zone, label) by number.
    indexes, spans
        Index files that are to be merged, oldest first, and spans of files that no index lists yet.
    """

    directory: Path
    store_id: str
    epoch: int
    inputs: Mapping[str, Sequence[str]]
    group: int | None
    fresh: frozenset[str]
    current: Mapping[str, Sequence[str]]
    reach: tuple[int, int]
    epochs: Sequence[tuple[int, int]]
    classes: Sequence[tuple[str, str, str]]
    indexes: Sequence[Index]
    spans: Sequence[index.Span]


@dataclass(frozen=True, slots=True)
class Folded:
    """Result of a fold, to be recorded by the next epoch. `listed`: files whose spans the new index has.

    `passed_ns`: of retention, the broker's time at which nothing over is left in the files that it read.
    """

    made: Sequence[Segment]
    replaced: Sequence[str]
    index: Index | None
    merged: Sequence[str]
    listed: Sequence[str]
    passed_ns: int = 0


class Fold:
    """One fold; another thread may call `interrupt`, which ends it with an error."""

    def __init__(self, plan: Plan, after_step: Callable[[int], None]) -> None:
        self._plan, self._after_step = plan, after_step
        self._connection = duckdb.connect(config={"memory_limit": f"{limits.FOLD_MEMORY_MB}MB", "threads": 1})

    def interrupt(self) -> None:
        """Ask the fold to end soon."""
        # A fold that has just ended has closed the connection.
        with suppress(duckdb.ConnectionException):
            self._connection.interrupt()

    def run(self) -> Folded:
        """Make the files.

        Raises
        ------
        duckdb.Error, OSError, pa.ArrowException
            It is not possible now: no space, too little memory, a damaged file. Nothing is left behind.
        """
        with self._connection, self._working_directory() as self._beside:
            self._audiences = self._read_audiences()
            self._read_history()
            made: list[Segment] = []
            try:
                for table, names in self._plan.inputs.items():
                    made += self._table(table, names)
                sync(self._plan.directory / SEGMENTS)
                self._after_step(10)
                made_index = self._index(made) if self._plan.fresh else None
                self._after_step(11)
            except Exception:
                for segment in made:
                    (self._plan.directory / segment.file).unlink(missing_ok=True)
                raise
        listed = [*(segment.file for segment in made), *{span[0] for span in self._plan.spans}]
        return Folded(
            made,
            [name for names in self._plan.inputs.values() for name in names],
            made_index,
            [merged.file for merged in self._plan.indexes] if made_index else [],
            listed if made_index else [],
        )

    @contextmanager
    def _working_directory(self) -> Iterator[Path]:
        path = self._plan.directory / FOLDING
        shutil.rmtree(path, ignore_errors=True)
        files.make_directory(path)
        try:
            self._connection.execute(f"SET temp_directory = {quoted(str(path / 'spilled'))}")
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def _paths(self, names: Sequence[str]) -> list[Path]:
        return [self._plan.directory / name for name in names]

    def _read_audiences(self) -> list[int]:
        stored = self._plan.current.get("policies", ())
        rows = (
            self._connection.execute(
                f"SELECT DISTINCT version, text FROM {scan(self._paths(stored))} "  # noqa: S608 - names of ours
                "WHERE left(sha256(text), 16) = version"
            ).fetchall()
            if stored
            else []
        )
        policies = StoredPolicies(dict(rows))
        return [audience(policies, *each) for each in self._plan.classes]

    def _read_history(self) -> None:
        """Find the epochs that are retained, and those that are listed: more, until they are thinned."""
        folded = self._plan.inputs.get("epochs", ())
        whole = [name for name in self._plan.current.get("epochs", ()) if name not in folded]
        thinned, left = self._epochs(folded), self._epochs(whole)
        at_hand = np.array(self._plan.epochs, np.int64).reshape(-1, 2)
        pairs = [
            np.stack([numbers(some, name) for name in ("epoch", "published_ns")], 1)
            for some in (thinned, left)
        ]
        epoch, published_ns = np.unique(np.concatenate([*pairs, at_hand]), axis=0).T
        self._retained = epoch[retained(published_ns)]
        stay = numbers(thinned, "epoch")[self._stay(thinned)]
        self._listed = np.unique(np.concatenate([stay, numbers(left, "epoch"), at_hand[:, 0]]))

    def _epochs(self, names: Sequence[str]) -> pa.Table:
        """Rows of `epochs` in some segments, in order."""
        if not names:
            return schema_of("epochs").empty_table()
        scanned = f"FROM {scan(self._paths(names))} ORDER BY epoch"
        return self._connection.sql(scanned).to_arrow_table().select(schema_of("epochs").names)

    def _stay(self, rows: pa.Table) -> Mask:
        """Which rows of `epochs` are kept: those of retained epochs.

        The last epoch of each log is kept too, because it tells up to which epoch offsets belong to that log.
        """
        if not len(rows):
            return np.zeros(0, bool)
        bucket = np.searchsorted(self._retained, numbers(rows, "epoch"))
        log = combinations(rows, ("cluster", "topic"))[1]
        return np.append((bucket[1:] != bucket[:-1]) | (log[1:] != log[:-1]), True)

    def _bucket(self, rows: pa.Table) -> Numbers:
        """The same number for rows if no listed epoch lies between theirs."""
        return np.searchsorted(self._listed, numbers(rows, "epoch")).astype(np.int64)

    def _table(self, table: str, names: Sequence[str]) -> list[Segment]:
        plan = self._plan
        unsplit = table not in CLASSED and table != "edges"
        together = UNZONED if unsplit or table == "zone_runs" else plan.group
        with Output(plan.directory, plan.store_id, plan.epoch, table, together=together) as output:
            # There are few epochs, and thinning needs all of them at once.
            rows_max = 2**62 if table == "epochs" else limits.FOLD_CHUNK_ROWS
            for rows in chunks(self._connection, table, self._paths(names), rows_max):
                if table == "edges":
                    self._edges(output, rows)
                elif table == "zone_runs":
                    self._classed(output, table, self._zone_runs(rows, names))
                elif table in CLASSED:
                    self._classed(output, table, rows)
                else:
                    output.add(self._thinned(rows) if table == "epochs" else rows, UNZONED, ())
            return output.finish()

    def _classed(self, output: Output, table: str, rows: pa.Table) -> None:
        """Add rows with a class of their own, split by audience."""
        if not len(rows):
            return
        number = self._numbered(*classes_of(rows, table))
        who = np.array(self._audiences, np.int64)[number]
        for seen_by in np.unique(who).tolist():
            some = who == seen_by
            output.add(rows.filter(pa.array(some)), seen_by, np.unique(number[some]).tolist())

    def _numbered(self, classes: Sequence[tuple[Any, ...]], of: Numbers) -> Numbers:
        """Number of each row's class; `of` is its index in `classes`."""
        known = {each: number for number, each in enumerate(self._plan.classes)}
        return np.array([known[each] for each in classes], np.int64)[of]

    def _thinned(self, rows: pa.Table) -> pa.Table:
        """Kept rows of `epochs`; each takes over the row counts of the removed epochs before it."""
        last = np.flatnonzero(self._stay(rows))
        first = np.concatenate(([0], last[:-1] + 1))
        added = np.add.reduceat(numbers(rows, "rows"), first)
        kept = rows.take(pa.array(last))
        return kept.set_column(kept.column_names.index("rows"), "rows", pa.array(added))

    def _edges(self, output: Output, rows: pa.Table) -> None:
        """Add edges, split by who may see both of their sides; runs that continue one another are joined."""
        seen = self._sides(rows)
        relation = combinations(rows, _RELATION)[1]
        key = dense(relation, *(side.own for _, side in seen), self._bucket(rows))
        alone = np.any([side.own == coalesce.ALONE for _, side in seen], axis=0)
        key[alone] = coalesce.ALONE
        who = seen[0][1].audience & seen[1][1].audience
        known = seen[0][1].known & seen[1][1].known
        for seen_by in np.unique(who).tolist():
            some = who == seen_by
            classes = (
                set().union(*(zones.classes(side.begin[some], side.end[some]) for zones, side in seen))
                if known[some].all()
                else None
            )
            merged = coalesce.edges(rows.filter(pa.array(some)), key[some])
            output.add(ordered(merged, "edges"), seen_by, classes)

    def _sides(self, rows: pa.Table) -> list[tuple[Zones, Coverage]]:
        """Coverage of the children and of the parents of edges."""
        sides = []
        for role in ("child", "parent"):
            streams, of = combinations(rows, [f"{role}_{name}" for name in _STREAM])
            low, high = bounds(rows, "edges", role)
            zones = self._zones(streams, int(low.min()), int(high.max()))
            sides.append((zones, zones.over(streams, of, low, high)))
        return sides

    def _zones(self, streams: Sequence[Stream], low: int, high: int) -> Zones:
        rows = self._runs_of(streams, low, high, self._plan.current.get("zone_runs", ()))
        number = self._numbered(*combinations(rows, _CLASS))
        own = combinations(rows, coalesce.OWN)[1]
        return Zones(
            rows.append_column("class", pa.array(number)).append_column("own", pa.array(own)), self._audiences
        )

    def _runs_of(self, streams: Sequence[Stream], low: int, high: int, names: Sequence[str]) -> pa.Table:
        """Rows of `zone_runs` for some streams and numbers, sorted by stream and low."""
        columns = ", ".join(types_of("zone_runs"))
        source, stream, revision = zip(*streams, strict=True)
        asked = pa.table({"source": source, "stream": stream, "revision": pa.array(revision, pa.int64())})
        self._connection.register("asked", asked)
        try:
            return (
                self._connection.sql(
                    f"SELECT {columns} FROM {scan(self._paths(names))} SEMI JOIN asked "  # noqa: S608 - names of ours
                    "USING (source, stream, revision) WHERE low <= ? AND high >= ? "
                    "ORDER BY source, stream, revision, low, epoch",
                    params=[high, low],
                ).to_arrow_table()
                if names
                else schema_of("zone_runs").empty_table()
            )
        finally:
            self._connection.unregister("asked")

    def _zone_runs(self, rows: pa.Table, names: Sequence[str]) -> pa.Table:
        """Zone runs; those of one class that follow one another are joined."""
        streams, _ = combinations(rows, _STREAM)
        others = [name for name in self._plan.current.get("zone_runs", ()) if name not in set(names)]
        low, high = bounds(rows, "zone_runs")
        beside = self._runs_of(streams, int(low.min()), int(high.max()), others)
        both = pa.concat_tables([rows, beside])
        stays = np.arange(len(both)) >= len(rows)
        stream = combinations(both, _STREAM)[1]
        order = np.lexsort((numbers(both, "low"), stream))
        both = both.take(pa.array(order))
        key = combinations(both, coalesce.OWN)[1]
        merged = coalesce.zone_runs(both, stream[order], key, self._bucket(both), stays[order])
        return ordered(merged, "zone_runs")

    def _index(self, made: Sequence[Segment]) -> Index:
        """Make an index from the folded fresh files and older indexes."""
        plan, target = self._plan, self._plan.directory / SEGMENTS / f"fold-index{TEMPORARY}"
        spans = [
            *plan.spans,
            *(
                (segment.file, segment.table, *span)
                for segment in made
                if segment.table in LISTED
                for span in segment.spans
            ),
        ]
        current = {name for names in plan.current.values() for name in names}
        current -= {name for names in plan.inputs.values() for name in names}
        try:
            counts = index.build(
                self._connection,
                target,
                edges=[self._runs_of_edges()],
                zone_runs=self._fresh("zone_runs")
                or [self._written("zone_runs", [schema_of("zone_runs").empty_table()])],
                spans=spans,
                merged=self._paths([older.file for older in plan.indexes]),
                current=[*current, *(segment.file for segment in made)],
            )
            file, size, digest = settled(target, plan.directory, f"index-{plan.epoch:08d}", plan.store_id)
        finally:
            for left in (target, target.with_name(f"{target.name}.wal")):
                left.unlink(missing_ok=True)
        sync(plan.directory / SEGMENTS)
        first = min([plan.reach[0], *(older.first_epoch for older in plan.indexes)])
        last = max([plan.reach[1], *(older.last_epoch for older in plan.indexes)])
        return Index(file, first, last, counts.edges, counts.zone_runs, size, digest)

    def _fresh(self, table: str) -> list[Path]:
        return self._paths([name for name in self._plan.inputs.get(table, ()) if name in self._plan.fresh])

    def _runs_of_edges(self) -> Path:
        """Fresh edges for an index, joined across zones, because walks take zones from elsewhere."""
        parts = [schema_of("edges").empty_table()]
        if paths := self._fresh("edges"):
            for rows in chunks(self._connection, "edges", paths, limits.FOLD_CHUNK_ROWS):
                relation = combinations(rows, _RELATION)[1]
                parts.append(coalesce.edges(rows, dense(relation, self._bucket(rows))))
        return self._written("edges", parts)

    def _written(self, table: str, parts: Sequence[pa.Table]) -> Path:
        path = self._beside / f"{table}.parquet"
        with files.create(path) as file, parquet(file, parts[0].schema) as writer:
            for part in parts:
                writer.write_table(part)
        return path
