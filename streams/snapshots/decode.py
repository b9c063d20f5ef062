"""From records of `glasses.lineage` to Arrow tables; a record that is none becomes a row of `rejected`.

Nothing is done row by row: a record is parsed once, what its blocks hold is put together column by column for
all records of a poll, and texts become dictionary arrays, so that what follows looks at each different text
once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import orjson
import pyarrow as pa

from streams.errors import MalformedError
from streams.events.record import Received
from streams.limits import DECODE_BYTES, LINEAGE_ROWS_MAX, LINEAGE_TEXT_BYTES_MAX
from streams.lineage.tables import RECORD_VERSION, TABLES, WRITTEN_BY, ColumnType
from streams.snapshots import former, genuine
from streams.snapshots.columns import MANY, missing, unfit
from streams.snapshots.poll import FORGED, MALFORMED, Mask, Numbers, Place, Poll
from streams.topology import AGENTS, topic

Columns: TypeAlias = Mapping[str, Sequence[Any]]
#: Rows of one block: how many, what all of them say, and lists of what each of them says.
Block: TypeAlias = tuple[int, Mapping[str, Any], Columns]
Tables: TypeAlias = Mapping[str, Sequence[Block]]
#: Rows by table, and of each row the record that it came in.
Part: TypeAlias = Mapping[str, tuple[pa.Table, Numbers]]

_VERSIONS = (former.VERSION, RECORD_VERSION)
_KEY = re.compile(rb"([a-z]+)/(0|[1-9][0-9]{0,8})")
#: Python types of a column's values, as JSON gives them; None is what is missing.
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


def arrow_of(table: str, columns: Columns) -> pa.Table:
    """Return column lists as an Arrow table with the types of `TABLES`; texts that recur as dictionaries.

    MalformedError names column and fault, never a value.
    """
    expected = TABLES[table]
    if columns.keys() != expected.keys() or len({len(values) for values in columns.values()}) > 1:
        raise MalformedError(f"{table}: expected the table's columns, all of one length")
    return pa.Table.from_arrays(
        [_array(table, name, columns[name]) for name in expected], names=list(expected)
    )


def _array(table: str, name: str, values: Sequence[Any]) -> pa.Array:
    kind, unlike = TABLES[table][name], name in MANY
    try:
        if (
            kind == "text"
            and not unlike
            and len(different := set(values)) == 1
            and isinstance(next(iter(different)), str)
        ):
            return pa.DictionaryArray.from_arrays(np.zeros(len(values), np.int32), [*different])
        found = set(map(type, values))
        if kind == "int" and found == {int}:
            return pa.array(np.fromiter(values, np.int64, len(values)))
        if found <= _TYPES[kind]:
            return pa.array(values, pa.string() if unlike else _ARROW[kind])
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        pass
    raise MalformedError(f"{table}.{name}: found a value that is not {kind}")


def read(records: Mapping[int, Sequence[Received]]) -> Poll:
    """Return what records of `glasses.lineage`, by partition, hold together, as far as each is well formed.

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
    genuine.check(poll)
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


def _portions(places: Sequence[Place]) -> Iterator[range]:
    """Records that are converted together: what Python makes of their JSON is freed before the next."""
    start, size = 0, 0
    for owner, place in enumerate(places):
        size += len(place.record.value or b"")
        if size >= DECODE_BYTES:
            yield range(start, owner + 1)
            start, size = owner + 1, 0
    if start < len(places):
        yield range(start, len(places))


def _converted(places: Sequence[Place], portion: range, wrong: dict[int, tuple[str, str]]) -> Part:
    """Rows of some records by table, with the record of each; what is none of ours is put in `wrong`."""
    parsed: dict[int, Tables] = {}
    for owner in portion:
        try:
            tables = _parse(places[owner].record.value)
        except MalformedError as error:
            wrong[owner] = MALFORMED, str(error)
            continue
        if fault := _misplaced(places[owner], tables):
            wrong[owner] = FORGED, fault
        else:
            parsed[owner] = tables
    try:
        return _joined(parsed)
    except MalformedError:
        for owner, tables in list(parsed.items()):
            try:
                _joined({owner: tables})
            except MalformedError as error:
                wrong[owner] = MALFORMED, str(error)
                del parsed[owner]
        return _joined(parsed)


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
    parsed: dict[str, list[Block]] = {}
    for table, found in tables.items():
        if table not in TABLES:
            raise MalformedError("lineage record: found a table that is none of ours")
        if not isinstance(found, list):
            raise MalformedError(f"{table}: expected a list of blocks")
        parsed[table] = [_block(table, block) for block in found]
        room -= sum(count for count, _, _ in parsed[table])
        if room < 0:
            raise MalformedError(f"lineage record: found more rows than {LINEAGE_ROWS_MAX}")
    return parsed


def _block(table: str, block: Any) -> Block:
    """Rows of a block; MalformedError when it is none, or not of this table."""
    said, each = (block.get("all"), block.get("each")) if type(block) is dict else (None, None)
    if type(said) is not dict or type(each) is not dict:
        raise MalformedError(f"{table}: expected blocks with `all` and `each`, columns by name")
    if fault := _names_fault(table, (*said, *each)):
        raise MalformedError(fault)
    lists = each.values()
    if set(map(type, lists)) != {list} or len(counts := set(map(len, lists))) != 1 or 0 in counts:
        raise MalformedError(f"{table}: expected lists of one length, with one value a row at least")
    if any(
        type(said[name]) is str and len(said[name]) > LINEAGE_TEXT_BYTES_MAX for name in MANY & said.keys()
    ):
        raise MalformedError(f"{table}: found a long text that stands once for many rows")
    return counts.pop(), said, each


@lru_cache(maxsize=1024)
def _names_fault(table: str, names: tuple[str, ...]) -> str:
    """What is wrong with a block that has columns of these names; empty when nothing is."""
    if sorted(names) == sorted(TABLES[table]):
        return ""
    lacking = ", ".join(sorted(TABLES[table].keys() - set(names))[:5])
    odd = f"without {lacking}" if lacking else "one that is none of the table's, or stands in both"
    return f"{table}: columns differ from the table's ({odd}); is the worker of another version?"


def _joined(parsed: Mapping[int, Tables]) -> Part:
    blocks: dict[str, list[Block]] = {}
    owners: dict[str, list[int]] = {}
    for owner, tables in parsed.items():
        for table, some in tables.items():
            if some:
                blocks.setdefault(table, []).extend(some)
                owners.setdefault(table, []).extend([owner] * len(some))
    return {
        table: (_table(table, some), np.repeat(owners[table], _counts(some)))
        for table, some in blocks.items()
    }


def _counts(blocks: Sequence[Block]) -> Numbers:
    return np.fromiter((count for count, _, _ in blocks), np.int64, len(blocks))


def _table(table: str, blocks: Sequence[Block]) -> pa.Table:
    """Rows of some blocks, in order. What a block says once is converted once and then stands in each row."""
    counts, shapes = _counts(blocks), {tuple(said) for _, said, _ in blocks}
    rows: dict[bytes, pa.Array] = {}
    arrays = []
    for name in TABLES[table]:
        saying = [name in shape for shape in shapes]
        if not any(saying):
            arrays.append(_array(table, name, [*chain.from_iterable([each[name] for _, _, each in blocks])]))
            continue
        once, values = [True] * len(blocks), [said.get(name) for _, said, _ in blocks]
        if not all(saying):
            once = [name in said for _, said, _ in blocks]
            values = [
                *chain.from_iterable(
                    [[said[name]] if name in said else each[name] for _, said, each in blocks]
                )
            ]
        if (shape := bytes(once)) not in rows:
            rows[shape] = _standing(np.array(once), counts)
        arrays.append(_array(table, name, values).take(rows[shape]))
    return pa.Table.from_arrays(arrays, names=[*TABLES[table]])


def _standing(once: Mask, counts: Numbers) -> pa.Array:
    """Which value of a column stands in each row, where some blocks say theirs `once` of all their rows."""
    values = np.where(once, 1, counts)
    times = np.ones(values.sum(), np.int64)
    times[(np.cumsum(values) - values)[once]] = counts[once]
    return pa.array(np.repeat(np.arange(len(times)), times))
