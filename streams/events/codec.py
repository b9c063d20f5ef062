"""The value of a record: one JSON object, columnar (docs/architecture.md, Wire).

A captured value is read by a compiled decoder that knows the fields and column types of every kind of a
set, so that a valid batch costs no work per event in Python. Whatever that decoder does not take is looked
at again by `streams.events.check`, field by field, which accepts the rarer forms and says in a sentence what
is wrong with the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import chain
from struct import Struct
from typing import Annotated, Any, Literal, Union

import msgspec
import numpy as np
import orjson
from msgspec.structs import asdict

from streams.events import check
from streams.events.batch import Batch, Context
from streams.events.kinds import RANGES, Kind, Kinds, text_form
from streams.events.runs import Run
from streams.limits import (
    EVENTS_PER_BATCH_MAX,
    MAGNITUDE_MAX,
    NAMES_KNOWN_MAX,
    NUMBER_MAX,
    TIME_NS_MAX,
    VALUE_BYTES_MAX,
)

VERSION = check.VERSION
#: Beyond 64 bits the two decoders differ (int or float), so those numbers are left to `check`.
_Number = (
    Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    | Annotated[float, msgspec.Meta(ge=-MAGNITUDE_MAX, le=MAGNITUDE_MAX)]
)
_VALUES: Mapping[str, Any] = {"number": _Number, "flag": bool}
#: Fields of every plain value: all that the envelope has, with one of `dt_ns` and `t_ns`.
_FIELDS = 14
_Time = Annotated[int, msgspec.Meta(ge=0, le=TIME_NS_MAX)]
Names = tuple[str, str, str, str, str, str]


def _column(name: str, wanted: str) -> Any:
    """Type of the column `name`: a list of values of type `wanted`."""
    form = text_form(wanted)
    value = _VALUES.get(wanted.rstrip("?"))
    if name in RANGES:
        bounds = msgspec.Meta(ge=RANGES[name][0], le=RANGES[name][1])
        value = Annotated[int, bounds] | Annotated[float, bounds]
    if form is not None and form.words:
        value = Literal[form.words]
    elif form is not None:
        # msgspec searches: what it finds must be the whole text, and `$` would let a newline stand behind it.
        pattern = rf"\A(?:{form.pattern.pattern})\Z"
        value = Annotated[str, msgspec.Meta(max_length=form.characters_max, pattern=pattern)]
    return list[value | None] if wanted.endswith("?") else list[value]  # type: ignore[valid-type]


def _wire(kind: Kind) -> type:
    """Form of a captured value of `kind` without its rarer fields."""
    columns = msgspec.defstruct(
        f"{kind.name}_columns",
        [(name, _column(name, wanted)) for name, wanted in kind.columns.items()],
        forbid_unknown_fields=True,
        gc=False,
    )
    return msgspec.defstruct(
        kind.name,
        [
            ("v", Literal[1]),
            ("device_id", str),
            ("wearer_id", str),
            ("session_id", str),
            ("stream", str),
            ("first", Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]),
            ("n", Annotated[int, msgspec.Meta(ge=1, le=EVENTS_PER_BATCH_MAX)]),
            ("clock", str),
            ("origin", str),
            ("context", Context),
            ("columns", columns),
            ("t0_ns", _Time),
            ("dt_ns", _Time, -1),
            ("t_ns", list[_Time] | None, None),
        ],
        tag_field="kind",
        tag=kind.name,
        forbid_unknown_fields=True,
        gc=False,
    )


def encode(batch: Batch, **extra: Any) -> bytes:
    """JSON bytes of a batch; `extra` are further envelope fields, such as a split batch's source digest."""
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
        "columns": batch.columns,
    }
    if batch.run.step != 1:
        value["step"] = batch.run.step
    if batch.revision:
        value["revision"] = batch.revision
    if batch.t_ns is not None:
        del value["dt_ns"]
        value["t_ns"] = batch.t_ns
    if batch.changes:
        value["context_changes"] = [{"at": at, **asdict(context)} for at, context in batch.changes]
    return orjson.dumps(value)


class Codec:
    """Reads values of a set of kinds, by decoders that are compiled for their columns.

    Made by `codec_of`, once for all who read the same kinds: compiling takes some 15 ms.
    """

    def __init__(self, kinds: Kinds) -> None:
        self.kinds = kinds
        self._decoder = msgspec.json.Decoder(Union[tuple(map(_wire, kinds.captured))])  # noqa: UP007
        # How many keys a plain value of a kind has, and so how many colons outside its texts.
        own = _FIELDS + len(Context.__struct_fields__)
        self._colons = {kind.name: own + len(kind.columns) for kind in kinds.captured}
        #: Kinds that have nothing but numbers, never null.
        self._plain = {
            kind.name: tuple(kind.columns)
            for kind in kinds.captured
            if set(kind.columns.values()) == {"number"}
        }

    def decode(
        self, value: bytes | None, position: int, appended_ns: int = 0, *, captured: bool = True
    ) -> Batch:
        """Read a batch, a captured one or a derived one, that stands at `position` since `appended_ns`.

        MalformedError with field, found (type or count) and expected.
        """
        plain = self.decode_plain(value, position, appended_ns) if captured and value is not None else None
        if plain is not None:
            return plain
        return check.decode(value, position, appended_ns, self.kinds, captured=captured)

    def decode_plain(self, value: bytes, position: int, appended_ns: int) -> Batch | None:
        """Batch of a captured value in the plain form; None for any other, right or wrong."""
        # Escapes and other alphabets are rare, and in them two decoders may differ.
        if len(value) > VALUE_BYTES_MAX or not value.isascii() or b"\\" in value:
            return None
        try:
            wire = self._decoder.decode(value)
        except (msgspec.MsgspecError, RecursionError):
            return None
        kind = type(wire).__name__
        if value.count(b":") != self._colons[kind] + wire.origin.count(":") + wire.clock.count(":"):
            return None  # a key twice, which another parser would read otherwise; or a text with a colon
        columns: dict[str, list[Any]] = asdict(wire.columns)
        count, t0_ns, dt_ns, t_ns = wire.n, wire.t0_ns, wire.dt_ns, wire.t_ns
        right = wire.first + count <= NUMBER_MAX
        for values in columns.values():
            right = right and len(values) == count
        if t_ns is not None:
            right = right and len(t_ns) == count
            t0_ns, dt_ns = t_ns[0] if right else 0, 0
        else:
            right = right and dt_ns >= 0 and t0_ns + dt_ns * (count - 1) <= TIME_NS_MAX
        names = (wire.device_id, wire.wearer_id, wire.session_id, wire.stream, wire.origin, wire.clock)
        known = (_names_known.get(names) or _learn(names)) if right else None
        if known is None:
            return None
        source, wearer, session, stream, origin, clock = known
        return Batch(
            kind=kind,
            source=source,
            wearer_id=wearer,
            session_id=session,
            stream=stream,
            run=Run(wire.first, 1, count),
            t0_ns=t0_ns,
            dt_ns=dt_ns,
            origin=origin,
            context=wire.context,
            columns=columns,
            t_ns=t_ns,
            position=position,
            clock=clock,
            appended_ns=appended_ns,
        )

    def pack(self, batch: Batch) -> None:
        """Hold the columns of a batch as packed floats from here on, if its kind has nothing but numbers.

        So they take a quarter of the memory, and `column` joins those of a fetch at once. Not for a batch
        that is still to be written: a whole number would be written as a float.
        """
        names = self._plain.get(batch.kind)
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
    """The codec of a set of kinds, the same one for equal sets."""
    return Codec(kinds)


#: Names that were checked, by themselves: batches of one stream then share the very same strings.
_names_known: dict[Names, Names] = {}


def _learn(names: Names) -> Names | None:
    """Remember names that are right; None for wrong ones."""
    if not check.right_names(*names):
        return None
    if len(_names_known) >= NAMES_KNOWN_MAX:
        _names_known.clear()
    return _names_known.setdefault(names, names)


def column(batches: Iterable[Batch], name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """One column of numbers of many batches, end to end; NaN where the device did not measure."""
    values = [batch.columns[name] for batch in batches]
    if all(type(packed) is memoryview for packed in values):
        return np.frombuffer(b"".join(values))  # type: ignore[arg-type]
    try:
        return np.fromiter(chain.from_iterable(values), dtype=np.float64)
    except TypeError:  # a null, which only the slower way takes
        return np.array(list(chain.from_iterable(values)), dtype=np.float64)
