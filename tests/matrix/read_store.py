"""Reads stores with nothing but DuckDB, as docs/sql.md says, and prints JSON.

`python read_store.py PLACES`: PLACES is JSON, a list of a catalog's file, the directory that its segments are
looked for in, and the working directory.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import duckdb


def read(catalog: str, directory: str) -> dict[str, Any]:
    """The version, the number of rows of every table and view, and the answers by zone."""
    connection = duckdb.connect()
    connection.execute(f"ATTACH '{catalog}' AS lineage (READ_ONLY)")
    connection.execute("USE lineage")
    connection.execute(f"SET file_search_path = '{directory}'")
    listed = "SELECT table_name FROM information_schema.tables WHERE table_catalog = 'lineage' ORDER BY 1"
    views = [name for (name,) in connection.execute(listed).fetchall()]
    counts = {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchall()[0][0] for name in views}
    answers = connection.execute(
        "SELECT zone, count(*) FROM event_records WHERE kind = 'answer' GROUP BY zone ORDER BY zone"
    ).fetchall()
    connection.close()
    return {"version": duckdb.__version__, "counts": counts, "answers": answers}


def main(places: str) -> None:
    """Print a list with what each place holds."""
    found = []
    for catalog, directory, inside in json.loads(places):
        os.chdir(inside)
        found.append(read(catalog, directory))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
