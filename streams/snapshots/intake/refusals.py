"""Sentences about why no agent can have written a record of `glasses.lineage`, without its values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson

from streams.limits import LINEAGE_ROWS_MAX, LINEAGE_TEXT_BYTES_MAX
from streams.lineage.tables import RECORD_VERSION, TABLES, ColumnType
from streams.snapshots.intake import former
from streams.snapshots.rows.columns import MANY

_VERSIONS = (former.VERSION, RECORD_VERSION)
_TYPES: Mapping[ColumnType, tuple[type, ...]] = {
    "text": (str,),
    "int": (int,),
    "float": (float, int),
    "flag": (bool,),
}


def sentence(value: bytes | None) -> str:
    """Return what is wrong with a record that could not be read, or has more rows than one may have."""
    return next(_faults(value), "lineage record: found a value that no column can have")


def _faults(value: bytes | None) -> Iterator[str]:
    try:
        content = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        yield "lineage record: found bytes that are not JSON"
        return
    version, tables = (content.get("v"), content.get("tables")) if type(content) is dict else (None, None)
    if type(version) is not int or version not in _VERSIONS or type(tables) is not dict:
        yield f"lineage record: expected an object with v {RECORD_VERSION} and tables"
        return
    if version == former.VERSION:
        tables = former.filled(tables)
    if not tables:
        yield "lineage record: found no table, expected one at least"
    rows = 0
    for table, blocks in tables.items():
        if table not in TABLES:
            yield "lineage record: found a table that is none of ours"
            return
        if not isinstance(blocks, list):
            yield f"{table}: expected a list of blocks"
            return
        for block in blocks:
            yield from _of_block(table, block)
            rows += len(next(iter(block["each"].values())))
            if rows > LINEAGE_ROWS_MAX:
                yield f"lineage record: found more rows than {LINEAGE_ROWS_MAX}"


def _of_block(table: str, block: Any) -> Iterator[str]:
    shared, each = (block.get("all"), block.get("each")) if type(block) is dict else (None, None)
    if type(shared) is not dict or type(each) is not dict:
        yield f"{table}: expected blocks with `all` and `each`, columns by name"
        return
    if fault := _of_names(table, (*shared, *each)):
        yield fault
    lists = each.values()
    if set(map(type, lists)) != {list} or len(counts := set(map(len, lists))) != 1 or 0 in counts:
        yield f"{table}: expected lists of one length, with one value a row at least"
    if any(
        type(shared[name]) is str and len(shared[name]) > LINEAGE_TEXT_BYTES_MAX
        for name in MANY & shared.keys()
    ):
        yield f"{table}: found a long text that stands once for many rows"
    for name, values in {**{name: [value] for name, value in shared.items()}, **each}.items():
        yield from _of_values(table, name, values)


def _of_values(table: str, name: str, values: Sequence[Any]) -> Iterator[str]:
    kind = TABLES[table][name]
    if None in values:
        yield f"{table}.{name}: found a value that the column cannot have"
    if any(
        type(value) not in _TYPES[kind] or (kind == "int" and not -(2**63) <= value < 2**63)
        for value in values
    ):
        yield f"{table}.{name}: found a value that is not {kind}"


@lru_cache(maxsize=1024)
def _of_names(table: str, names: tuple[str, ...]) -> str:
    """Reason why a block with these column names is wrong; empty if it is not."""
    if sorted(names) == sorted(TABLES[table]):
        return ""
    lacking = ", ".join(sorted(TABLES[table].keys() - set(names))[:5])
    odd = f"without {lacking}" if lacking else "one that is none of the table's, or stands in both"
    return f"{table}: columns differ from the table's ({odd}); is the worker of another version?"
