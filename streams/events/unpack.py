"""Decode a captured value in MessagePack: the envelope of the JSON form, with packed columns and times.

As in `streams.events.codec`, a compiled decoder takes the plain form, and a value that it refuses is read
again field by field. The encoding must be canonical: each field once, each in its shortest form. Encoding the
decoded value again checks both, because a repeated field or a longer form makes the original longer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Union

import msgspec
import numpy as np
from msgspec import msgpack

from streams.errors import MalformedError
from streams.events import check, wire
from streams.events.batch import Batch
from streams.events.kinds import Kind, Kinds
from streams.events.packed import Layout, Masked, Packed, Raw
from streams.events.wire import Scalar
from streams.limits import TIME_NS_MAX, VALUE_BYTES_MAX

_Map = dict[str, Scalar]
#: Type of each field that is no scalar, and its description for errors.
_FORMS: Mapping[str, tuple[Any, str]] = {
    "columns": (dict[str, msgspec.Raw], "a map of columns"),
    "context": (_Map, "a map"),
    "context_changes": (list[_Map] | None, "an array of maps"),
    "t_ns": (bytes | None, "bytes"),
}
_TIME_BYTES = 8


class Unpacker:
    """Reads packed values of a set of kinds with a decoder that is compiled for their columns."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self.layouts = {kind.name: Layout(kind) for kind in kinds.captured}
        forms = [wire.struct(kind, _types(kind, self.layouts[kind.name]), bytes) for kind in kinds.captured]
        self._decoder = msgpack.Decoder(Union[tuple(forms)])  # noqa: UP007
        self._write = msgpack.Encoder().encode

    def decode(self, value: bytes | None, position: int, appended_ns: int) -> Batch:
        """Read a captured batch; MalformedError names the field, what was found and what was expected."""
        if value is None or len(value) > VALUE_BYTES_MAX:
            got = "no value" if value is None else f"{len(value)} bytes"
            raise MalformedError(
                f"value: found {got}, expected at most {VALUE_BYTES_MAX} bytes of MessagePack"
            )
        return self._plain(value, position, appended_ns) or self._looked_at(value, position, appended_ns)

    def _plain(self, value: bytes, position: int, appended_ns: int) -> Batch | None:
        """Batch of a value in the plain form; None for any other value, valid or not."""
        try:
            read: Any = self._decoder.decode(value)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return None
        if len(self._write(read)) != len(value):
            return None
        layout, count = self.layouts[type(read).__name__], read.n
        raw: dict[str, Raw] = msgspec.structs.asdict(read.columns)
        if not layout.right(raw, count):
            return None
        if len(layout.types) < len(raw) and any(
            len(texts) != count for name, texts in raw.items() if name not in layout.types
        ):
            return None
        t_ns = None
        if read.t_ns is not None:
            times = np.frombuffer(read.t_ns, "<i8") if len(read.t_ns) == count * _TIME_BYTES else None
            if times is None or times.min() < 0 or times.max() > TIME_NS_MAX:
                return None
            t_ns = times.tolist()
        return wire.batch_of(read, Packed(raw, layout, count), t_ns, position, appended_ns)

    def _looked_at(self, value: bytes, position: int, appended_ns: int) -> Batch:
        fields = _fields(value)
        batch = check.batch_of(
            fields, self._kinds, (position, appended_ns), captured=True, columns=self._columns, times=_times
        )
        # Checked before the types: which of two fields of one name would be judged is undefined.
        if len(self._write({**fields, "columns": batch.columns.raw})) != len(value):  # type: ignore[attr-defined]
            raise MalformedError(
                "value: found a field twice, or one in more bytes than it needs; expected each once, in its "
                "shortest form"
            )
        check.check_types(batch.columns, self._kinds[batch.kind])
        return batch

    def _columns(self, columns: Any, kind: Kind, count: int) -> Packed:
        if type(columns) is not dict or not kind.may_have(columns.keys()):
            raise check.other_names(kind)
        layout = self.layouts[kind.name]
        raw: dict[str, Any] = {}
        for name, written in columns.items():
            path = f"columns.{name}"
            if name in layout.types:
                raw[name] = _read(written, bytes | list[bytes], path, "bytes, or a mask and bytes")
                continue
            raw[name] = texts = _read(written, list[Scalar], path, "an array of texts")
            if len(texts) != count:
                raise MalformedError(f"{path}: found {len(texts)} values, expected a list of n = {count}")
        layout.check(raw, count)
        return Packed(raw, layout, count)


def _types(kind: Kind, layout: Layout) -> dict[str, Any]:
    types: dict[str, Any] = {}
    for name, wanted in kind.columns.items():
        text: Any = wire.text_type(wanted)
        if text is None:
            types[name] = Masked if name in layout.nullable else bytes
        else:
            types[name] = list[text | None] if wanted.endswith("?") else list[text]
    return types


def _fields(value: bytes) -> dict[str, Any]:
    """Fields of a value by name. Each is decoded as its own type, so foreign objects are never built."""
    try:
        written = msgpack.decode(value, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise MalformedError("value: found bytes that are not MessagePack, expected one map") from None
    except RecursionError:
        raise MalformedError(
            "value: found objects too deep inside one another, expected an envelope and its columns"
        ) from None
    check.check_names(written)
    fields = {}
    for name, content in written.items():
        form, expected = _FORMS.get(name, (Scalar, "a number or a text"))
        fields[name] = _read(content, form, name, expected)
    return fields


def _read(content: msgspec.Raw, form: Any, path: str, expected: str) -> Any:
    try:
        return msgpack.decode(content, type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise MalformedError(f"{path}: found another form of MessagePack, expected {expected}") from None


def _times(t_ns: Any, count: int) -> Sequence[int]:
    if type(t_ns) is not bytes or len(t_ns) != count * _TIME_BYTES:
        got = f"{len(t_ns)} bytes" if type(t_ns) is bytes else type(t_ns).__name__
        raise MalformedError(
            f"t_ns: found {got}, expected {count * _TIME_BYTES} bytes, an integer of 8 bytes for each of "
            f"n = {count}"
        )
    times = np.frombuffer(t_ns, "<i8")
    if times.min() < 0 or times.max() > TIME_NS_MAX:
        raise MalformedError("t_ns: found a value that is no time, expected nanoseconds since the epoch")
    return list(times.tolist())
