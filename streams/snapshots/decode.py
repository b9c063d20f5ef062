"""From records of `glasses.lineage` to Arrow tables; a record that is none becomes a row of `rejected`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import orjson
import pyarrow as pa

from streams.errors import MalformedError
from streams.events.record import Received
from streams.limits import LINEAGE_ROWS_MAX
from streams.lineage.tables import RECORD_VERSION, TABLES, WRITTEN_BY
from streams.snapshots import former
from streams.snapshots.columns import missing, unfit
from streams.snapshots.poll import FORGED, MALFORMED, Numbers, Place, Poll
from streams.topology import AGENTS, topic

Columns: TypeAlias = Mapping[str, Sequence[Any]]
Tables: TypeAlias = Mapping[str, Columns]

_ARROW = {"text": pa.string(), "int": pa.int64(), "float": pa.float64(), "flag": pa.bool_()}
_VERSIONS = (former.VERSION, RECORD_VERSION)
_KEY = re.compile(rb"([a-z]+)/(0|[1-9][0-9]{0,8})")


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
            arrays.append(pa.array(columns[name], _ARROW[kind]))
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            raise MalformedError(f"{table}.{name}: found a value that is not {kind}") from None
    return pa.Table.from_arrays(arrays, names=list(expected))


def read(records: Mapping[int, Sequence[Received]]) -> Poll:
    """Return what records of `glasses.lineage`, by partition, hold together, as far as each is well formed.

    All records are converted at once; only when that fails is each looked at alone, so a bad record costs
    itself. A record without the key of an agent that writes to its partition, or with a table that this agent
    does not write, is refused as well, and so is one with a value that its column cannot have.
    """
    places = [
        Place(partition, record, _agent(record.key, partition))
        for partition, some in records.items()
        for record in some
    ]
    parsed: dict[int, Tables] = {}
    wrong: dict[int, tuple[str, str]] = {}
    for owner, place in enumerate(places):
        try:
            tables = _parse(place.record.value)
        except MalformedError as error:
            wrong[owner] = MALFORMED, str(error)
            continue
        if fault := _misplaced(place, tables):
            wrong[owner] = FORGED, fault
        else:
            parsed[owner] = tables
    try:
        poll = _joined(places, parsed)
    except MalformedError:
        wrong |= {
            owner: (MALFORMED, fault) for owner, tables in parsed.items() if (fault := _mistyped(tables))
        }
        poll = _joined(places, {owner: tables for owner, tables in parsed.items() if owner not in wrong})
    for owner, (rule, reason) in wrong.items():
        poll.refuse_record(owner, rule, reason)
    # What is missing goes first: the other look at a column takes each row for one that has a value.
    for look in (missing, unfit):
        for table, content in poll.tables.items():
            for name in content.column_names:
                wrong_rows = look(poll, table, name)
                if wrong_rows is not None:
                    poll.refuse(
                        table, wrong_rows, MALFORMED, f".{name}: found a value that the column cannot have"
                    )
        poll.drop()
    return poll


def _agent(key: bytes | None, partition: int) -> str:
    """Agent whose key `agent/partition` a record bears; empty where none writes that to this partition."""
    match = _KEY.fullmatch(key or b"")
    agent = match[1].decode() if match else ""
    if match is None or agent not in AGENTS or int(match[2]) != partition:
        return ""
    return agent if not topic(AGENTS[agent]).single or partition == 0 else ""


def _misplaced(place: Place, tables: Tables) -> str:
    """What is wrong with the place of a record; empty when nothing is."""
    if not place.agent:
        return "key: found none of an agent that writes to this partition, expected agent/partition"
    if any(place.agent not in WRITTEN_BY[table] for table in tables):
        return "lineage record: found a table that the agent of its key does not write"
    return ""


def _mistyped(tables: Tables) -> str:
    """Which column holds values of another type than its own; empty when none does."""
    try:
        for table, columns in tables.items():
            arrow_of(table, columns)
    except MalformedError as error:
        return str(error)
    return ""


def _parse(value: bytes | None) -> Tables:
    try:
        content = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        raise MalformedError("lineage record: found bytes that are not JSON") from None
    version, tables = (content.get("v"), content.get("tables")) if type(content) is dict else (None, None)
    if type(version) is not int or version not in _VERSIONS or type(tables) is not dict:
        raise MalformedError(f"lineage record: expected an object with v {RECORD_VERSION} and tables")
    if version == former.VERSION:
        tables = former.filled(tables)
    if not tables:
        raise MalformedError("lineage record: found no table, expected one at least")
    room = LINEAGE_ROWS_MAX
    unfolded: dict[str, Columns] = {}
    for table, found in tables.items():
        unfolded[table], room = _unfolded(table, found, room)
    return unfolded


def _unfolded(table: str, found: Any, room: int) -> tuple[Columns, int]:
    """Column lists of a table's blocks, and how many rows more the record may have.

    What a block says once of all its rows stands in each of them.
    """
    expected = TABLES.get(table)
    if expected is None:
        raise MalformedError("lineage record: found a table that is none of ours")
    if not isinstance(found, list):
        raise MalformedError(f"{table}: expected a list of blocks")
    columns: dict[str, list[Any]] = {name: [] for name in expected}
    for block in found:
        count = _rows_of(table, block)
        room -= count
        if room < 0:
            raise MalformedError(f"lineage record: found more rows than {LINEAGE_ROWS_MAX}")
        for name, value in block["all"].items():
            columns[name] += [value] * count
        for name, values in block["each"].items():
            columns[name] += values
    return columns, room


def _rows_of(table: str, block: Any) -> int:
    """How many rows a block has; MalformedError when it is none, or not of this table."""
    if not isinstance(block, dict) or not all(isinstance(block.get(part), dict) for part in ("all", "each")):
        raise MalformedError(f"{table}: expected blocks with `all` and `each`, columns by name")
    names = [*block["all"], *block["each"]]
    if sorted(names) != sorted(TABLES[table]):
        lacking = ", ".join(sorted(TABLES[table].keys() - set(names))[:5])
        odd = f"without {lacking}" if lacking else "one that is none of the table's, or stands in both"
        raise MalformedError(
            f"{table}: columns differ from the table's ({odd}); is the worker of another version?"
        )
    counts = {len(values) if isinstance(values, list) else 0 for values in block["each"].values()}
    if len(counts) != 1 or 0 in counts:
        raise MalformedError(f"{table}: expected lists of one length, with one value a row at least")
    return int(counts.pop())


def _joined(places: Sequence[Place], parsed: Mapping[int, Tables]) -> Poll:
    lists: dict[str, dict[str, list[Any]]] = {}
    lengths: dict[str, list[tuple[int, int]]] = {}
    for owner, tables in parsed.items():
        for table, columns in tables.items():
            into = lists.setdefault(table, {name: [] for name in TABLES[table]})
            for name, values in columns.items():
                into[name].extend(values)
            lengths.setdefault(table, []).append((owner, len(next(iter(columns.values())))))
    return Poll(
        places,
        {table: arrow_of(table, columns) for table, columns in lists.items()},
        {table: _owners(some) for table, some in lengths.items()},
    )


def _owners(lengths: Iterable[tuple[int, int]]) -> Numbers:
    owners, counts = np.array(list(lengths), np.int64).T
    return np.repeat(owners, counts)
