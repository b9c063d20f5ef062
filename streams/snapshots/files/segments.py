"""Segments: immutable Parquet files with rows of one table, and the metadata that the store keeps of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import xxhash

from streams.files import settle
from streams.lineage.tables import STORED, TABLES
from streams.snapshots.files.directory import SEGMENTS

_SQL = {
    "text": "VARCHAR",
    "int": "BIGINT",
    "float": "DOUBLE",
    "flag": "BOOLEAN",
    "offsets": "MAP(INTEGER, BIGINT)",
}
_ARROW = {
    "text": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "flag": pa.bool_(),
    "offsets": pa.map_(pa.int32(), pa.int64()),
}
_READ_BYTES = 1024 * 1024

_RUN = {"own": ("source", "stream", '"first"', '"first" + step * ("count" - 1)')}
#: SQL for a table's numbers, by role: source, stream, lowest and highest number of a row.
NUMBERS: Mapping[str, Mapping[str, tuple[str, str, str, str]]] = {
    "events": _RUN,
    "decisions": _RUN,
    "shadow": _RUN,
    "rejected": {"own": ("source", "stream", '"first"', '"first" + greatest("count" - 1, 0)')},
    "models": {"own": ("source", "stream", "version", "version")},
    "zone_runs": {"own": ("source", "stream", "low", "high")},
    "expired": {"own": ("source", "stream", "low", "high")},
    "edges": {
        "child": (
            "child_source",
            "child_stream",
            "child_first",
            "child_first + child_step * (child_count - 1)",
        ),
        "parent": (
            "parent_source",
            "parent_stream",
            "parent_first",
            "parent_first + parent_step * (child_count - 1) + parent_width - 1",
        ),
    },
}
#: Sort order by stream and number, so that the rows that a walk needs are close together.
ORDER: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("events", "decisions", "shadow", "rejected", "feedback"), ("source", "stream", "first", "epoch")
    ),
    "zone_runs": ("source", "stream", "revision", "low", "epoch"),
    "expired": ("source", "stream", "revision", "low", "epoch"),
    "streams": ("source", "stream", "epoch"),
    "models": ("source", "stream", "version", "epoch"),
    "edges": ("child_source", "child_stream", "child_first", "epoch"),
    "training_runs": ("version", "epoch"),
    "promotions": ("version", "epoch"),
    "training_checks": ("version", "epoch"),
    "training_assets": ("version", "epoch"),
    "inputs": ("t_ns", "partition", "offset"),
    "policies": ("version", "epoch"),
    "epochs": ("epoch",),
}
#: Tables whose rows have a class (policy version, zone, label), with the column of the label; rejected rows
#: have none. The classes of an edge are those of its children and parents.
CLASSED: Mapping[str, str] = {
    "events": "label",
    "decisions": "label",
    "models": "label",
    "zone_runs": "label",
    "rejected": "''",
}


class Span(NamedTuple):
    """Lowest and highest number of a stream in a file; `role`: own, or of an edge's child or parent."""

    role: str
    source: str
    stream: str
    lowest: int
    highest: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A finished file.

    `classes`: sorted numbers of the classes of its rows; None if unknown. `audience`: bits of the roles that
    may see all of it (`policy.audience`), for folds; None if its rows are mixed.
    """

    file: str
    table: str
    first_epoch: int
    last_epoch: int
    rows: int
    bytes: int
    digest: str
    classes: tuple[int, ...] | None
    fresh: bool
    audience: int | None
    spans: Sequence[Span]


def types_of(table: str) -> dict[str, str]:
    """Types by quoted column of a table as the store holds it."""
    columns = {**TABLES, **STORED}[table]
    return {f'"{name}"': _SQL[kind] for name, kind in columns.items()} | {"epoch": "BIGINT"}


@cache
def schema_of(table: str) -> pa.Schema:
    """The same types for Arrow."""
    columns = {**TABLES, **STORED}[table]
    return pa.schema({**{name: _ARROW[kind] for name, kind in columns.items()}, "epoch": pa.int64()})


def order(table: str) -> str:
    """Sort order of the rows of a table, as SQL."""
    return ", ".join(f'"{name}"' for name in ORDER[table])


def settled(path: Path, directory: Path, name: str, store_id: str) -> tuple[str, int, str]:
    """Give a finished file its final name; return (file, bytes, digest), the file relative to the store.

    The name has the store's id and the digest of the content. DuckDB looks relative paths up in the current
    directory first, and must not find a file of another store there.
    """
    suffix = "duckdb" if name.startswith("index-") else "parquet"
    digest = digest_of(path)
    file = f"{SEGMENTS}/{name}-{store_id}-{digest[:16]}.{suffix}"
    size = path.stat().st_size
    settle(path, directory / file)
    return file, size, digest


def digest_of(path: Path) -> str:
    """XXH3-128 of a file's bytes, in hexadecimal: it finds damage, it is no signature."""
    state = xxhash.xxh3_128()
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            state.update(piece)
    return state.hexdigest()
