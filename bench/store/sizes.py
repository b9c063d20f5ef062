"""Size on disk and number of files of the newest epoch of a store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb


@dataclass(frozen=True, slots=True)
class Sizes:
    """Files and bytes of the newest epoch; superseded files that are not deleted yet are not counted."""

    files: int
    edge_files: int
    edges_bytes: int
    segments_bytes: int
    indexes_bytes: int
    catalog_bytes: int
    hot_bytes: int
    rows: dict[str, int]

    @classmethod
    def of(cls, store: Path) -> Sizes:
        """Sizes of the store in a directory, whatever its version."""
        catalog = (store / "catalog.duckdb").resolve()
        with duckdb.connect(str(catalog), read_only=True) as connection:
            segments = connection.execute(
                "SELECT DISTINCT table_name, file, rows FROM main.segments"
            ).fetchall()
            listed = connection.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main'")
            indexed = ("indexes",) in listed.fetchall()
            indexes = connection.execute("SELECT file FROM main.indexes").fetchall() if indexed else []
        rows: dict[str, int] = {}
        for table, _, count in segments:
            rows[table] = rows.get(table, 0) + count
        return cls(
            files=len(segments) + len(indexes),
            edge_files=sum(table == "edges" for table, _, _ in segments),
            edges_bytes=sum((store / file).stat().st_size for table, file, _ in segments if table == "edges"),
            segments_bytes=sum((store / file).stat().st_size for _, file, _ in segments),
            indexes_bytes=sum((store / file).stat().st_size for (file,) in indexes),
            catalog_bytes=catalog.stat().st_size,
            hot_bytes=(store / "hot.duckdb").stat().st_size,
            rows=rows,
        )

    @property
    def all_bytes(self) -> int:
        """Bytes of everything that a reader and the next writer need."""
        return self.segments_bytes + self.indexes_bytes + self.catalog_bytes + self.hot_bytes
