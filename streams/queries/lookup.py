"""Data access for questions: the index files of an epoch, and fresh segments that no index covers yet.

Small data is loaded once per source and kept while the store is open: the relations of its edges, its runs of
zones, and which segments hold which of its numbers. Edges are read hop by hop, with one statement for all
streams of a hop. Every file is compared with its digest before it is read.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Any, Literal, NamedTuple

import duckdb

from streams import limits
from streams.errors import DamagedError, UnavailableError
from streams.events.runs import EdgeRun, Run
from streams.queries import intact
from streams.queries.extent import Extent
from streams.queries.newest import CATALOG, SEGMENTS
from streams.queries.parts import Part, listed
from streams.queries.relation import Edge, How, Interval, Relation, Side, Stream, edges_in
from streams.queries.role import RowClass
from streams.quoting import quoted

Direction = Literal["parents", "children"]

#: The side of an edge at which a walk in each direction arrives.
_FROM: Mapping[Direction, Side] = {"parents": "child", "children": "parent"}
_NAMES = (
    "child_source, child_stream, child_revision, parent_source, parent_stream, parent_revision, operator, "
    "operator_version, directness, declassifier"
)
#: Tables whose content is in the index files.
_INDEXED = frozenset({"edges", "zone_runs"})
#: Runs of zones are loaded completely, and kept, if a hop reaches at most this many sources.
_SOURCES_AT_ONCE = 4
_ZONE_RUN = "source, stream, revision, low, high, policy_version, zone, label, wearer"
_SPAN = "file, role, stream, lowest, highest"
#: Lowest and highest number and file, by table, role and stream.
_Spans = dict[tuple[str, str, str], list[tuple[int, int, str]]]


class ZoneRun(NamedTuple):
    """Consecutive numbers of one stream that have the same class."""

    low: int
    high: int
    row_class: RowClass


class _Zones:
    """Runs of zones of one stream, by number."""

    def __init__(self, runs: Sequence[ZoneRun]) -> None:
        self._runs = sorted(runs, key=lambda run: run.low)
        # Highest number in each run and all runs before it, because runs may overlap.
        self._reached = list(accumulate((run.high for run in self._runs), max))

    def at(self, low: int, high: int) -> Iterator[ZoneRun]:
        for run in self._runs[bisect_left(self._reached, low) :]:
            if run.low > high:
                return
            if run.high >= low:
                yield run


class Lookup:
    """Access to the data of an open epoch; `connection` has the epoch's catalog attached as `store`.

    Raises
    ------
    DamagedError
        From every method: a file is not as the writer wrote it.
    UnavailableError
        From every method: the epoch was replaced so long ago that its files were deleted.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, parts: Sequence[Part]) -> None:
        self._connection, self._parts = connection, parts
        #: Names of files are relative to it; where several stores are open, they are absolute.
        self.directory = parts[0].directory
        self._named = listed(part.directory for part in parts)
        self._version = min(part.version for part in parts)
        self._extent = Extent(parts)
        kept = lru_cache(limits.SOURCES_KEPT)
        self._relations: Callable[[Side, str], dict[Stream, list[Relation]]] = kept(self._load_relations)
        self._zones: Callable[[str], dict[Stream, _Zones] | None] = kept(self._load_zones)
        self._listed: Callable[[str], _Spans] = kept(self._load_listed)
        self._unlisted: Callable[[str], _Spans] = kept(self._load_unlisted)

    def look_back(self, extent: Extent) -> None:
        """Find only rows of a past extent; must be called before anything is looked up.

        Index files do not have the epochs of their rows, so segments are read instead.
        """
        self._extent = extent

    @cached_property
    def segments(self) -> dict[str, tuple[str, str]]:
        """(table, digest) of each current segment, by name."""
        segments = self.rows("SELECT file, table_name, digest FROM store.main.segments")
        return {file: (table, digest) for file, table, digest in segments}

    @cached_property
    def indexes(self) -> dict[str, str]:
        """Digest of each index file, by name, oldest first."""
        if self._version < limits.STORE_VERSION:
            return {}
        return dict(self.rows("SELECT file, digest FROM store.main.indexes ORDER BY first_epoch"))

    @cached_property
    def _attached(self) -> dict[str, str]:
        """Attach the index files; return by their names what to put before the names of files in them.

        This is empty for a single store. An index names files relative to its own store.
        """
        self.check(self.indexes)
        for number, file in enumerate(self.indexes):
            self.rows(f"ATTACH {quoted(str(self.directory / file))} AS index_{number} (READ_ONLY)")
        return {
            f"index_{number}": file.rpartition(f"{SEGMENTS}/")[0] for number, file in enumerate(self.indexes)
        }

    def rows(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """All rows of a trusted statement."""
        with self.reading():
            return self._connection.execute(statement, dict(parameters or {})).fetchall()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Translate DuckDB's errors in the block, which must only run trusted statements."""
        try:
            yield
        except duckdb.OutOfMemoryException:
            raise UnavailableError(
                f"{self._named}: the question needs more than {limits.READER_MEMORY_MB} MB of memory; ask "
                "for less of the store"
            ) from None
        except duckdb.Error as error:
            raise intact.damaged(
                self._named, f"found files that DuckDB cannot read ({type(error).__name__})"
            ) from None

    def paths(self, files: Iterable[str]) -> list[str]:
        """Paths of segments by their names, after a check of their digests."""
        names = sorted(files)
        if self._version == limits.STORE_VERSION:
            self.check({name: self.segments[name][1] for name in names})
        return [str(self.directory / name) for name in names]

    def check(self, digests: Mapping[str, str]) -> None:
        """Compare files with their digests, by name."""
        try:
            intact.check(self.directory, digests)
        except DamagedError:
            gone = any(not (self.directory / file).exists() for file in digests)
            for part in self._parts if gone else ():
                newest = (part.directory / CATALOG).resolve()
                if part.catalog.exists() and newest == part.catalog:
                    continue
                raise UnavailableError(
                    f"{part.directory}: the epoch that was opened ({part.catalog.stem}) was replaced more "
                    f"than {limits.SUPERSEDED_GRACE_S:.0f} s ago, or by an erasure more than "
                    f"{limits.ERASED_GRACE_S:.0f} s ago, and files of it are gone; ask again, of the newest"
                ) from None
            raise

    def files(self, table: str, role: str, source: str, stream: str, low: int, high: int) -> list[str]:
        """Names of segments of a table that may hold numbers `low ... high` of a stream."""
        spans = list(self._unlisted(source).get((table, role, stream), ()))
        if table not in _INDEXED:
            spans += self._listed(source).get((table, role, stream), ())
        return [file for lowest, highest, file in spans if lowest <= high and highest >= low]

    def zones(self, wanted: Mapping[Stream, Interval]) -> dict[Stream, list[ZoneRun]]:
        """Runs of zones, by stream, that overlap the wanted interval of numbers."""
        sources = list(dict.fromkeys(source for source, _, _ in wanted))
        # Sources that a walk may reach again are loaded completely and kept. For many sources, or large ones,
        # only the wanted intervals are read.
        kept = {source: self._zones(source) for source in sources} if len(sources) <= _SOURCES_AT_ONCE else {}
        runs_by_stream: dict[Stream, list[ZoneRun]] = {stream: [] for stream in wanted}
        others = []
        for stream, (low, high) in wanted.items():
            of_source = kept.get(stream[0])
            if of_source is None:
                others.append(f"({quoted(stream[0])}, {quoted(stream[1])}, {stream[2]}, {low}, {high})")
            elif stream in of_source:
                runs_by_stream[stream] = list(of_source[stream].at(low, high))
        if others:
            asked = f"(VALUES {', '.join(others)}) asked (source, stream, revision, lowest, highest)"
            for stream, run in self._zone_runs(
                self._unlisted_files,
                f"JOIN {asked} USING (source, stream, revision) WHERE low <= highest AND high >= lowest",
            ):
                runs_by_stream[stream].append(run)
        return runs_by_stream

    def over(self, wanted: Mapping[Stream, Interval]) -> dict[Stream, list[Interval]]:
        """Numbers of events that are over although the files have them still, of the wanted intervals."""
        if not wanted or not self._may_be_over:
            return {}
        asked = " OR ".join(
            f"(source = {quoted(source)} AND stream = {quoted(stream)} AND revision = {revision} "
            f'AND "first" <= {high} AND "first" + step * ("count" - 1) >= {low})'
            for (source, stream, revision), (low, high) in wanted.items()
        )
        numbers = dict[Stream, list[Interval]]()
        for *stream, low, high in self.rows(
            'SELECT source, stream, revision, "first", "first" + step * ("count" - 1) FROM overdue '  # noqa: S608
            f"WHERE {asked}"
        ):
            numbers.setdefault((*stream,), []).append((low, high))
        return numbers

    @cached_property
    def _may_be_over(self) -> bool:
        """Whether the store is older than the shortest class; else nothing is looked at."""
        return bool(self.rows("SELECT 1 FROM over_classes WHERE over_ns >= began_ns LIMIT 1"))

    def edges(self, direction: Direction, wanted: Mapping[Stream, Sequence[Interval]]) -> list[Edge]:
        """Edges that may lead from the numbers `wanted`; the caller must check each edge exactly."""
        side = _FROM[direction]
        bounds = {stream: (numbers[0][0], numbers[-1][1]) for stream, numbers in wanted.items()}
        if self._extent.is_past:
            return list(self._edges_of(self._segments_of("edges"), side, bounds))
        files = {
            file
            for (source, stream, _), (low, high) in bounds.items()
            for file in self.files("edges", side, source, stream, low, high)
        }
        return [*self._indexed(side, bounds), *self._edges_of(files, side, bounds)]

    def _segments_of(self, table: str) -> set[str]:
        """Names of all current segments of a table."""
        return {file for file, (of, _) in self.segments.items() if of == table}

    def _parquet(self) -> str:
        """FROM clause for the rows of the segments `$files`."""
        rows = "read_parquet($files)"
        # Nobody asks for the epoch of an edge or a zone.
        return self._extent.rows(rows) if self._extent.is_past else rows

    def _indexed(self, side: Side, bounds: Mapping[Stream, Interval]) -> Iterator[Edge]:
        asked: dict[tuple[str, int], tuple[Relation, Interval]] = {}
        known: dict[tuple[str, int], Relation] = {}
        for source in {source for source, _, _ in bounds}:
            for stream, relations in self._relations(side, source).items():
                for kept in relations:
                    known[kept.file, kept.number] = kept
                    rows = kept.rows_for(side, *bounds[stream]) if stream in bounds else None
                    if rows is not None:
                        asked[kept.file, kept.number] = (kept, rows)
        if not asked:
            return
        statement = " UNION ALL ".join(
            edges_in(index, [relation for (at, _), relation in asked.items() if at == index], known)
            for index in {index: None for index, _ in asked}
        )
        readers = {key: (*rows, relation.reader()) for key, (relation, rows) in asked.items()}
        for index, number, first, *numbers in self.rows(statement):
            reader = readers.get((index, number))
            if reader is not None and reader[0] <= first <= reader[1]:
                yield reader[2](first, *numbers)

    def _edges_of(self, files: Set[str], side: Side, bounds: Mapping[Stream, Interval]) -> Iterator[Edge]:
        if not files or not bounds:
            return
        last = {
            "child": "child_first + child_step * (child_count - 1)",
            "parent": "parent_first + parent_step * (child_count - 1) + parent_width - 1",
        }[side]
        conditions = " OR ".join(
            f"({side}_source = {quoted(source)} AND {side}_stream = {quoted(stream)} "
            f"AND {side}_revision = {revision} AND {side}_first <= {high} AND {last} >= {low})"
            for (source, stream, revision), (low, high) in bounds.items()
        )
        for *names, first, step, count, start, advance, width in self.rows(
            f"SELECT {_NAMES}, child_first, child_step, child_count, parent_first, parent_step, parent_width "  # noqa: S608
            f"FROM {self._parquet()} WHERE {conditions}",
            {"files": self.paths(files)},
        ):
            run = EdgeRun(Run(first, step, count), start, advance, width)
            yield Edge((*names[:3],), (*names[3:6],), How(*names[6:]), run)

    def _load_relations(self, side: Side, source: str) -> dict[Stream, list[Relation]]:
        ours = f"{side}_source = {quoted(source)}"
        statement = " UNION ALL ".join(
            f"SELECT '{index}', * FROM {index}.relations WHERE {ours}"  # noqa: S608
            for index in self._attached
        )
        relations: dict[Stream, list[Relation]] = {}
        for row in self.rows(statement) if statement else ():
            relation = Relation(*row)
            relations.setdefault(relation.child if side == "child" else relation.parent, []).append(relation)
        return relations

    def _load_zones(self, source: str) -> dict[Stream, _Zones] | None:
        """Runs of a source by stream; None if there are too many to keep."""
        runs_by_stream: dict[Stream, list[ZoneRun]] = {}
        files = {file for spans in self._unlisted(source).values() for _, _, file in spans}
        runs = self._zone_runs(files, f"WHERE source = {quoted(source)}", limits.ZONE_RUNS_KEPT + 1)
        if len(runs) > limits.ZONE_RUNS_KEPT:
            return None
        for stream, run in runs:
            runs_by_stream.setdefault(stream, []).append(run)
        return {stream: _Zones(some) for stream, some in runs_by_stream.items()}

    @cached_property
    def _unlisted_files(self) -> set[str]:
        """Names of segments that no index covers yet."""
        return {file for (file,) in self.rows("SELECT DISTINCT file FROM store.main.spans")}

    def _zone_runs(
        self, files: Iterable[str], condition: str, limit: int = limits.NUMBER_MAX
    ) -> list[tuple[Stream, ZoneRun]]:
        """Runs of zones in the indexes and in the segments `files`."""
        origins: list[str] = []
        if not self._extent.is_past:
            origins += (f"{index}.zone_runs" for index in self._attached)
            fresh = self._segments_of("zone_runs") & set(files)
        else:
            fresh = self._segments_of("zone_runs")
        if fresh:
            origins.append(self._parquet())
        statement = " UNION ALL ".join(
            f"SELECT {_ZONE_RUN} FROM {origin} {condition}"  # noqa: S608 - names of ours
            for origin in origins
        )
        classes: dict[RowClass, RowClass] = {}
        runs = []
        for *stream, low, high, version, zone, label, wearer in (
            self.rows(f"{statement} LIMIT {limit}", {"files": self.paths(fresh)} if fresh else None)
            if origins
            else ()
        ):
            of = RowClass(version, zone, label, wearer)
            runs.append(((*stream,), ZoneRun(low, high, classes.setdefault(of, of))))
        return runs

    def _load_listed(self, source: str) -> _Spans:
        """Spans of numbers of a source in segments that an index covers."""
        return self._spans_in(
            f"SELECT {quoted(before)} || {_SPAN} FROM {index}.spans WHERE source = {quoted(source)}"  # noqa: S608 - names of ours
            for index, before in self._attached.items()
        )

    def _load_unlisted(self, source: str) -> _Spans:
        """Spans of numbers of a source in segments that no index covers yet."""
        return self._spans_in(
            [f"SELECT {_SPAN} FROM store.main.spans WHERE source = {quoted(source)}"]  # noqa: S608 - ours
        )

    def _spans_in(self, statements: Iterable[str]) -> _Spans:
        statement = " UNION ALL ".join(statements)
        spans: _Spans = {}
        for file, role, stream, lowest, highest in self.rows(statement) if statement else ():
            # An index may name segments that a later fold has replaced.
            if file in self.segments:
                key = self.segments[file][0], role, stream
                spans.setdefault(key, []).append((lowest, highest, file))
        return spans
