"""From records of `glasses.lineage` to Arrow tables; a record that is none becomes a row of `rejected`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from streams.errors import MalformedError
from streams.events.record import Received, stamp_ns
from streams.limits import NUMBER_MAX
from streams.lineage.tables import TABLES
from streams.topology import LINEAGE

Columns: TypeAlias = Mapping[str, Sequence[Any]]
Tables: TypeAlias = Mapping[str, Columns]

_ARROW = {"text": pa.string(), "int": pa.int64(), "float": pa.float64(), "flag": pa.bool_()}
#: With numbers up to 2^62, steps and counts up to 2^30 keep `first + step * count` inside 64 bits.
_SPAN_MAX = 2**30
#: Lowest and highest value of the columns that a run or a place is made of; no row is without them.
_BOUNDS: Mapping[str, tuple[int, int]] = {
    "first": (0, NUMBER_MAX),
    "step": (1, _SPAN_MAX),
    "count": (1, _SPAN_MAX),
    "child_first": (0, NUMBER_MAX),
    "child_step": (1, _SPAN_MAX),
    "child_count": (1, _SPAN_MAX),
    "parent_first": (0, NUMBER_MAX),
    "parent_step": (0, _SPAN_MAX),
    "parent_width": (1, _SPAN_MAX),
    "version": (0, NUMBER_MAX),
}
_NAMES = frozenset({"source", "stream", "child_source", "child_stream", "parent_source", "parent_stream"})


def arrow_of(table: str, columns: Columns) -> pa.Table:
    """Return column lists as an Arrow table with the types of `TABLES`.

    MalformedError names column and fault, never a value.
    """
    expected = TABLES[table]
    if columns.keys() != expected.keys() or len({len(values) for values in columns.values()}) > 1:
        raise MalformedError(f"{table}: expected the table's columns, all of one length")
    arrays = []
    for name, kind in expected.items():
        try:
            array = pa.array(columns[name], _ARROW[kind])
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            raise MalformedError(f"{table}.{name}: found a value that is not {kind}") from None
        _check(table, name, array)
        arrays.append(array)
    return pa.Table.from_arrays(arrays, names=list(expected))


def _check(table: str, name: str, array: pa.Array) -> None:
    bounds = _BOUNDS.get(name)
    if (table, name) == ("rejected", "count"):
        bounds = (0, _SPAN_MAX)
    if name == "version" and table == "policies":
        bounds = None
    if (bounds or name in _NAMES) and array.null_count:
        raise MalformedError(f"{table}.{name}: found no value, expected one in every row")
    if bounds and len(array):
        extremes = pc.min_max(array).as_py()
        if extremes["min"] < bounds[0] or extremes["max"] > bounds[1]:
            raise MalformedError(f"{table}.{name}: found a number outside {bounds[0]} to {bounds[1]}")


def read(records: Mapping[int, Sequence[Received]]) -> dict[str, pa.Table]:
    """Return the tables that records of `glasses.lineage`, by partition, hold together.

    All records are converted at once; only when that fails is each looked at alone, so a bad record costs
    itself and becomes one row of `rejected` with stage `snapshots`, its place and a reason.
    """
    parsed: list[Tables] = []
    refused: list[dict[str, Any]] = []
    for partition, some in records.items():
        for record in some:
            try:
                parsed.append(_parse(record.value))
            except MalformedError as error:
                refused.append(_rejected(record, partition, str(error)))
    try:
        return _joined(parsed, refused)
    except MalformedError:
        return _one_by_one(records)


def _one_by_one(records: Mapping[int, Sequence[Received]]) -> dict[str, pa.Table]:
    good: list[Tables] = []
    refused: list[dict[str, Any]] = []
    for partition, some in records.items():
        for record in some:
            try:
                tables = _parse(record.value)
                for table, columns in tables.items():
                    arrow_of(table, columns)
            except MalformedError as error:
                refused.append(_rejected(record, partition, str(error)))
            else:
                good.append(tables)
    return _joined(good, refused)


def _parse(value: bytes | None) -> Tables:
    try:
        content = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        raise MalformedError("lineage record: found bytes that are not JSON") from None
    if not isinstance(content, dict) or content.get("v") != 1 or not isinstance(content.get("tables"), dict):
        raise MalformedError("lineage record: expected an object with v 1 and tables")
    tables: dict[str, Any] = content["tables"]
    return {table: _unfolded(table, found) for table, found in tables.items()}


def _unfolded(table: str, found: Any) -> Columns:
    """Column lists of a table's blocks; what a block says once of all its rows stands in each of them."""
    expected = TABLES.get(table)
    if expected is None:
        raise MalformedError("lineage record: found a table that is none of ours")
    if not isinstance(found, list):
        raise MalformedError(f"{table}: expected a list of blocks")
    columns: dict[str, list[Any]] = {name: [] for name in expected}
    for block in found:
        count = _rows_of(table, block)
        for name, value in block["all"].items():
            columns[name] += [value] * count
        for name, values in block["each"].items():
            columns[name] += values
    return columns


def _rows_of(table: str, block: Any) -> int:
    """How many rows a block has; MalformedError when it is none, or not of this table."""
    if not isinstance(block, dict) or not all(isinstance(block.get(part), dict) for part in ("all", "each")):
        raise MalformedError(f"{table}: expected blocks with `all` and `each`, columns by name")
    names = [*block["all"], *block["each"]]
    if sorted(names) != sorted(TABLES[table]):
        odd = ", ".join(sorted(set(names) ^ set(TABLES[table]))[:5]) or "one stands in both"
        raise MalformedError(
            f"{table}: columns differ from the table's ({odd}); is the worker of another version?"
        )
    counts = {len(values) if isinstance(values, list) else 0 for values in block["each"].values()}
    if len(counts) != 1 or 0 in counts:
        raise MalformedError(f"{table}: expected lists of one length, with one value a row at least")
    return int(counts.pop())


def _joined(parsed: Iterable[Tables], refused: Sequence[dict[str, Any]]) -> dict[str, pa.Table]:
    lists: dict[str, dict[str, list[Any]]] = {}
    for tables in parsed:
        for table, columns in tables.items():
            into = lists.setdefault(table, {name: [] for name in TABLES[table]})
            for name, values in columns.items():
                into[name].extend(values)
    if refused:
        into = lists.setdefault("rejected", {name: [] for name in TABLES["rejected"]})
        for name, values in into.items():
            values.extend(row[name] for row in refused)
    found = {table: arrow_of(table, columns) for table, columns in lists.items()}
    return {table: content for table, content in found.items() if content.num_rows}


def _rejected(record: Received, partition: int, reason: str) -> dict[str, Any]:
    value = record.value or b""
    return {
        "source": "",
        "stream": "",
        "first": 0,
        "count": 0,
        "stage": "snapshots",
        "reason": reason,
        "rule": "malformed",
        "zone": "malformed",
        "policy_version": "",
        "topic": LINEAGE,
        "partition": partition,
        "offset": record.offset,
        "bytes": len(value),
        "digest": hashlib.sha256(value).hexdigest(),
        "t_ns": stamp_ns(record),
        "wearer": "",
        "appended_ns": stamp_ns(record),
    }
