"""Stores whose segments some index files cover, made by hand of what the writer wrote."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import duckdb

from streams.snapshots.files import index
from streams.snapshots.files.directory import catalog_name, point
from streams.snapshots.files.segments import settled


def fold(path: Path, *groups: Sequence[int]) -> Path:
    """Give the store in `path` a newer epoch, whose indexes cover the segments of each group of epochs."""
    newest = (path / "catalog.duckdb").resolve()
    epoch = int(newest.stem.rpartition("-")[2])
    catalog = path / catalog_name(epoch + 1)
    shutil.copy(newest, catalog)
    catalog.chmod(0o600)
    with duckdb.connect() as connection, duckdb.connect(str(catalog)) as made:
        files = made.execute(
            "SELECT file, table_name, first_epoch FROM segments ORDER BY first_epoch"
        ).fetchall()
        (store_id,) = made.execute("SELECT id FROM store").fetchone() or ("",)
        current = [file for file, _, _ in files]
        for number, group in enumerate(groups):
            parts = {
                table: [path / file for file, of, first in files if of == table and first in group]
                for table in ("edges", "zone_runs")
            }
            spans = [
                (file, table, *span)
                for file, table, first in files
                if first in group
                for span in made.execute(
                    "SELECT role, source, stream, lowest, highest FROM spans WHERE file = ?",
                    [file],
                ).fetchall()
            ]
            target = path / f"index-{number}.tmp"
            counts = index.build(connection, target, **parts, spans=spans, current=current)
            file, size, digest = settled(target, path, f"index-{max(group):08d}", store_id)
            made.execute(
                "INSERT INTO indexes VALUES (?, ?, ?, ?, ?, ?, ?)",
                [file, min(group), max(group), counts.edges, counts.zone_runs, size, digest],
            )
            of = "SELECT file FROM segments WHERE first_epoch IN (SELECT unnest(?))"
            made.execute(f"DELETE FROM spans WHERE file IN ({of})", [list(group)])
            made.execute(
                "UPDATE segments SET fresh = false WHERE first_epoch IN (SELECT unnest(?))", [list(group)]
            )
        made.execute(
            "INSERT INTO epoch_rows BY NAME SELECT max(epoch) + 1 AS epoch, 0 AS published_ns, MAP {} AS "
            "offsets, 0 AS rows, '' AS cluster, '' AS topic FROM epoch_rows"
        )
    point(path, epoch + 1)
    return path
