"""Lineage rows and records for tests: a test sets only the columns that matter to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from streams.events.record import StoredRecord
from streams.lineage.tables import RECORD_VERSION, TABLES
from streams.policy.load import load
from streams.snapshots.writer import Writer

T0_NS = 1_753_000_000_123_456_789
Row = dict[str, Any]
HOUSEHOLD = load("household")
#: What the zones stage calls the rules of what is not lost, of what others have the numbers of, and the like.
_OUTCOMES = {
    "repeat": "repeated",
    "too-late": "late",
    **{rule: rule for rule in ("malformed", "collision", "clock")},
}
#: The row that lets a reader know what the policy of `tagged` events says.
POLICY: Row = {
    "version": HOUSEHOLD.version,
    "name": HOUSEHOLD.name,
    "text": HOUSEHOLD.text,
    "published_ns": T0_NS,
}


def tagged(kind: str = "imu", zone: str = "public", **columns: Any) -> Row:
    """Columns of what the household policy tagged."""
    label = HOUSEHOLD.label_of(kind, zone) or b""
    return {"kind": kind, "zone": zone, "label": label.hex(), "policy_version": HOUSEHOLD.version, **columns}


def row(table: str, **columns: Any) -> Row:
    """One row; what is not given is empty, and runs are of one event."""
    empty: dict[str, Any] = {"text": "", "int": 0, "float": 0.0, "flag": True}
    made = {name: empty[kind] for name, kind in TABLES[table].items()}
    made |= {
        name: 1
        for name in ("step", "count", "child_step", "child_count", "parent_step", "parent_width")
        if name in made
    }
    made |= {name: T0_NS for name in made if name.endswith("_ns")}
    if "outcome" in made:
        made["outcome"] = _OUTCOMES.get(columns.get("rule", ""), "refused")
    unknown = columns.keys() - made.keys()
    if unknown:
        raise KeyError(unknown)
    return made | columns


def event(source: str, stream: str, first: int, count: int = 1, **columns: Any) -> Row:
    return row(
        "events",
        source=source,
        stream=stream,
        first=first,
        count=count,
        **{"kind": "imu", "zone": "public", **columns},
    )


def batch(source: str, stream: str, first: int, count: int = 1, **columns: Any) -> Row:
    """A captured batch as agent `glasses` tells of it; partition 0."""
    around = {"wearer": "w1", "session": "s1", "topic": "glasses.captured", "digest": "0" * 32}
    return event(source, stream, first, count, **{**tagged(), **around, **columns})


def derived(source: str, stream: str, number: int, **columns: Any) -> Row:
    """A derived event as agent `glasses` tells of it; partition 0."""
    around = {"kind": "activity", "topic": "glasses.derived", "rule": "join", **columns}
    return batch(source, stream, number, **around)


def edge(child: tuple[str, str, int], parent: tuple[str, str, int], **columns: Any) -> Row:
    return row(
        "edges",
        child_source=child[0],
        child_stream=child[1],
        child_first=child[2],
        parent_source=parent[0],
        parent_stream=parent[1],
        parent_first=parent[2],
        **{"operator": "window", "operator_version": 1, "directness": "direct", **columns},
    )


def stream(source: str, name: str, kind: str = "imu", *, captured: bool = True) -> Row:
    return row("streams", source=source, stream=name, kind=kind, captured=captured)


def tables(rows: Mapping[str, Sequence[Row]]) -> dict[str, dict[str, list[Any]]]:
    """Column lists of rows by table."""
    return {
        table: {name: [one[name] for one in some] for name in TABLES[table]} for table, some in rows.items()
    }


def record(offset: int, rows: Mapping[str, Sequence[Row]], key: bytes = b"glasses/0") -> StoredRecord:
    """One record of glasses.lineage."""
    blocks = {table: [{"all": {}, "each": columns}] for table, columns in tables(rows).items() if rows[table]}
    return StoredRecord(
        offset, T0_NS // 1_000_000, key, orjson.dumps({"v": RECORD_VERSION, "tables": blocks})
    )


def store(path: Path, *epochs: Mapping[str, Sequence[Row]]) -> Path:
    """A store with these epochs."""
    writer = Writer.open(path)
    try:
        for rows in epochs:
            writer.ingest_tables(tables(rows), T0_NS)
            writer.publish(T0_NS)
        if not epochs:
            writer.publish(T0_NS)
    finally:
        writer.close()
    return path


def stretches(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(first, count) of consecutive numbers."""
    first = before = None
    for number in sorted(numbers):
        if before is None or number != before + 1:
            if first is not None and before is not None:
                yield first, before - first + 1
            first = number
        before = number
    if first is not None and before is not None:
        yield first, before - first + 1
