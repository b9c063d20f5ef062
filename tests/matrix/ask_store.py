"""Asks stores for ancestors, as an analyst, with whatever DuckDB comes first on the path, and prints JSON.

`python ask_store.py PLACES ID ...`: PLACES is JSON, a list of a store's directory and the working directory.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import duckdb

from streams.queries import questions
from streams.queries.role import Role
from streams.queries.store import Store


def asked(directory: Path, ids: list[str]) -> dict[str, Any]:
    """Ancestors of some events with their zones, and what a statement of the role counts."""
    with Store.open(directory, Role("analyst")) as store:
        met = {}
        for identity in ids:
            rows = questions.ancestors(store, identity).ancestors
            met[identity] = [(row.hop, row.id, row.events, row.zones) for row in rows]
        counted = store.sql("SELECT zone, sum(count) FROM events GROUP BY zone ORDER BY zone").rows
    return {"version": duckdb.__version__, "ancestors": met, "counted": counted}


def main(places: str, *ids: str) -> None:
    """Print a list with what each place says."""
    found = []
    for directory, inside in json.loads(places):
        os.chdir(inside)
        found.append(asked(Path(directory), list(ids)))
    sys.stdout.write(json.dumps(found, default=int))


if __name__ == "__main__":
    main(*sys.argv[1:])
