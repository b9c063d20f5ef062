"""Gives a store a history that it never had: so many epochs without rows, after its newest one."""

from __future__ import annotations

from pathlib import Path

import duckdb

from bench.store.grow import INTERVAL_NS

HISTORY = 200_000


def synthesise(store: Path, epochs: int) -> None:
    """Write epochs into the hot file of a store that no writer has open; the next one numbers on from them.

    They lie 300 ms apart and end where the newest epoch is now, which lies before them afterwards.
    """
    with duckdb.connect(str(store / "hot.duckdb")) as connection:
        connection.execute("BEGIN")
        connection.execute(
            "CREATE TEMP TABLE newest AS FROM epochs WHERE state = 'published' ORDER BY epoch DESC LIMIT 1"
        )
        connection.execute(
            "INSERT INTO epochs SELECT newest.* REPLACE (epoch + i AS epoch, 0 AS rows, "  # noqa: S608 - numbers of ours
            f"published_ns + (i * {INTERVAL_NS}) AS published_ns) "
            f"FROM newest, range(1, {epochs:d} + 1) AS made(i)"
        )
        connection.execute("COMMIT")
