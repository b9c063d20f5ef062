"""The envelope of a captured value, common to JSON and MessagePack, as msgspec structs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import msgpack

from streams.events import check
from streams.events.batch import Batch, Context
from streams.events.kinds import Kind, text_form
from streams.events.runs import Run
from streams.limits import EVENTS_PER_BATCH_MAX, NAMES_KNOWN_MAX, NUMBER_MAX, TIME_NS_MAX

#: Number of fields in a plain value: the whole envelope with either `dt_ns` or `t_ns`.
FIELDS = 14
Time = Annotated[int, msgspec.Meta(ge=0, le=TIME_NS_MAX)]
#: Content of an envelope field that is neither a list nor a map.
Scalar = None | bool | int | float | str
Names = tuple[str, str, str, str, str, str]


def text_type(wanted: str) -> Any:
    """Type, for msgspec, of one text in a column of type `wanted`; None if it holds numbers or flags."""
    form = text_form(wanted)
    if form is None:
        return None
    if form.words:
        return Literal[form.words]
    # msgspec uses `re.search`, so the pattern needs anchors; `$` would also accept a newline at the end.
    pattern = rf"\A(?:{form.pattern.pattern})\Z"
    return Annotated[str, msgspec.Meta(max_length=form.characters_max, pattern=pattern)]


def struct(kind: Kind, columns: Mapping[str, Any], times: Any) -> type:
    """Make the struct of a captured value of `kind`, without its rare fields.

    `columns` has the types of its columns, `times` is the type of `t_ns`. Fields with their default are not
    written.
    """
    packed = msgspec.defstruct(
        f"{kind.name}_columns", list(columns.items()), forbid_unknown_fields=True, gc=False
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
            ("columns", packed),
            ("t0_ns", Time),
            ("dt_ns", Time, -1),
            ("t_ns", times | None, None),
        ],
        tag_field="kind",
        tag=kind.name,
        forbid_unknown_fields=True,
        omit_defaults=True,
        gc=False,
    )


def batch_of(
    wire: Any,
    columns: Mapping[str, Sequence[Any]],
    t_ns: Sequence[int] | None,
    position: int,
    appended_ns: int,
) -> Batch | None:
    """Batch made of the decoded struct `wire`, given valid columns and times; None if the rest is invalid."""
    count, t0_ns, dt_ns = wire.n, wire.t0_ns, wire.dt_ns
    right = wire.first + count <= NUMBER_MAX
    if t_ns is not None:
        t0_ns, dt_ns = t_ns[0], 0
    else:
        right = right and dt_ns >= 0 and t0_ns + dt_ns * (count - 1) <= TIME_NS_MAX
    names = (wire.device_id, wire.wearer_id, wire.session_id, wire.stream, wire.origin, wire.clock)
    known = (_names_known.get(names) or _learn(names)) if right else None
    if known is None:
        return None
    source, wearer, session, stream, origin, clock = known
    return Batch(
        kind=type(wire).__name__,
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


#: Names that passed the check, each mapped to itself: batches of one stream then share the same strings.
_names_known: dict[Names, Names] = {}


def _learn(names: Names) -> Names | None:
    """Check names and remember them; None if one is malformed."""
    if not check.right_names(*names):
        return None
    if len(_names_known) >= NAMES_KNOWN_MAX:
        _names_known.clear()
    return _names_known.setdefault(names, names)


def packed_envelope(value: bytes) -> dict[str, Any]:
    """Return the unchecked scalars of a packed value's envelope; empty if the value is no MessagePack map.

    Used to describe a value that was refused.
    """
    try:
        fields = msgpack.decode(value, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return {}
    scalars = {}
    for name in ("device_id", "wearer_id", "stream", "first", "n"):
        try:
            scalars[name] = msgpack.decode(fields.get(name, b""), type=Scalar)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
    return scalars
