"""Parse a record of `glasses.lineage` and check it by the types of its tables, in one step.

Values that all rows of a block share are kept once for all blocks with the same values, because most repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Literal, TypeAlias

import msgspec
import orjson
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import astuple

from streams.errors import MalformedError
from streams.limits import LINEAGE_ROWS_MAX, LINEAGE_TEXT_BYTES_MAX
from streams.lineage.tables import RECORD_VERSION, TABLES, ColumnType
from streams.snapshots.intake import former, refusals
from streams.snapshots.rows.columns import MANY

_SINGLE: Mapping[ColumnType, Any] = {"text": str, "int": int, "float": float, "flag": bool}
_MANY: Mapping[ColumnType, Any] = {kind: list[each] for kind, each in _SINGLE.items()}  # type: ignore[valid-type]


def _of_table(table: str) -> type[Struct]:
    """Type of a block of a table: a column is in `all` (one shared value) or in `each` (a value per row)."""
    shared, each = (
        msgspec.defstruct(
            name,
            [(column, types[kind] | UnsetType, UNSET) for column, kind in TABLES[table].items()],
            forbid_unknown_fields=True,
            gc=False,
        )
        for name, types in (("Shared", _SINGLE), ("Each", _MANY))
    )
    return msgspec.defstruct("Block", [("all", shared), ("each", each)], gc=False)


_TABLES = msgspec.defstruct(
    "Tables",
    [(table, list[_of_table(table)] | UnsetType, UNSET) for table in TABLES],  # type: ignore[misc]
    forbid_unknown_fields=True,
    gc=False,
)
_RECORD = msgspec.defstruct("Record", [("v", Literal[RECORD_VERSION]), ("tables", _TABLES)], gc=False)
_DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_RECORD)


class Shared(Struct, frozen=True):
    """Values that all rows of some blocks share: their index, and a function for the other columns.

    `long` if it has a text that must not be repeated for many rows.
    """

    place: int
    others: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    count: int
    long: bool


#: Shared values of a table's blocks, as columns in order; UNSET for a column with a value per row.
Sayings: TypeAlias = dict[tuple[Any, ...], Shared]
#: A block: its number of rows, the index of its shared values, and lists of the values per row, by column.
Block: TypeAlias = tuple[int, int, tuple[Any, ...]]


def parse(value: bytes | None, sayings: Mapping[str, Sayings]) -> dict[str, list[Block]]:
    """Return the blocks of a record by table; their shared values are added to `sayings`.

    MalformedError if it is no record; the message does not quote it.
    """
    try:
        tables = _DECODER.decode(value or b"").tables
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        tables = _former(value)
    by_table: dict[str, list[Block]] = {}
    room = LINEAGE_ROWS_MAX
    for table, blocks in zip(TABLES, astuple(tables), strict=True):
        if blocks is UNSET:
            continue
        some = by_table[table] = []
        known = sayings[table]
        for block in blocks:
            values, each = astuple(block.all), astuple(block.each)
            shared = known.get(values) or known.setdefault(values, _shared(table, values, len(known)))
            try:
                [count] = set(map(len, shared.others(each)))
            except (TypeError, ValueError):
                raise MalformedError(refusals.sentence(value)) from None
            if not count or shared.long or each.count(UNSET) != len(each) - shared.count:
                raise MalformedError(refusals.sentence(value))
            some.append((count, shared.place, each))
            room -= count
    if not by_table or room < 0:
        raise MalformedError(refusals.sentence(value))
    return by_table


def _former(value: bytes | None) -> Any:
    """Tables of a record of an earlier version; MalformedError if it is none either."""
    try:
        content = orjson.loads(value or b"")
        if type(content["v"]) is int and content["v"] == former.VERSION:
            return msgspec.convert(former.filled(content["tables"]), _TABLES)
    except (orjson.JSONDecodeError, msgspec.ValidationError, TypeError, LookupError, AttributeError):
        pass
    raise MalformedError(refusals.sentence(value))


def _shared(table: str, values: tuple[Any, ...], place: int) -> Shared:
    others = [at for at, value in enumerate(values) if value is UNSET]
    long = any(
        type(value) is str and len(value) > LINEAGE_TEXT_BYTES_MAX
        for name, value in zip(TABLES[table], values, strict=True)
        if name in MANY
    )
    # With a single column an itemgetter returns no tuple; with none there is nothing to count.
    pick: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    pick = itemgetter(*others) if len(others) > 1 else lambda each: tuple(each[at] for at in others)
    return Shared(place, pick, len(others), long)
