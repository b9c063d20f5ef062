"""Read rows of several segments of a table, sorted, in chunks that fit into memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from streams.quoting import quoted
from streams.snapshots.files.segments import NUMBERS, order, types_of


def scan(paths: Iterable[Path | str]) -> str:
    """FROM clause of some Parquet files."""
    return f"read_parquet([{', '.join(quoted(str(path)) for path in paths)}])"


def chunks(
    connection: duckdb.DuckDBPyConnection, table: str, paths: Sequence[Path], rows_max: int
) -> Iterator[pa.Table]:
    """Yield the rows of some segments of `table`, sorted, about `rows_max` at a time.

    A chunk contains whole streams, or a range of numbers of a long one; other tables are divided by epochs.
    """
    columns = ", ".join(types_of(table))
    for where in ranges(connection, table, scan(paths), rows_max):
        rows = connection.sql(
            f"SELECT {columns} FROM {scan(paths)} WHERE {where} ORDER BY {order(table)}"  # noqa: S608 - names of ours
        ).to_arrow_table()
        # Where many rows have one number, a range between two cuts has none.
        if len(rows):
            yield rows


def ranges(connection: duckdb.DuckDBPyConnection, table: str, rows: str, rows_max: int) -> Iterator[str]:
    """Yield conditions that divide the rows of the FROM clause `rows` into parts of about `rows_max`."""
    source, stream, number, _ = next(iter(NUMBERS.get(table, {}).values()), ("''", "''", "epoch", ""))
    counts = connection.execute(
        f"SELECT {source}, {stream}, count(*) FROM {rows} GROUP BY ALL ORDER BY ALL"  # noqa: S608 - names of ours
    ).fetchall()
    if sum(count for *_, count in counts) <= rows_max:
        yield "true"
        return
    begin, held = 0, 0
    for at, (*name, count) in enumerate(counts):
        here = f"({source}, {stream}) = ({quoted(name[0])}, {quoted(name[1])})"
        if count > rows_max:
            if held:
                yield _between(source, stream, counts[begin], counts[at - 1])
            for low, high in _cuts(connection, number, f"{rows} WHERE {here}", -(-count // rows_max)):
                yield f"{here} AND {number} >= {low} AND {number} < {high}"
            begin, held = at + 1, 0
            continue
        if held + count > rows_max:
            yield _between(source, stream, counts[begin], counts[at - 1])
            begin, held = at, 0
        held += count
    if held:
        yield _between(source, stream, counts[begin], counts[-1])


def _between(source: str, stream: str, first: tuple[str, str, int], last: tuple[str, str, int]) -> str:
    # Plain columns let DuckDB skip row groups. A pair that is compared on both sides becomes a BETWEEN, which
    # DuckDB 2.0 does not support for pairs.
    low, lowest, high, highest = map(quoted, (*first[:2], *last[:2]))
    return (
        f"{source} >= {low} AND ({source} > {low} OR {stream} >= {lowest}) "
        f"AND {source} <= {high} AND ({source} < {high} OR {stream} <= {highest})"
    )


def _cuts(
    connection: duckdb.DuckDBPyConnection, number: str, rows: str, parts: int
) -> Iterator[tuple[int, int]]:
    """Yield half-open ranges of numbers with about as many rows each."""
    shares = ", ".join(str(part / parts) for part in range(1, parts))
    quantiles = connection.execute(f"SELECT quantile_disc({number}, [{shares}]) FROM {rows}").fetchall()  # noqa: S608
    cuts = sorted({int(cut) for cut in quantiles[0][0]})
    yield from zip([-1, *cuts], [*cuts, 2**63 - 1], strict=True)
