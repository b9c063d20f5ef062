"""Decode records of `glasses.lineage` to Arrow tables; a malformed record becomes a row of `rejected`.

Nothing is done row by row. A record is parsed once, its blocks are joined with those of all records of a poll
column by column, and texts become dictionary arrays, so that later checks look at each distinct text once.
Values that all rows of a block share are converted once for all blocks with the same values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from msgspec import UNSET

from streams.errors import MalformedError
from streams.events.kinds import Kinds
from streams.events.record import Received
from streams.events.shipped import SHIPPED
from streams.limits import DECODE_BYTES
from streams.lineage.tables import TABLES, WRITTEN_BY, ColumnType
from streams.snapshots.intake import genuine
from streams.snapshots.intake.typed import Block, Sayings, parse
from streams.snapshots.rows.columns import MANY, is_kind, unfit
from streams.snapshots.rows.poll import FORGED, MALFORMED, NO_KIND, Mask, Numbers, Place, Poll
from streams.topology import AGENTS, topic

Columns: TypeAlias = Mapping[str, Sequence[Any]]
Tables: TypeAlias = Mapping[str, Sequence[Block]]
#: Rows by table, and for each row the record that it came in.
Part: TypeAlias = Mapping[str, tuple[pa.Table, Numbers]]

_KEY = re.compile(rb"([a-z]+)/(0|[1-9][0-9]{0,8})")
#: Python types of a column's values, as read from JSON; None means missing.
_TYPES: Mapping[ColumnType, frozenset[type]] = {
    "text": frozenset({str, type(None)}),
    "int": frozenset({int, type(None)}),
    "float": frozenset({float, int, type(None)}),
    "flag": frozenset({bool, type(None)}),
}
_ARROW: Mapping[ColumnType, pa.DataType] = {
    "text": pa.dictionary(pa.int32(), pa.string()),
    "int": pa.int64(),
    "float": pa.float64(),
    "flag": pa.bool_(),
}
_NUMPY: Mapping[ColumnType, type] = {"int": np.int64, "float": np.float64, "flag": np.bool_}
#: Placeholder for a column that a block does not have.
_NOTHING: Mapping[ColumnType, Any] = {"text": "", "int": 0, "float": 0.0, "flag": False}


def arrow_of(table: str, columns: Columns) -> pa.Table:
    """Return columns as an Arrow table with the types of `TABLES`; repeated texts are dictionary arrays.

    MalformedError names column and fault, never a value.
    """
    expected = TABLES[table]
    if columns.keys() != expected.keys() or len({len(values) for values in columns.values()}) > 1:
        raise MalformedError(f"{table}: expected the table's columns, all of one length")
    return pa.Table.from_arrays(
        [_array(table, name, columns[name]) for name in expected], names=list(expected)
    )


def _array(table: str, name: str, values: Sequence[Any]) -> pa.Array:
    """Arrow array of a column, whose values may be missing or have a wrong type."""
    kind = TABLES[table][name]
    if set(map(type, values)) <= _TYPES[kind]:
        if None not in values:
            return _typed(table, name, values)
        return pa.array(values, pa.string() if name in MANY else _ARROW[kind])
    raise MalformedError(f"{table}.{name}: found a value that is not {kind}")


def _typed(table: str, name: str, values: Sequence[Any]) -> pa.Array:
    """Arrow array of values that have the column's type; MalformedError for a number that is too large."""
    kind = TABLES[table][name]
    if kind == "text":
        return pa.array(values, pa.string() if name in MANY else _ARROW[kind])
    try:
        return pa.array(np.fromiter(values, _NUMPY[kind], len(values)))
    except OverflowError:
        raise MalformedError(f"{table}.{name}: found a value that is not {kind}") from None


def read(records: Mapping[int, Sequence[Received]], kinds: Kinds = SHIPPED) -> Poll:
    """Return what records of `glasses.lineage`, by partition, hold together, as far as each is well formed.

    It is about events of `kinds`; a row about another kind is one that no agent writes.

    All records are converted at once; only when that fails is each looked at alone, so a bad record costs
    itself. A record without the key of an agent that writes to its partition, or with a table that this agent
    does not write, is refused as well, and so is one with a value that its column cannot have, or that this
    agent does not write. Nothing of the store is asked, so another thread may store what was read before.
    """
    places = [
        Place(partition, record, _agent(record.key, partition))
        for partition, some in records.items()
        for record in some
    ]
    wrong: dict[int, tuple[str, str]] = {}
    parts = [_converted(places, portion, wrong) for portion in _portions(places)]
    poll = Poll(
        kinds,
        places,
        {
            table: pa.concat_tables([part[table][0] for part in parts if table in part])
            .unify_dictionaries()
            .combine_chunks()
            for table in TABLES
            if any(table in part for part in parts)
        },
        {
            table: np.concatenate([part[table][1] for part in parts if table in part])
            for table in TABLES
            if any(table in part for part in parts)
        },
    )
    for owner, (rule, reason) in wrong.items():
        poll.refuse_record(owner, rule, reason)
    for table, content in poll.tables.items():
        for name in content.column_names:
            wrong_rows = unfit(poll, table, name)
            if wrong_rows is not None:
                fault = NO_KIND if is_kind(table, name) else "found a value that the column cannot have"
                poll.refuse(table, wrong_rows, MALFORMED, f".{name}: {fault}")
    poll.drop()
    genuine.check(poll)
    return poll


def _agent(key: bytes | None, partition: int) -> str:
    """Agent in the key `agent/partition` of a record; empty if no agent writes this key to this partition."""
    match = _KEY.fullmatch(key or b"")
    agent = match[1].decode() if match else ""
    if match is None or agent not in AGENTS or int(match[2]) != partition:
        return ""
    return agent if not topic(AGENTS[agent]).single or partition == 0 else ""


def _misplaced(place: Place, tables: Tables) -> str:
    """Reason why a record is in the wrong place; empty if it is not."""
    if not place.agent:
        return "key: found none of an agent that writes to this partition, expected agent/partition"
    if any(place.agent not in WRITTEN_BY[table] for table in tables):
        return "lineage record: found a table that the agent of its key does not write"
    return ""


def _portions(places: Sequence[Place]) -> Iterator[range]:
    """Divide records into portions that are converted one after the other, to bound memory."""
    start, size = 0, 0
    for owner, place in enumerate(places):
        size += len(place.record.value or b"")
        if size >= DECODE_BYTES:
            yield range(start, owner + 1)
            start, size = owner + 1, 0
    if start < len(places):
        yield range(start, len(places))


def _converted(places: Sequence[Place], portion: range, wrong: dict[int, tuple[str, str]]) -> Part:
    """Rows of records by table, with the record of each; malformed records are added to `wrong`."""
    sayings: dict[str, Sayings] = {table: {} for table in TABLES}
    parsed: dict[int, Tables] = {}
    for owner in portion:
        try:
            tables = parse(places[owner].record.value, sayings)
        except MalformedError as error:
            wrong[owner] = MALFORMED, str(error)
            continue
        if fault := _misplaced(places[owner], tables):
            wrong[owner] = FORGED, fault
        else:
            parsed[owner] = tables
    try:
        return _joined(parsed, sayings)
    except MalformedError:
        for owner, alone in list(parsed.items()):
            try:
                _joined({owner: alone}, sayings)
            except MalformedError as error:
                wrong[owner] = MALFORMED, str(error)
                del parsed[owner]
        return _joined(parsed, sayings)


def _joined(parsed: Mapping[int, Tables], sayings: Mapping[str, Sayings]) -> Part:
    blocks: dict[str, list[Block]] = {}
    owners: dict[str, list[int]] = {}
    for owner, tables in parsed.items():
        for table, some in tables.items():
            if some:
                blocks.setdefault(table, []).extend(some)
                owners.setdefault(table, []).extend([owner] * len(some))
    return {table: _table(table, some, owners[table], sayings[table]) for table, some in blocks.items()}


def _table(
    table: str, blocks: Sequence[Block], owners: Sequence[int], sayings: Sayings
) -> tuple[pa.Table, Numbers]:
    """Rows of blocks, in order, and the record of each row."""
    counts, places = (
        np.fromiter(some, np.int64, len(blocks)) for some in list(zip(*blocks, strict=True))[:2]
    )
    shared = list(zip(*sayings, strict=True))
    rows: dict[bytes, pa.Array] = {}
    arrays = []
    for at, (name, kind) in enumerate(TABLES[table].items()):
        once = np.fromiter((value is not UNSET for value in shared[at]), bool, len(shared[at]))[places]
        each = [values[at] for _, _, values in blocks if values[at] is not UNSET]
        if not once.any():
            arrays.append(_typed(table, name, [*chain.from_iterable(each)]))
            continue
        values = [_NOTHING[kind] if value is UNSET else value for value in shared[at]]
        if (shape := once.tobytes()) not in rows:
            rows[shape] = _standing(once, counts, places, len(values))
        arrays.append(_typed(table, name, [*values, *chain.from_iterable(each)]).take(rows[shape]))
    return pa.Table.from_arrays(arrays, names=[*TABLES[table]]), np.repeat(owners, counts)


def _standing(once: Mask, counts: Numbers, places: Numbers, behind: int) -> pa.Array:
    """Row by row, the index of its value, for a column where some blocks give one value for all rows.

    These values are at `places`; from `behind` on are the values of all other rows, in order.
    """
    positions, own = np.repeat(places, counts), np.repeat(~once, counts)
    positions[own] = np.arange(behind, behind + np.count_nonzero(own))
    return pa.array(positions)
