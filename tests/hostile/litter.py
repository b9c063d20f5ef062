"""Records that resemble what lies on a topic: a good one of that topic, spoiled somewhere nobody chose.

Unlike the named ways of `records`, such a record may pass. What is asserted of it is that whoever reads the
topic survives, refuses aloud what it does not take, and does a bounded amount of work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from hypothesis import strategies as st

from streams.events.record import Headers, StoredRecord
from tests.hostile.spoil import dumps

#: What stands where something else was expected: other types, bounds and beyond, texts that do things.
ODD: Sequence[Any] = [
    None,
    True,
    -1,
    0,
    1.5,
    2**31,
    2**62,
    2**63 - 1,
    2**64,
    1e300,
    "",
    "x" * 300,
    "\x1b[2J",
    "00" * 16,
    "ff" * 16,
    "zz" * 16,
    "g1",
    "training",
    "../../x",
    "' OR 1=1 --",
    [],
    {},
    [[]],
    [1, "x", None],
]
BYTES: Sequence[bytes] = [
    b"",
    b"\xff\xfe",
    b"[]",
    b"7",
    b"null",
    b"{}",
    b"[" * 3000,
    b'{"v":1}',
    b"\0" * 5000,
]
STAMPS = (0, 1, 2**41, 2**53, 2**61, -1)


@dataclass(frozen=True, slots=True)
class Choice:
    """Where and how one record is spoiled, drawn by Hypothesis: small numbers are mild, so it shrinks."""

    base: int
    way: int
    at: int
    other: int


CHOICES = st.builds(
    Choice, st.integers(0, 2**16), st.integers(0, 2**16), st.integers(0, 2**16), st.integers(0, 2**16)
)


def spoiled(good: Sequence[StoredRecord], choice: Choice) -> StoredRecord:
    """One of the good records, spoiled as chosen."""
    record = good[choice.base % len(good)]
    ways = tuple(WAYS)
    return ways[choice.way % len(ways)](record, good, choice)


def _bytes(record: StoredRecord, _good: Sequence[StoredRecord], choice: Choice) -> StoredRecord:
    return replace(record, value=BYTES[choice.at % len(BYTES)])


def _nothing(record: StoredRecord, _good: Sequence[StoredRecord], choice: Choice) -> StoredRecord:
    return replace(record, value=None, key=record.key if choice.at % 2 else None)


def _truncated(record: StoredRecord, _good: Sequence[StoredRecord], choice: Choice) -> StoredRecord:
    value = record.value or b""
    return replace(record, value=value[: choice.at % (len(value) + 1)])


def _flipped(record: StoredRecord, _good: Sequence[StoredRecord], choice: Choice) -> StoredRecord:
    value = bytearray(record.value or b"\0")
    value[choice.at % len(value)] ^= 1 + choice.other % 255
    return replace(record, value=bytes(value))


def _places(found: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values inside a JSON value; of a long list the first few."""
    pairs = (
        found.items() if isinstance(found, dict) else enumerate(found[:4]) if isinstance(found, list) else ()
    )
    return [path, *(place for name, value in pairs for place in _places(value, (*path, name)))]


def _at(change: Callable[[Any, Any, Choice], None]) -> Callable[..., StoredRecord]:
    """Change the value at a place inside of the JSON; a record that is none gets odd bytes."""

    def spoil(record: StoredRecord, good: Sequence[StoredRecord], choice: Choice) -> StoredRecord:
        try:
            fields = orjson.loads(record.value or b"")
        except orjson.JSONDecodeError:
            return _flipped(record, good, choice)
        places = _places(fields)[1:]
        if not places:
            return _bytes(record, good, choice)
        *path, name = places[choice.at % len(places)]
        holder = fields
        for step in path:
            holder = holder[step]
        change(holder, name, choice)
        return replace(record, value=dumps(fields))

    return spoil


def _set(holder: Any, name: Any, choice: Choice) -> None:
    holder[name] = ODD[choice.other % len(ODD)]


def _drop(holder: Any, name: Any, _choice: Choice) -> None:
    del holder[name]


def _swap(holder: Any, name: Any, choice: Choice) -> None:
    names = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    other = names[choice.other % len(names)]
    holder[name], holder[other] = holder[other], holder[name]


def _repeat(holder: Any, name: Any, choice: Choice) -> None:
    holder[name] = [holder[name]] * (choice.other % 500)


def _deep(holder: Any, name: Any, choice: Choice) -> None:
    deep: Any = holder[name]
    for _ in range(choice.other % 200):
        deep = [deep] if choice.other % 2 else {"x": deep}
    holder[name] = deep


def _key(record: StoredRecord, good: Sequence[StoredRecord], choice: Choice) -> StoredRecord:
    keys = [None, b"", b"\xff", b"k" * 5000, *{one.key for one in good}]
    return replace(record, key=keys[choice.at % len(keys)])


def _headers(record: StoredRecord, _good: Sequence[StoredRecord], choice: Choice) -> StoredRecord:
    headers = list(record.headers) or [("x", b"")]
    at = choice.at % len(headers)
    name, value = headers[at]
    made: Headers = [
        [*headers[:at], *headers[at + 1 :]],
        [*headers, (name, value)],
        [*headers[:at], (name, BYTES[choice.other % len(BYTES)]), *headers[at + 1 :]],
        [*headers, *[(f"x-{i}", b"") for i in range(40)]],
    ][choice.other % 4]
    return replace(record, headers=tuple(made))


def _stamp(record: StoredRecord, _good: Sequence[StoredRecord], choice: Choice) -> StoredRecord:
    return replace(record, timestamp=STAMPS[choice.at % len(STAMPS)])


def _whole(record: StoredRecord, _good: Sequence[StoredRecord], _choice: Choice) -> StoredRecord:
    return record


#: Every way, the mildest first; what spoils inside of the value comes oftener.
WAYS: Sequence[Callable[[StoredRecord, Sequence[StoredRecord], Choice], StoredRecord]] = (
    _whole,
    _key,
    _stamp,
    _headers,
    *([_at(_set)] * 5),
    *([_at(_swap)] * 2),
    _at(_drop),
    _at(_repeat),
    _at(_deep),
    _truncated,
    _flipped,
    _bytes,
    _nothing,
)


def told(record: StoredRecord) -> Mapping[str, bytes | None]:
    """Headers by name, as a reader takes them."""
    return dict(record.headers)
