"""The migrations that convert a store of an earlier version to the current one, in order, each with a name.

`takeover` applies them; the hot file's table `migrations` records those that were applied.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from streams import limits
from streams.errors import InputError, UnavailableError
from streams.lineage.readable import READABLE
from streams.snapshots.files import directory
from streams.snapshots.files.chunks import ranges
from streams.snapshots.intake import former
from streams.snapshots.upgrade.takeover import STAGE, STEPS, Migration, Old, Takeover

__all__ = ["MIGRATIONS", "STEPS", "take_over"]

log = logging.getLogger(__name__)


def _consents(old: Old) -> None:
    """Make a table of runs of numbers with the consent that they were captured under, from their decisions.

    All numbers between two decisions with the same consent have that consent.
    """
    old.connection.execute(
        "CREATE TEMP TABLE consents (source VARCHAR, stream VARCHAR, low BIGINT, high BIGINT, consent BIGINT)"
    )
    if "decisions" not in old.files:
        return
    rows = f"SELECT * FROM ({old.rows('decisions')}) WHERE {READABLE['decisions']}"  # noqa: S608 - ours
    for part in ranges(old.connection, "decisions", f"({rows})", limits.FOLD_CHUNK_ROWS):
        old.connection.execute(
            "INSERT INTO consents SELECT source, stream, min(low), max(high), consent FROM ("  # noqa: S608 - ours
            "SELECT *, sum(begins) OVER run AS nth FROM (SELECT *, CASE WHEN consent = lag(consent) OVER run "
            'THEN 0 ELSE 1 END AS begins FROM (SELECT DISTINCT source, stream, "first" AS low, "first" + '
            f'step * ("count" - 1) AS high, consent FROM ({rows}) WHERE {part}) '
            "WINDOW run AS (PARTITION BY source, stream ORDER BY low, high)) "
            "WINDOW run AS (PARTITION BY source, stream ORDER BY low, high)) "
            "GROUP BY source, stream, nth, consent"
        )


_OUTCOME = " ".join(f"WHEN '{rule}' THEN '{outcome}'" for rule, outcome in former.OUTCOMES.items())
MIGRATIONS = (
    Migration(
        "4: revision and consent of events, revisions of edges, outcome of what was rejected",
        3,
        {
            "events": (
                'SELECT e.*, 0 AS revision, CASE WHEN c.high >= e."first" THEN c.consent ELSE 0 END AS '
                "consent FROM ({rows}) e ASOF LEFT JOIN consents c ON c.source = e.source AND "
                'c.stream = e.stream AND c.low <= e."first"'
            ),
            "edges": "SELECT *, 0 AS child_revision, 0 AS parent_revision FROM ({rows})",
            "rejected": (
                f"SELECT *, CASE rule {_OUTCOME} ELSE '{former.OUTCOME}' END AS outcome "  # noqa: S608 - ours
                "FROM ({rows})"
            ),
        },
        _consents,
    ),
)
"""All migrations, in the order in which they are applied."""


def take_over(path: Path, *, after_step: Callable[[int], None] = lambda _: None) -> bool:
    """Migrate the store in `path` if it has an earlier version; return whether it had.

    `directory.claim` must hold the lock. `after_step` is called after each of `STEPS` with its number.

    Raises
    ------
    InputError
        The version cannot be migrated, or a file cannot be read; the store is unchanged.
    UnavailableError
        There is not enough disk space; the store is unchanged.
    """
    # Left by an attempt that crashed, or by one that crashed after its last step.
    shutil.rmtree(path / STAGE, ignore_errors=True)
    if not (path / directory.HOT).exists():
        return False
    version = int(_asked(path, "SELECT version FROM store")[0][0])
    if version == limits.STORE_VERSION:
        return False
    chosen = [each for each in MIGRATIONS if each.version >= version]
    if not chosen or chosen[0].version != version:
        remedy = (
            "use the sightline that wrote it, or a newer one"
            if version > limits.STORE_VERSION
            else "begin a new store, and read this one with the sightline that wrote it"
        )
        raise InputError(
            f"{path}: found store version {version}, expected {limits.STORE_VERSION}; it cannot be taken "
            f"over: {remedy}"
        )
    log.warning("%s: a store of version %d is taken over as version %d", path, version, limits.STORE_VERSION)
    known = {str(file) for (file,) in _asked(path, "SELECT DISTINCT file FROM segments")}
    directory.remove_leftovers(path, known)
    try:
        Takeover(path, chosen, after_step).run()
    except (OSError, duckdb.IOException, duckdb.OutOfMemoryException) as error:
        raise UnavailableError(
            f"{path}: the store of version {version} could not be taken over ({type(error).__name__}); it is "
            "as it was. It needs as much room again as it has, and its files: make room, and start again"
        ) from error
    except duckdb.Error as error:
        raise InputError(
            f"{path}: the store of version {version} could not be taken over ({type(error).__name__}): found "
            "a file that cannot be read. It is as it was: put that file back from a copy, and start again"
        ) from error
    return True


def _asked(path: Path, statement: str) -> list[tuple[Any, ...]]:
    hot = path / directory.HOT
    try:
        # Not read-only, because a killed writer may have left data in the write-ahead log beside the file.
        with duckdb.connect(str(hot)) as connection:
            return connection.execute(statement).fetchall()
    except duckdb.Error as error:
        raise InputError(
            f"{hot}: cannot be opened as a store's hot file ({type(error).__name__}); restore it, or "
            "begin an empty directory"
        ) from None
