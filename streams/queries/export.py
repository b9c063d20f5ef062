"""One file that any DuckDB from 1.5 on opens, which holds what a role is shown and nothing else of the store.

It has the views, columns and comments of the store's catalog, over tables of its own; rows lie in an order
that does not depend on what is hidden. Who can read the file needs no Sightline, and no role.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb

from streams import files, limits
from streams.errors import UnavailableError
from streams.queries.boundary import Boundary
from streams.queries.statement import quoted

#: Readers of this version and later can open it.
_STORAGE_VERSION = "v1.5.0"
#: As people attach it (docs/sql.md), and as a directory that follows the store names it.
EXPORTED = "lineage.duckdb"


def write(boundary: Boundary, path: Path, record: Callable[[], None]) -> None:
    """Write what the role is shown into `path`, which has its name only when it is whole and on disk.

    Its owner alone can read it, and its group in a directory that is shared with it (`chmod g+s`); a file
    that stood there is replaced, and who has it open goes on reading that. It is made where the system keeps
    temporary files. `record` is called when it is known what is shown, before anybody can read it.

    Raises
    ------
    InputError
        It cannot be written, or what the role is shown of a table takes too much memory.
    UnavailableError
        The disk is full, or a segment went while it was read.
    """
    with files.working_directory("export") as directory:
        made = directory / EXPORTED
        try:
            _fill(boundary, made, directory)
        except duckdb.Error as error:
            raise UnavailableError(
                f"{path}: cannot be made ({type(error).__name__}), nothing was written; is there room where "
                f"temporary files are made ({directory.parent}), and is the store whole? An export that "
                f"takes longer than {limits.SUPERSEDED_GRACE_S:.0f} s can lose the files that it reads"
            ) from None
        record()
        files.deliver(made, path)


def _fill(boundary: Boundary, made: Path, directory: Path) -> None:
    """Make the database `made`, whose large sorts spill into `directory`."""
    config = {"memory_limit": f"{limits.ROLE_MEMORY_MB}MB", "temp_directory": str(directory / "spill")}
    with duckdb.connect(config=config) as connection:
        run = connection.execute
        run(f"ATTACH {quoted(str(made))} AS lineage (STORAGE_VERSION '{_STORAGE_VERSION}', BLOCK_SIZE 16384)")
        run("USE lineage")
        run("BEGIN")
        for statement in boundary.layout():
            run(statement)
        run("COMMIT")
        for place, rows in boundary.everything():
            connection.register("arriving", rows)
            # In the order of the store's files it would tell how they are cut: by hidden rows too.
            run(f"INSERT INTO {place} FROM arriving ORDER BY ALL")
            connection.unregister("arriving")
        run("USE memory")
        run("DETACH lineage")
