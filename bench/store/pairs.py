"""The edges of a store, event by event, as pairs of numbers in one Parquet file that peers load."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from streams.events.identity import EventId
from streams.queries import questions
from streams.queries.store import Store

#: Low bits of a number, which identify the event in its stream; the higher bits identify the stream.
_BITS = 32


@dataclass(frozen=True, slots=True)
class Pairs:
    """The file, its number of pairs, and the number of each stream by (source, stream).

    Pairs are sorted by child. Edges of training are left out, because our walk stops at a model and the
    peers' would not.
    """

    file: Path
    count: int
    streams: dict[tuple[str, str], int]

    @classmethod
    def make(cls, store: Path, file: Path, copies: int) -> Pairs:
        """Make the pairs of the first `copies` copies of a grown store and of uncopied sources."""
        with duckdb.connect(str((store / "catalog.duckdb").resolve()), read_only=True) as connection:
            run = connection.execute
            run(f"SET file_search_path = '{store.resolve()}'")
            run("SET temp_directory = ?", [str(file.with_suffix(".spill"))])
            run(
                "CREATE TEMP TABLE numbered AS SELECT source, stream, "
                "row_number() OVER (ORDER BY source, stream) AS number "
                "FROM (SELECT DISTINCT source, stream FROM files.streams) "
                "WHERE source NOT LIKE '%-%' OR split_part(source, '-', 2)::INTEGER < ?",
                [copies],
            )
            run(
                f"COPY (SELECT DISTINCT (c.number << {_BITS}) + child_first + child_step * i AS child, "  # noqa: S608
                f"(p.number << {_BITS}) + parent_first + parent_step * i + unnest(range(parent_width)) AS "
                "parent FROM (SELECT *, unnest(range(child_count)) AS i FROM files.edges "
                "WHERE operator <> 'training') AS e "
                "JOIN numbered AS c ON c.source = child_source AND c.stream = child_stream "
                "JOIN numbered AS p ON p.source = parent_source AND p.stream = parent_stream "
                f"ORDER BY child, parent) TO '{file}' (FORMAT parquet)"
            )
            count = run(f"SELECT count(*) FROM '{file}'").fetchall()[0][0]  # noqa: S608 - our own path
            streams = {(a, b): number for a, b, number in run("FROM numbered").fetchall()}
        return cls(file, count, streams)

    def behind(self, events: Sequence[int], file: Path) -> int:
        """Write the pairs behind some events to another sorted file; return how many there are."""
        with duckdb.connect() as connection:
            count: int = connection.execute(
                "COPY (WITH RECURSIVE up(id) AS (SELECT unnest($events::BIGINT[]) UNION SELECT parent "  # noqa: S608 - our own paths
                f"FROM '{self.file}' JOIN up ON child = up.id) SELECT child, parent FROM '{self.file}' "
                f"WHERE child IN (FROM up) ORDER BY ALL) TO '{file}' (FORMAT parquet)",
                {"events": list(events)},
            ).fetchall()[0][0]
        return count

    def numbers(self, ids: Iterable[str]) -> list[int]:
        """Numbers of events for the peers."""
        parsed = [EventId.parse(identity) for identity in ids]
        return [(self.streams[each.source, each.stream] << _BITS) + each.number for each in parsed]

    def ancestors(self, store: Store, identity: str) -> set[int]:
        """Ancestors in our own answer, as numbers for the peers."""
        answer = questions.ancestors(store, identity)
        return {
            (self.streams[row.source, row.stream] << _BITS) + number
            for row in answer.ancestors
            for number in range(row.first, row.last + 1)
        }
