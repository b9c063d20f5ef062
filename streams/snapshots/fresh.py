"""The fresh segments of an epoch: what the hot file holds of it, one file a table, cheap to write."""

from __future__ import annotations

from pathlib import Path

from streams.snapshots import directory, runs
from streams.snapshots.hot import Class, Hot
from streams.snapshots.segments import CLASSED, Segment, Span, contents, copy, settled, temporary


def write(hot: Hot, path: Path, number: int) -> tuple[list[Segment], int]:
    """Write the segments of epoch `number` into the store in `path`.

    Returns them, and the newest epoch whose history is among them; 0 when history stays in the hot file.
    """
    rows = {table: f"SELECT * FROM {table} WHERE epoch <= {number:d}" for table in hot.tables_of(number)}  # noqa: S608 - names from TABLES
    if "events" in rows:
        highest = (
            "SELECT source, stream, max(highest) AS highest FROM spans WHERE table_name = 'events' "
            "GROUP BY source, stream"
        )
        hot.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE zone_runs AS {runs.of_events(rows['events'], highest)}"
        )
        rows["zone_runs"] = "FROM zone_runs"
    if moved := hot.history():
        rows["epochs"] = f"SELECT published_ns, offsets, rows, epoch FROM epochs WHERE epoch <= {moved:d}"  # noqa: S608 - a number
    if not rows:
        return [], 0
    classes = _classes(hot, rows)
    made = []
    for table, (count, first, last, spans) in _contents(hot, rows).items():
        place = temporary(path, table, number)
        copy(hot.connection, table, rows[table], place)
        file, size, digest = settled(place, path, f"{table}-{number:08d}", hot.store_id)
        made.append(
            Segment(file, table, first, last, count, size, digest, classes.get(table), True, None, spans)
        )
    directory.sync(path / directory.SEGMENTS)
    return made, moved


def _contents(hot: Hot, rows: dict[str, str]) -> dict[str, tuple[int, int, int, list[Span]]]:
    """Number of rows, first and last epoch, and spans, by table."""
    found: dict[str, tuple[int, int, int, list[Span]]] = {}
    for table, role, source, stream, lowest, highest, count, first, last in hot.connection.execute(
        contents(rows)
    ).fetchall():
        before = found.get(table, (0, first, last, []))
        spans = before[3] if role is None else [*before[3], Span(role, source, stream, lowest, highest)]
        # An edge's rows are counted once, by the side that comes first.
        some = count if role in (None, "own", "child") else 0
        found[table] = (before[0] + some, min(before[1], first), max(before[2], last), spans)
    return found


def _classes(hot: Hot, rows: dict[str, str]) -> dict[str, tuple[int, ...]]:
    """Classes of the rows by table, of those tables whose rows say them."""
    classed = CLASSED.keys() & rows.keys()
    if not classed:
        return {}
    found: dict[str, list[Class]] = {}
    for table, *one in hot.connection.execute(
        " UNION ALL ".join(
            f"SELECT DISTINCT '{table}', policy_version, zone, {CLASSED[table]} FROM ({rows[table]})"  # noqa: S608 - names of ours
            for table in sorted(classed)
        )
    ).fetchall():
        found.setdefault(table, []).append((one[0], one[1], one[2]))
    return {table: hot.numbers_of(some) for table, some in found.items()}
