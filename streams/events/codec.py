"""Encode and decode the value of a record: a JSON object or a MessagePack map (docs/architecture.md, Wire).

A captured value is read by a compiled msgspec decoder that knows the fields and column types of every kind,
so that a valid batch costs no Python work per event. A value that this decoder refuses is read again by
`streams.events.check`, field by field, which accepts the rarer forms and says what is wrong with the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, groupby
from struct import Struct
from typing import Annotated, Any, Union, cast

import msgspec
import numpy as np
import orjson
from msgspec.structs import asdict, replace

from streams.events import check, wire
from streams.events.batch import JSON, MESSAGEPACK, Batch, Context
from streams.events.kinds import RANGES, Kind, Kinds
from streams.events.packed import Floats, Packed, arrays
from streams.events.unpack import Unpacker
from streams.limits import EVENTS_PER_BATCH_MAX, MAGNITUDE_MAX, VALUE_BYTES_MAX

VERSION = check.VERSION
#: msgspec and orjson read integers beyond 64 bits differently (int or float), so `check` reads those.
_Number = (
    Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    | Annotated[float, msgspec.Meta(ge=-MAGNITUDE_MAX, le=MAGNITUDE_MAX)]
)
_VALUES: Mapping[str, Any] = {"number": _Number, "flag": bool}


def _column(name: str, wanted: str) -> Any:
    """Type of the column `name`: a list of values of type `wanted`."""
    value = wire.text_type(wanted) or _VALUES[wanted.rstrip("?")]
    if name in RANGES:
        bounds = msgspec.Meta(ge=RANGES[name][0], le=RANGES[name][1])
        value = Annotated[int, bounds] | Annotated[float, bounds]
    return list[value | None] if wanted.endswith("?") else list[value]  # type: ignore[valid-type]


def _form(kind: Kind) -> type:
    columns = {name: _column(name, wanted) for name, wanted in kind.columns.items()}
    return wire.struct(kind, columns, list[wire.Time])


def encode(batch: Batch, **extra: Any) -> bytes:
    """Bytes of a batch: MessagePack if its columns are packed, JSON if they are lists.

    `extra` are further envelope fields, such as a split batch's source digest.
    """
    columns = batch.columns
    value: dict[str, Any] = {
        "v": VERSION,
        "kind": batch.kind,
        "device_id": batch.source,
        "wearer_id": batch.wearer_id,
        "session_id": batch.session_id,
        "stream": batch.stream,
        "first": batch.run.first,
        "n": batch.run.count,
        "t0_ns": batch.t0_ns,
        "dt_ns": batch.dt_ns,
        "clock": batch.clock,
        "origin": batch.origin,
        "context": {} if batch.context is None else asdict(batch.context),
        **extra,
        "columns": columns.raw if isinstance(columns, Packed) else columns,
    }
    if batch.run.step != 1:
        value["step"] = batch.run.step
    if batch.revision:
        value["revision"] = batch.revision
    if batch.t_ns is not None:
        del value["dt_ns"]
        value["t_ns"] = np.array(batch.t_ns, "<i8").tobytes() if isinstance(columns, Packed) else batch.t_ns
    if batch.changes:
        value["context_changes"] = [{"at": at, **asdict(context)} for at, context in batch.changes]
    return msgspec.msgpack.encode(value) if isinstance(columns, Packed) else orjson.dumps(value)


class Codec:
    """Reads the values of a set of kinds with decoders that are compiled for their columns.

    Get one from `codec_of`, which keeps one codec for each set of kinds: compiling takes about 15 ms.
    """

    def __init__(self, kinds: Kinds) -> None:
        self.kinds = kinds
        self._decoder = msgspec.json.Decoder(Union[tuple(map(_form, kinds.captured))])  # noqa: UP007
        self._packed = Unpacker(kinds)
        # Number of keys in a plain value of a kind, which equals the number of colons outside its texts.
        own = wire.FIELDS + len(Context.__struct_fields__)
        self._colons = {kind.name: own + len(kind.columns) for kind in kinds.captured}
        # Column names of the kinds whose columns are all numbers that are never null.
        self._numeric = {
            kind.name: tuple(kind.columns)
            for kind in kinds.captured
            if set(kind.columns.values()) == {"number"}
        }

    def decode(
        self,
        value: bytes | None,
        position: int,
        appended_ns: int = 0,
        *,
        content_type: bytes = JSON,
        captured: bool = True,
    ) -> Batch:
        """Read a captured or a derived batch; `position` is its offset, `appended_ns` its append time.

        `content_type` is the record's header; a value in another encoding is refused. Derived batches are
        always JSON. MalformedError names the field, what was found (a type or a count) and what was expected.
        """
        if content_type == MESSAGEPACK and captured:
            return self._packed.decode(value, position, appended_ns)
        plain = self.decode_plain(value, position, appended_ns) if captured and value is not None else None
        if plain is not None:
            return plain
        return check.decode(value, position, appended_ns, self.kinds, captured=captured)

    def decode_plain(self, value: bytes, position: int, appended_ns: int) -> Batch | None:
        """Batch of a captured value in the plain form; None for any other value, valid or not."""
        # Decoders may disagree about escapes and text beyond ASCII; both are rare and left to `check`.
        if len(value) > VALUE_BYTES_MAX or not value.isascii() or b"\\" in value:
            return None
        try:
            read = self._decoder.decode(value)
        except (msgspec.MsgspecError, RecursionError):
            return None
        if value.count(b":") != self._colons[type(read).__name__] + read.origin.count(":") + read.clock.count(
            ":"
        ):
            return None  # a repeated key, about which parsers disagree, or a text that contains a colon
        columns: dict[str, list[Any]] = asdict(read.columns)
        count, t_ns = read.n, read.t_ns
        for values in columns.values():
            if len(values) != count:
                return None
        if t_ns is not None and len(t_ns) != count:
            return None
        return wire.batch_of(read, columns, t_ns, position, appended_ns)

    def packed(self, batch: Batch) -> Batch:
        """Convert a captured batch to its MessagePack form: columns are packed and rounded to their types.

        InputError if a number does not fit the type of its column.
        """
        layout = self._packed.layouts[batch.kind]
        return replace(batch, columns=layout.pack(batch.columns, batch.run.count))

    def hold_floats(self, batch: Batch) -> None:
        """Replace the column lists of a batch by packed floats, in place, if its kind has only numbers.

        This takes a quarter of the memory, and `column` can join the columns of a fetch in one copy. Do not
        call it on a batch that is still to be encoded: integers would be written as floats.
        """
        names = self._numeric.get(batch.kind)
        columns = batch.columns
        if names is not None and isinstance(columns, dict):
            pack = _floats(batch.run.count).pack
            for name in names:
                columns[name] = memoryview(pack(*columns[name])).cast("d")


@lru_cache(maxsize=EVENTS_PER_BATCH_MAX)
def _floats(count: int) -> Struct:
    return Struct(f"{count}d")


@lru_cache(maxsize=16)
def codec_of(kinds: Kinds) -> Codec:
    """Return the codec of a set of kinds, the same object for equal sets."""
    return Codec(kinds)


def column(batches: Iterable[Batch], name: str) -> Floats:
    """Concatenate one column of numbers or flags over batches, shape (events,); NaN replaces null."""
    parts = [
        arrays(cast("Iterable[Packed]", some), name) if held is Packed else _listed([of[name] for of in some])
        for held, some in groupby((batch.columns for batch in batches), type)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0), *parts])


def _listed(values: Sequence[Sequence[Any]]) -> Floats:
    if all(type(held) is memoryview for held in values):
        return np.frombuffer(b"".join(values))  # type: ignore[arg-type]  # memoryviews, of floats
    try:
        return np.fromiter(chain.from_iterable(values), dtype=np.float64)
    except TypeError:  # `fromiter` refuses None, `array` turns it into NaN
        return np.array(list(chain.from_iterable(values)), dtype=np.float64)
