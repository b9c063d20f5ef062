"""Reads a store with nothing but DuckDB, as the README says, and prints JSON.

`python read_store.py CATALOG DIRECTORY`.
"""

from __future__ import annotations

import json
import sys

import duckdb


def main(catalog: str, directory: str) -> None:
    """Print the version, the number of rows of every table and view, and the answers by zone."""
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
    sys.stdout.write(json.dumps({"version": duckdb.__version__, "counts": counts, "answers": answers}))


if __name__ == "__main__":
    main(*sys.argv[1:])
