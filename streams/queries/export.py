"""One file that any DuckDB from 1.5 on opens, which holds what a role is shown and nothing else of the store.

It has the views, columns and comments of the store's catalog, over tables of its own; rows lie in an order
that does not depend on what is hidden. Who can read the file needs no Sightline, and no role.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow

from streams import files, limits
from streams.errors import UnavailableError
from streams.queries.boundary import Boundary
from streams.queries.instance import ROWS_AT_ONCE
from streams.queries.layout import listed
from streams.quoting import quoted

#: Readers of this version and later can open it.
_STORAGE_VERSION = "v1.5.0"
_BLOCK_BYTES = 16384
#: What the catalog says about the store's files is left out: an export has no such files.
_OF_FILES = frozenset({"segments", "indexes", "spans", "classes"})
#: As people attach it (docs/sql.md), and as a directory that follows the store names it.
EXPORTED = "lineage.duckdb"


class Exporting(Boundary):
    """A role's instance that can also be written into a file whole, once, instead of being asked."""

    def write(self, path: Path, record: Callable[[], None]) -> None:
        """Write what the role is shown into `path`, which has its name only when it is whole and on disk.

        Its owner alone can read it, and its group in a directory that is shared with it (`chmod g+s`); a file
        that stood there is replaced, and who has it open goes on reading that. It is made where the system
        keeps temporary files. `record` is called when it is known what is shown, before anybody can read it.

        Raises
        ------
        InputError
            It cannot be written there, or what the role is shown of a table takes too much memory.
        UnavailableError
            The disk is full, or a segment went while it was read.
        """
        with files.working_directory("export") as directory:
            made = directory / EXPORTED
            try:
                self._fill(made, directory / "spill")
            except duckdb.Error as error:
                raise UnavailableError(
                    f"{path}: cannot be made ({type(error).__name__}), nothing was written; is there room "
                    f"where temporary files are made ({directory.parent}), and is the store whole? One that "
                    f"takes longer than {limits.SUPERSEDED_GRACE_S:.0f} s can lose the files that it reads"
                ) from None
            record()
            files.deliver(made, path)

    def _fill(self, made: Path, spill: Path) -> None:
        """Make the database `made`; sorts that do not fit into memory go through the directory `spill`."""
        config: dict[str, Any] = {"memory_limit": f"{limits.ROLE_MEMORY_MB}MB", "temp_directory": str(spill)}
        with duckdb.connect(config=config) as connection:
            run = connection.execute
            attached = f"ATTACH {quoted(str(made))} AS lineage"
            run(f"{attached} (STORAGE_VERSION '{_STORAGE_VERSION}', BLOCK_SIZE {_BLOCK_BYTES})")
            run("USE lineage")
            run("BEGIN")
            for statement in self._statements():
                run(statement)
            run("COMMIT")
            for place, rows in self._everything():
                connection.register("arriving", rows)
                # In the order of the store's files it would tell how they are cut: by hidden rows too.
                run(f"INSERT INTO {place} FROM arriving ORDER BY ALL")
                connection.unregister("arriving")
            run("USE memory")
            run("DETACH lineage")

    def _statements(self) -> Iterator[str]:
        """Statements that make the store's tables, empty, and its views over them, with their comments."""
        self._layout.make_all(self.connection)
        yield "CREATE SCHEMA files"
        for table, base in self._layout.bases.items():
            yield f"CREATE TABLE {base.schema}.{table} ({listed(base)})"
        yield from filter(None, self._layout.views.values())
        ours = "WHERE database_name = 'store' AND schema_name = 'main' AND NOT internal"
        for target, comment in self._trusted.execute(
            f"SELECT 'VIEW ' || view_name, comment FROM duckdb_views() {ours} UNION ALL "  # noqa: S608 - a constant
            f"SELECT 'TABLE ' || table_name, comment FROM duckdb_tables() {ours} UNION ALL "
            "SELECT 'COLUMN ' || table_name || '.\"' || column_name || '\"', comment "
            f"FROM duckdb_columns() {ours}"
        ).fetchall():
            if comment:
                yield f"COMMENT ON {target} IS {quoted(comment)}"

    def _everything(self) -> Iterator[tuple[str, pyarrow.RecordBatchReader]]:
        """All that the role is shown: each table's place, and its rows, to be read at once."""
        connection = self.connection
        for table, base in self._layout.bases.items():
            if table in _OF_FILES:
                continue
            self._load(connection, table, None)
            place = f"{base.schema}.{table}"
            # How many rows an epoch added tells of those that are hidden.
            columns = "* REPLACE (NULL AS rows)" if table in ("epochs", "epoch_rows") else "*"
            rows = connection.sql(f"SELECT {columns} FROM {place}")  # noqa: S608 - names of ours
            yield place, rows.to_arrow_reader(ROWS_AT_ONCE)
            connection.execute(f"TRUNCATE kept.{table}")
            del self._loaded[table]
        for version, zone, _ in self._permitted:
            self._role_filter.note(version, zone)
