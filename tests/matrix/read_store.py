"""Reads a store with nothing but DuckDB, as the README says: `python read_store.py CATALOG DIRECTORY`; prints JSON."""

from __future__ import annotations

import json
import sys

import duckdb


def main(catalog: str, directory: str) -> None:
    """Print the version, the number of rows of every view, and the answers by zone."""
    connection = duckdb.connect()
    connection.execute(f"ATTACH '{catalog}' AS lineage (READ_ONLY)")
    connection.execute("USE lineage")
    connection.execute(f"SET file_search_path = '{directory}'")
    views = [name for (name,) in connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY 1").fetchall()]
    counts = {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchall()[0][0] for name in views}  # noqa: S608
    answers = connection.execute("SELECT zone, count(*) FROM event_records WHERE kind = 'answer' GROUP BY zone ORDER BY zone").fetchall()
    sys.stdout.write(json.dumps({"version": duckdb.__version__, "counts": counts, "answers": answers}))


if __name__ == "__main__":
    main(*sys.argv[1:])
