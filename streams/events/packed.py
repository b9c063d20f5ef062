"""Columns of a batch as bytes: numbers of one type end to end, little-endian, as MessagePack carries them.

Text stays a list. A nullable column is two byte strings: a mask with one bit per event (set if there is a
value; the first event is the lowest bit), and the values, zero where there is none. The encoding is
canonical: equal columns have equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streams.errors import InputError, MalformedError
from streams.events.batch import PackedColumns
from streams.events.kinds import RANGES, Kind
from streams.limits import EVENTS_PER_BATCH_MAX, MAGNITUDE_MAX

Floats = NDArray[np.float64]
#: A mask and the values under it.
Masked: TypeAlias = "tuple[bytes, bytes]"
#: A column as it travels: bytes, bytes under a mask, or texts.
Raw: TypeAlias = "bytes | Masked | Sequence[str | None]"
_FLAG, _SHORT_BYTES = np.dtype("?"), 4


class Layout:
    """How the columns of one kind are packed.

    `types` has the NumPy type of each packed column; `nullable` names the columns that have a mask.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.types: dict[str, np.dtype[Any]] = {}
        self.nullable: set[str] = set()
        for name, wanted in kind.columns.items():
            plain = wanted.rstrip("?")
            if plain in {"number", "flag"}:
                self.types[name] = np.dtype(f"<{kind.wire[name]}") if plain == "number" else _FLAG
                if wanted != plain:
                    self.nullable.add(name)
        self._sizes = tuple((name, held.itemsize) for name, held in self.types.items())
        self._flags = tuple(name for name, held in self.types.items() if held == _FLAG)
        self._ranged = tuple(name for name in self.types if name in RANGES)
        # Float columns with no bounds but MAGNITUDE_MAX, by type: one check covers all of a type.
        self._floats = tuple(
            (held, names)
            for held in dict.fromkeys(held for held in self.types.values() if held.kind == "f")
            if (names := [name for name in self.types if self.types[name] == held and name not in RANGES])
        )

    def pack(self, columns: Mapping[str, Sequence[Any]], count: int) -> Packed:
        """Pack columns of Python values; numbers of type `f4` are rounded here.

        InputError if a number does not fit its type: it is too large, or is no integer where one is needed.
        """
        raw: dict[str, Raw] = {}
        for name in self.kind.columns:
            if name in self.kind.later and name not in columns:
                continue
            values = columns[name]
            if name not in self.types:
                raw[name] = list(values)
            elif name in self.nullable:
                held = [value is not None for value in values]
                mask = np.packbits(np.array(held, np.bool_), bitorder="little").tobytes()
                raw[name] = mask, self._bytes(name, [0 if value is None else value for value in values])
            else:
                raw[name] = self._bytes(name, values)
        return Packed(raw, self, count)

    def _bytes(self, name: str, values: Sequence[Any]) -> bytes:
        held = self.types[name]
        given = np.array(values)
        with np.errstate(over="ignore", invalid="ignore"):
            # NumPy makes objects of integers beyond 64 bits, and these convert to floats only.
            made = given.astype(np.float64 if given.dtype == object else held).astype(held)
        kept = np.isfinite(made).all() if held.kind == "f" else (made == given).all()
        if not kept:
            raise InputError(
                f"columns.{name}: found a number that its type {held.str[1:]} cannot hold, expected one that "
                "it can; give the column a wider type in its kind"
            )
        return made.tobytes()

    def right(self, raw: Mapping[str, Any], count: int) -> bool:
        """Whether the packed columns of `count` events are well-formed and within bounds.

        If not, `check` says what is wrong with the form, and `streams.events.check` with the bounds.
        """
        values: Mapping[str, bytes] = raw
        if self.nullable:
            values = {**raw, **{name: raw[name][1] for name in self.nullable}}
        for name, size in self._sizes:
            if len(values[name]) != count * size:
                return False
        for held, names in self._floats:
            if not _bounded(np.frombuffer(b"".join([values[name] for name in names]), held)):
                return False
        for name in self._flags:
            if values[name].strip(b"\0\1"):
                return False
        for name in self._ranged:
            if not _within(np.frombuffer(values[name], self.types[name]), name):
                return False
        return not self.nullable or self._masks_right(raw, count)

    def _masks_right(self, raw: Mapping[str, Any], count: int) -> bool:
        for name in self.nullable:
            mask, values = raw[name]
            if mask != _full(count) and not _masked_right(mask, values, count):
                return False
        return True

    def check(self, raw: Mapping[str, Any], count: int) -> None:
        """MalformedError names the first packed column of `count` events whose form is wrong."""
        for name, held in self.types.items():
            data, path = raw[name], f"columns.{name}"
            if name in self.nullable:
                if not (type(data) is list and len(data) == 2 and set(map(type, data)) == {bytes}):
                    raise MalformedError(f"{path}: found no pair, expected a mask and values, both bytes")
                mask, data = data
                if len(mask) != len(_full(count)):
                    raise MalformedError(
                        f"{path}: found a mask of {len(mask)} bytes, expected {len(_full(count))}, a bit for "
                        f"each of n = {count}"
                    )
            if type(data) is not bytes:
                raise MalformedError(f"{path}: found {type(data).__name__}, expected bytes")
            if len(data) != count * held.itemsize:
                raise MalformedError(
                    f"{path}: found {len(data)} bytes, expected {count * held.itemsize}, {held.itemsize} for "
                    f"each of n = {count}"
                )
            if name in self.nullable and not _masked_right(mask, data, count):
                raise MalformedError(
                    f"{path}: found a mask that disagrees with its values, expected zeros where it has no "
                    "bit, and no bit behind the last event"
                )
            if held == _FLAG and data.strip(b"\0\1"):
                raise MalformedError(f"{path}: found a byte that is no flag, expected 0 or 1")


class Packed(PackedColumns):
    """The columns of a batch of `count` events, packed.

    As a mapping it gives lists of Python values (None for null), built on each access; to compute with
    numbers, use `array`. `raw` holds the columns as they travel.
    """

    __slots__ = ("count", "layout", "raw")

    def __init__(self, raw: Mapping[str, Raw], layout: Layout, count: int) -> None:
        self.raw, self.layout, self.count = raw, layout, count

    def __getitem__(self, name: str) -> list[Any]:
        data: Any = self.raw[name]
        held = self.layout.types.get(name)
        if held is None:
            return list(data)
        if name not in self.layout.nullable:
            return list(np.frombuffer(data, held).tolist())
        mask, data = data
        values = np.frombuffer(data, held).tolist()
        return [
            value if has else None
            for value, has in zip(values, _bits(mask, self.count).tolist(), strict=True)
        ]

    def __iter__(self) -> Iterator[str]:
        return iter(self.raw)

    def __len__(self) -> int:
        return len(self.raw)

    def array(self, name: str) -> Floats:
        """A column of numbers or flags, shape (count,); NaN where there is no value."""
        data: Any = self.raw[name]
        held = self.layout.types[name]
        if name not in self.layout.nullable:
            return np.frombuffer(data, held).astype(np.float64)
        mask, data = data
        values = np.frombuffer(data, held).astype(np.float64)
        if mask != _full(self.count):
            values[~_bits(mask, self.count)] = np.nan
        return values

    def part(self, start: int, end: int) -> Packed:
        """Events `start` to `end` (exclusive), packed as they are."""
        raw: dict[str, Raw] = {}
        for name in self.raw:
            data: Any = self.raw[name]
            held = self.layout.types.get(name)
            if held is None:
                raw[name] = data[start:end]
                continue
            inside = slice(start * held.itemsize, end * held.itemsize)
            if name in self.layout.nullable:
                mask, values = data
                bits = _bits(mask, self.count)[start:end]
                raw[name] = np.packbits(bits, bitorder="little").tobytes(), values[inside]
            else:
                raw[name] = data[inside]
        return Packed(raw, self.layout, end - start)


def arrays(columns: Iterable[Packed], name: str) -> Floats:
    """One column of numbers or flags of many packed batches, end to end; NaN where there is no value."""
    parts = list(columns)
    layout = parts[0].layout
    if name in layout.nullable or any(part.layout is not layout for part in parts):
        return np.concatenate([part.array(name) for part in parts])
    joined = b"".join([part.raw[name] for part in parts])  # type: ignore[misc]  # bytes: it has no mask
    return np.frombuffer(joined, layout.types[name]).astype(np.float64)


@lru_cache(maxsize=EVENTS_PER_BATCH_MAX)
def _full(count: int) -> bytes:
    """Mask of `count` events that all have a value."""
    return np.packbits(np.ones(count, np.bool_), bitorder="little").tobytes()


def _bits(mask: bytes, count: int) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(mask, np.uint8), count=count, bitorder="little").astype(np.bool_)


def _masked_right(mask: bytes, data: bytes, count: int) -> bool:
    """Whether a mask has no bits beyond the last event, and every value without a bit is zero bytes."""
    if len(mask) != len(_full(count)):
        return False
    rows = np.frombuffer(data, np.uint8).reshape(count, -1)
    beyond = mask[-1] >> (count - 1) % 8 + 1
    return not beyond and not rows[~_bits(mask, count)].any()


def _bounded(values: NDArray[Any]) -> bool:
    """Whether every value is finite and at most MAGNITUDE_MAX in size."""
    # For arrays this small a search through bytes takes a third of the time of NumPy's `all`.
    finite = 0 not in np.isfinite(values).tobytes()
    # Every finite 4-byte float is within the bounds.
    return finite and (values.itemsize == _SHORT_BYTES or bool(np.abs(values).max() <= MAGNITUDE_MAX))


def _within(values: NDArray[Any], name: str) -> bool:
    least, greatest = RANGES[name]
    return bool(((values >= least) & (values <= greatest)).all())
