"""Ways to spoil a good record, as functions of what Hypothesis draws."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
from hypothesis import strategies as st
from msgspec.structs import asdict

from streams.events.headers import RUN
from streams.events.record import StoredRecord
from streams.events.shipped import SHIPPED
from streams.limits import VALUE_BYTES_MAX
from tests import build

Spoil = Callable[[st.DrawFn, StoredRecord], StoredRecord]


def value(change: Callable[[st.DrawFn, dict[str, Any]], object]) -> Spoil:
    def spoil(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
        fields = orjson.loads(record.value or b"")
        change(draw, fields)
        return replace(record, value=dumps(fields))

    return spoil


def dumps(fields: Any) -> bytes:
    """JSON of what orjson refuses too: integers of any size."""
    try:
        return orjson.dumps(fields)
    except TypeError:
        return json.dumps(fields, separators=(",", ":")).encode()


def setting(*path: str, values: Sequence[Any]) -> Spoil:
    def change(draw: st.DrawFn, fields: dict[str, Any]) -> None:
        for name in path[:-1]:
            fields = fields[name]
        fields[path[-1]] = draw(st.sampled_from(list(values)))

    return value(change)


def drop(draw: st.DrawFn, fields: dict[str, Any]) -> None:
    names = sorted(fields.keys() - {"t_ns"})
    del fields[draw(st.sampled_from(names))]


def in_column(values: Mapping[str, Sequence[Any]]) -> Spoil:
    """One value of one column replaced by one that its type does not allow."""

    def change(draw: st.DrawFn, fields: dict[str, Any]) -> None:
        columns = SHIPPED[fields["kind"]].columns
        name = draw(st.sampled_from(sorted(columns)))
        column = fields["columns"][name]
        column[draw(st.integers(0, len(column) - 1))] = draw(
            st.sampled_from(list(values["closed" if "|" in columns[name] else columns[name].rstrip("?")]))
        )

    return value(change)


def literal(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
    """A number written as JSON does not know it."""
    word = draw(
        st.sampled_from(
            [
                b"NaN",
                b"-NaN",
                b"Infinity",
                b"-Infinity",
                b"1e999",
                b"-1e999",
                b"0x10",
                b"01",
                b"1_000",
                b".5",
                b"+1",
            ]
        )
    )
    value = record.value or b""
    at = value.index(b'"dt_ns":') + len(b'"dt_ns":')
    return replace(record, value=value[:at] + word + value[value.index(b",", at) :])


def truncated(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
    value = record.value or b""
    return replace(record, value=value[: draw(st.integers(0, len(value) - 1))])


def inserted(parts: st.SearchStrategy[bytes], before: bytes) -> Spoil:
    def spoil(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
        value = record.value or b""
        at = value.index(before)
        return replace(record, value=value[:at] + draw(parts) + value[at:])

    return spoil


def deep(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
    depth = draw(st.sampled_from([200, 1_000, 1_100, 20_000]))
    opening, closing = draw(st.sampled_from([(b"[", b"]"), (b'{"a":', b"}")]))
    value = record.value or b""
    whole = opening * depth + b"1" + closing * depth
    column = next(iter(SHIPPED[orjson.loads(value)["kind"]].columns)).encode()
    where = draw(st.sampled_from([b'{"v"', b'"columns":', b'"%s":[' % column]))
    if where == b'{"v"':
        return replace(record, value=whole)
    at = value.index(where) + len(where)
    return replace(record, value=value[:at] + whole + (b"," if where.endswith(b"[") else b"}") + value[at:])


def large(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
    """Longer than a value may be, up to what the broker takes in one record."""
    over = draw(st.sampled_from([1, 1000, 1_040_000 - VALUE_BYTES_MAX]))
    value = record.value or b""
    filler = draw(st.sampled_from([b" ", b"\0", b"9", b"{"]))
    return replace(record, value=value + filler * (VALUE_BYTES_MAX + over - len(value)))


def twice(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
    """A key twice in one object; the first is what another parser may take."""
    value, fields = record.value or b"", orjson.loads(record.value or b"")
    name = draw(st.sampled_from(sorted(fields)))
    space, escaped = draw(st.sampled_from([b"", b" ", b"\n\t"])), draw(st.booleans())
    other = {**asdict(build.context()), "place": "clinic"} if name == "context" else fields[name]
    key = b'"\\u%04x%s"' % (ord(name[0]), name[1:].encode()) if escaped else b'"%s"' % name.encode()
    if draw(st.booleans()):
        # One colon less where a reader that counts them would look.
        value = value.replace(b"synthetic:1", rb"synthetic\u003a1")
    if draw(st.booleans()):
        return replace(
            record, value=value.replace(b'"context":{', b'"context":{"place"%s:"clinic",' % space, 1)
        )
    return replace(record, value=b"{" + key + space + b":" + dumps(other) + b"," + value[1:])


def spoil_headers(change: Callable[[st.DrawFn, dict[str, Any]], object]) -> Spoil:
    def spoil(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
        headers: dict[str, Any] = dict(record.headers)
        change(draw, headers)
        return replace(record, headers=tuple(headers.items()))

    return spoil


def disagrees(name: str, values: st.SearchStrategy[Any]) -> Spoil:
    def change(draw: st.DrawFn, headers: dict[str, Any]) -> None:
        found = headers[name]
        headers[name] = draw(values.filter(lambda value: value != found))

    return spoil_headers(change)


def added(names: st.SearchStrategy[Any], values: st.SearchStrategy[Any], count: int = 1) -> Spoil:
    def spoil(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
        more = [(draw(names), draw(values)) for _ in range(count)]
        return replace(record, headers=tuple(draw(st.permutations([*record.headers, *more]))))

    return spoil


def missing(draw: st.DrawFn, headers: dict[str, Any]) -> None:
    del headers[draw(st.sampled_from(["ce_specversion", "ce_id", "ce_source", "ce_type", RUN]))]


def repeated(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
    name, value = draw(st.sampled_from(list(record.headers)))
    again: tuple[str, Any] = (name, draw(st.sampled_from([value, b"", b"other", None])))
    return replace(record, headers=tuple(draw(st.permutations([*record.headers, again]))))


def longer(name: str, ends: st.SearchStrategy[bytes]) -> Spoil:
    """A header with more behind its value."""

    def change(draw: st.DrawFn, headers: dict[str, Any]) -> None:
        headers[name] += draw(ends)

    return spoil_headers(change)


class RawName(str):
    """A header name whose bytes are no UTF-8; a client writes whatever `encode` returns."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xff\xfe" + str.encode(self, encoding, errors)
