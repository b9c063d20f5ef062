"""Export everything in a store that a role may see, and nothing else, to one file for DuckDB 1.5 or later.

The file has the views, columns and comments of the store's catalog, over tables of its own. The order of rows
does not depend on hidden rows. Readers of the file need neither Sightline nor a role.
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
from streams.queries.intact import digest_of
from streams.queries.layout import commenting, listed
from streams.quoting import quoted

#: Readers of this version and later can open it.
_STORAGE_VERSION = "v1.5.0"
_BLOCK_BYTES = 16384
#: Tables about the store's files are left out, because an export has no such files.
_OF_FILES = frozenset({"segments", "indexes", "spans", "classes"})
#: Name under which the file is attached (docs/sql.md), also in a directory of exports that follows the store.
EXPORTED = "lineage.duckdb"


class Exporting(Boundary):
    """A role's instance that is written to a file, once, instead of being queried."""

    def write(self, path: Path, record: Callable[[str], None]) -> None:
        """Write everything that the role may see to `path`.

        The file is made in the system's directory for temporary files and moved to `path` when it is complete
        and on disk. It replaces a file that is there; a program that has that one open continues to read it.
        Only its owner can read the file, and its group if the directory is shared with the group (`chmod
        g+s`). `record` is called with its digest when the restricted zones in it are known, before anyone can
        read it.

        Raises
        ------
        InputError
            `path` cannot be written, or the visible rows of a table take too much memory.
        UnavailableError
            The disk is full, or a segment was deleted while it was read.
        """
        with files.working_directory("export") as directory:
            made = directory / EXPORTED
            try:
                self._fill(made, directory / "spill")
            except duckdb.Error as error:
                raise UnavailableError(
                    f"{path}: cannot be made ({type(error).__name__}), nothing was written; is there room "
                    f"where temporary files are made ({directory.parent}), and is the store whole? One that "
                    f"takes longer than {limits.ERASED_GRACE_S:.0f} s can lose the files that it reads"
                ) from None
            record(digest_of(made))
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
                # Sorted, because the order in the store's files would reveal something about hidden rows.
                run(f"INSERT INTO {place} FROM arriving ORDER BY ALL")
                connection.unregister("arriving")
            run("USE memory")
            run("DETACH lineage")

    def _statements(self) -> Iterator[str]:
        """Statements that make the store's tables (empty) and views, with their comments."""
        self._layout.make_all(self.connection)
        yield "CREATE SCHEMA files"
        for table, base in self._layout.bases.items():
            yield f"CREATE TABLE {base.schema}.{table} ({listed(base)})"
        yield from filter(None, self._layout.views.values())
        yield from commenting(self._trusted, "store")

    def _everything(self) -> Iterator[tuple[str, pyarrow.RecordBatchReader]]:
        """Each table's name and the rows that the role may see, which must be read before the next table."""
        connection = self.connection
        for table, base in self._layout.bases.items():
            if table in _OF_FILES:
                continue
            self._load(connection, table, None)
            place = f"{base.schema}.{table}"
            # The number of rows that an epoch added would reveal how many are hidden.
            columns = "* REPLACE (NULL AS rows)" if table in ("epochs", "epoch_rows") else "*"
            rows = connection.sql(f"SELECT {columns} FROM {place}")  # noqa: S608 - names of ours
            yield place, rows.to_arrow_reader(ROWS_AT_ONCE)
            connection.execute(f"TRUNCATE kept.{table}")
            del self._loaded[table]
        for version, zone, _ in self._permitted:
            self._role_filter.note(version, zone)
