"""Rows of several segments of a table, in its order, so many at a time that they fit the memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from streams import limits
from streams.snapshots.segments import NUMBERS, order, quoted, types_of


def scan(paths: Sequence[Path]) -> str:
    """FROM clause of some Parquet files."""
    return f"read_parquet([{', '.join(quoted(str(path)) for path in paths)}])"


def chunks(connection: duckdb.DuckDBPyConnection, table: str, paths: Sequence[Path]) -> Iterator[pa.Table]:
    """Yield the rows of some segments of `table`, sorted, FOLD_CHUNK_ROWS and a bit more at a time.

    Streams lie whole in a chunk, or a long one is cut by its numbers; tables without streams by epochs.
    """
    columns = ", ".join(types_of(table))
    for where in _ranges(connection, table, paths):
        yield connection.sql(
            f"SELECT {columns} FROM {scan(paths)} WHERE {where} ORDER BY {order(table)}"  # noqa: S608 - names of ours
        ).to_arrow_table()


def _ranges(connection: duckdb.DuckDBPyConnection, table: str, paths: Sequence[Path]) -> Iterator[str]:
    """Yield conditions that take every row apart, each for about FOLD_CHUNK_ROWS."""
    source, stream, number, _ = next(iter(NUMBERS.get(table, {}).values()), ("''", "''", "epoch", ""))
    counts = connection.execute(
        f"SELECT {source}, {stream}, count(*) FROM {scan(paths)} GROUP BY ALL ORDER BY ALL"  # noqa: S608 - names of ours
    ).fetchall()
    if sum(count for *_, count in counts) <= limits.FOLD_CHUNK_ROWS:
        yield "true"
        return
    begin, held = 0, 0
    for at, (*name, count) in enumerate(counts):
        here = f"({source}, {stream}) = ({quoted(name[0])}, {quoted(name[1])})"
        if count > limits.FOLD_CHUNK_ROWS:
            if held:
                yield _between(source, stream, counts[begin], counts[at - 1])
            for low, high in _cuts(connection, number, f"{scan(paths)} WHERE {here}", count):
                yield f"{here} AND {number} >= {low} AND {number} < {high}"
            begin, held = at + 1, 0
            continue
        if held + count > limits.FOLD_CHUNK_ROWS:
            yield _between(source, stream, counts[begin], counts[at - 1])
            begin, held = at, 0
        held += count
    if held:
        yield _between(source, stream, counts[begin], counts[-1])


def _between(source: str, stream: str, first: tuple[str, str, int], last: tuple[str, str, int]) -> str:
    low, high = (f"({quoted(name[0])}, {quoted(name[1])})" for name in (first, last))
    # Row groups are passed over by the plain column.
    return (
        f"{source} BETWEEN {quoted(first[0])} AND {quoted(last[0])} "
        f"AND ({source}, {stream}) >= {low} AND ({source}, {stream}) <= {high}"
    )


def _cuts(
    connection: duckdb.DuckDBPyConnection, number: str, rows: str, count: int
) -> Iterator[tuple[int, int]]:
    """Yield half-open ranges of numbers with about FOLD_CHUNK_ROWS rows each."""
    parts = -(-count // limits.FOLD_CHUNK_ROWS)
    shares = ", ".join(str(part / parts) for part in range(1, parts))
    found = connection.execute(f"SELECT quantile_disc({number}, [{shares}]) FROM {rows}").fetchone()  # noqa: S608
    cuts = sorted({int(cut) for cut in found[0]}) if found else []
    yield from zip([-1, *cuts], [*cuts, 2**63 - 1], strict=True)
