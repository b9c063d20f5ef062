"""The stores that are opened together: one, or several of which each holds its share of the partitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import duckdb

from streams import limits
from streams.errors import InputError
from streams.events.partitions import spelled
from streams.events.record import LogId
from streams.queries import intact
from streams.queries.newest import CATALOG, catalog_name, newest_catalog
from streams.queries.version import refuse_version
from streams.quoting import quoted
from streams.topology import LINEAGE


@dataclass(frozen=True, slots=True)
class Part:
    """The newest epoch of one store.

    `partitions` are those of `glasses.lineage` that the store holds, of `partition_count`; None: all.
    """

    directory: Path
    catalog: Path
    epoch: int
    version: int
    log: LogId
    partitions: frozenset[int] | None
    partition_count: int


def opened(
    connection: duckdb.DuckDBPyConnection, directories: Sequence[Path], *, older: bool = False
) -> list[Part]:
    """Attach the catalog of a store, or one that is joined of the catalogs of several stores, as `store`.

    Errors as in `_attach` and `refuse_overlap`.
    """
    if len(directories) == 1:
        part = _attach(connection, directories[0], "store", older=older)
        _lend(connection)
        return [part]
    if twice := [path for place, path in enumerate(directories) if path in directories[:place]]:
        raise InputError(f"{twice[0]}: found the store named twice, expected each once")
    parts = [_attach(connection, path, f"part_{place}") for place, path in enumerate(directories)]
    refuse_overlap(parts)
    # Imported here, because most readers read a single store.
    from streams.queries.joined import join  # noqa: PLC0415

    try:
        join(connection, parts)
        _lend(connection)
    except duckdb.Error as error:
        raise intact.damaged(
            listed(directories), f"found files that DuckDB cannot read ({type(error).__name__})"
        ) from None
    return parts


def _lend(connection: duckdb.DuckDBPyConnection) -> None:
    """Make what a catalog of before lacks and questions read, empty and beside it: what says what is over."""
    known = connection.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE database_name = 'store' AND table_name = 'keeping'"
    ).fetchall()
    if known == [(0,)]:
        run = ("source VARCHAR", "stream VARCHAR", "revision BIGINT", '"first" BIGINT', "step BIGINT")
        for name, columns in {
            "over_classes": ("policy_version VARCHAR", "zone VARCHAR", "label VARCHAR", "over_ns BIGINT"),
            "expired": (
                *run[:3],
                *(f"{number} BIGINT" for number in ("low", "high", "events", "appended_ns", "expired_ns")),
            ),
            "overdue": (*run, '"count" BIGINT', "refused BOOLEAN"),
        }.items():
            connection.execute(f"CREATE TEMP TABLE {name} ({', '.join(columns)}, began_ns BIGINT)")


def _attach(
    connection: duckdb.DuckDBPyConnection, directory: Path, name: str, *, older: bool = False
) -> Part:
    """Attach the newest catalog of the store in `directory` as `name`.

    The catalog is attached by the name with its epoch, not by the link: for a link that has moved, DuckDB
    would return the older epoch that it has open in this process.

    Raises
    ------
    UnavailableError
        There is no store, or no epoch yet.
    InputError
        The store has another version; `older` permits this.
    DamagedError
        The catalog is missing, lies elsewhere, or is not as the writer wrote it.
    """
    catalog = newest_catalog(directory)
    try:
        connection.execute(f"ATTACH {quoted(str(catalog))} AS {name} (READ_ONLY)")
        told = _row(connection, f"FROM {name}.main.store")
        version = int(told["version"])
        if not older:
            refuse_version(directory, version)
        newest = _row(connection, f"SELECT max(epoch) AS epoch FROM {name}.main.epoch_rows")  # noqa: S608 - ours
        epoch = newest["epoch"] or 0
    except duckdb.Error as error:
        raise intact.damaged(
            catalog,
            f"found a file that cannot be read as a store's catalog ({type(error).__name__}), expected a "
            "whole one, and DuckDB 1.5 or later",
        ) from None
    if version == limits.STORE_VERSION and catalog.name not in (CATALOG, catalog_name(epoch)):
        raise intact.damaged(catalog, f"found the catalog of epoch {epoch}")
    partitions = told.get("partitions")
    return Part(
        directory,
        catalog,
        epoch,
        version,
        LogId(told.get("cluster") or "", told.get("topic") or ""),
        None if partitions is None else frozenset(partitions),
        told.get("partition_count") or 0,
    )


def _row(connection: duckdb.DuckDBPyConnection, statement: str) -> Mapping[str, Any]:
    """First row of a statement by column; columns that a store of an earlier version lacks are absent."""
    cursor = connection.execute(statement)
    columns = [column[0] for column in cursor.description or ()]
    return dict(zip(columns, cursor.fetchone() or [None] * len(columns), strict=True))


def refuse_overlap(parts: Sequence[Part]) -> None:
    """Raise InputError if several stores cannot be read as one.

    Either two of them hold the same partition, so that its rows would count twice, or they were filled from
    different logs.
    """
    for first, second in combinations(parts, 2):
        names = f"{first.directory} and {second.directory}"
        if first.log.other_than(second.log):
            raise InputError(
                f"{names}: found stores of different logs of {LINEAGE} ({first.log}; {second.log}), expected "
                "stores of one; ask each alone"
            )
        for part in (first, second):
            if part.partitions is None:
                raise InputError(
                    f"{names}: found a store of every partition of {LINEAGE} in {part.directory}, expected "
                    "stores that hold some each (`sightline snapshots --partitions`), because what is in two "
                    "stores would count twice; ask each alone"
                )
        if both := (first.partitions or frozenset()) & (second.partitions or frozenset()):
            raise InputError(
                f"{names}: found partition {spelled(both)} of {LINEAGE} in both, expected each partition in "
                "one store, because its rows would count twice; leave one of the stores out"
            )


def not_opened(parts: Sequence[Part]) -> tuple[int, ...]:
    """Partitions of `glasses.lineage` that none of the opened stores holds, sorted."""
    if any(part.partitions is None for part in parts):
        return ()
    held = frozenset[int]().union(*(part.partitions or () for part in parts))
    return tuple(sorted(set(range(max(part.partition_count for part in parts))) - held))


def listed(directories: Iterable[Path]) -> str:
    """Directories as text for a message."""
    return " and ".join(map(str, directories))


def directories_of(path: Path | str | Sequence[Path | str]) -> list[Path]:
    """Directories of one store, or of several; InputError if there is none."""
    directories = [Path(path)] if isinstance(path, str | Path) else [Path(each) for each in path]
    if not directories:
        raise InputError("open_store: found no store, expected the directory of one, or of several")
    return directories
