"""Read a value field by field and say what is wrong with it: the slow path behind `streams.events.codec`.

All derived batches are read here, and so are captured batches with rare features (`context_changes`,
`split_from`, text beyond ASCII). Every malformed value ends here too. Error messages name fields, types and
counts and never quote a value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import chain
from types import NoneType
from typing import Any

import orjson
from msgspec.structs import asdict

from streams.errors import MalformedError
from streams.events.batch import CONTEXT_VALUES, Batch, Change, Context
from streams.events.identity import NAME_PATTERN, STREAM_PATTERN
from streams.events.kinds import RANGES, TOKEN, Kind, Kinds, text_form
from streams.events.runs import Run
from streams.limits import (
    EVENTS_PER_BATCH_MAX,
    MAGNITUDE_MAX,
    NUMBER_MAX,
    REVISION_MAX,
    TIME_NS_MAX,
    VALUE_BYTES_MAX,
)

VERSION = 1
#: Fields of a value. What stands in another one would be passed on although no policy knows of it.
FIELDS = frozenset(
    {
        *("v", "kind", "device_id", "wearer_id", "session_id", "stream", "first", "n", "step", "revision"),
        *("t0_ns", "dt_ns", "t_ns", "clock", "origin", "context", "context_changes", "split_from", "columns"),
    }
)
_TYPES: Mapping[str, frozenset[type]] = {"number": frozenset((int, float)), "flag": frozenset((bool,))}


def decode(value: bytes | None, position: int, appended_ns: int, kinds: Kinds, *, captured: bool) -> Batch:
    """Read a captured or a derived batch from JSON.

    MalformedError names the field, what was found (a type or a count) and what was expected.
    """
    if value is None or len(value) > VALUE_BYTES_MAX:
        actual = "no value" if value is None else f"{len(value)} bytes"
        raise MalformedError(f"value: found {actual}, expected at most {VALUE_BYTES_MAX} bytes of JSON")
    try:
        fields = orjson.loads(value)
    except orjson.JSONDecodeError:
        raise MalformedError("value: found bytes that are not JSON, expected one JSON object") from None
    if type(fields) is not dict:
        raise MalformedError(f"value: found a JSON {type(fields).__name__}, expected an object")
    batch = batch_of(
        fields, kinds, (position, appended_ns), captured=captured, columns=_columns, times=_check_times
    )
    _check_keys(value, fields)
    check_types(batch.columns, kinds[batch.kind])
    return batch


def batch_of(
    fields: Mapping[str, Any],
    kinds: Kinds,
    at: tuple[int, int],
    *,
    captured: bool,
    columns: Callable[[Any, Kind, int], Mapping[str, Sequence[Any]]],
    times: Callable[[Any, int], Sequence[int]],
) -> Batch:
    """Batch made of the decoded fields of a value; `at` is (position, append time in ns).

    `columns` and `times` read the two fields that JSON and MessagePack encode differently. The types of the
    values in columns are left to `check_types`. MalformedError names the field that is wrong.
    """
    check_names(fields)
    if type(fields.get("v")) is not int or fields["v"] != VERSION:
        raise MalformedError(f"v: found another version or none, expected {VERSION}")
    kind = kinds.named(fields.get("kind"), captured=captured)
    count = _integer(fields, "n", 1, EVENTS_PER_BATCH_MAX)
    first = _integer(fields, "first", 0, NUMBER_MAX)
    step = _integer(fields, "step", 1, NUMBER_MAX) if "step" in fields else 1
    if first + step * (count - 1) > NUMBER_MAX:
        raise MalformedError(
            f"first: found one that numbers the last event out of range, expected numbers up to {NUMBER_MAX}"
        )
    if captured and step != 1:
        raise MalformedError("step: a captured batch has consecutive numbers, remove the field")
    revision = _integer(fields, "revision", 0, REVISION_MAX) if "revision" in fields else 0
    if captured and revision:
        raise MalformedError("revision: only what is derived is corrected, remove the field")
    split_from = fields.get("split_from", "")
    if type(split_from) is not str or (split_from and NAME_PATTERN.fullmatch(split_from) is None):
        raise MalformedError("split_from: found no digest, expected that of the value that was split")
    read_columns = columns(fields.get("columns"), kind, count)
    t_ns = fields.get("t_ns")
    if t_ns is None:
        t0_ns, dt_ns = _integer(fields, "t0_ns", 0, TIME_NS_MAX), _integer(fields, "dt_ns", 0, TIME_NS_MAX)
        if t0_ns + dt_ns * (count - 1) > TIME_NS_MAX:
            raise MalformedError(
                f"dt_ns: found one that puts the last event out of range, expected times up to {TIME_NS_MAX}"
            )
    else:
        t_ns = times(t_ns, count)
        t0_ns, dt_ns = t_ns[0], 0
    context = (
        None
        if not captured and fields.get("context") == {}
        else _check_context(fields.get("context"), "context")
    )
    return Batch(
        kind=kind.name,
        source=_name(fields, "device_id"),
        wearer_id=_name(fields, "wearer_id"),
        session_id=_name(fields, "session_id"),
        stream=_stream(fields),
        run=Run(first, step, count),
        t0_ns=t0_ns,
        dt_ns=dt_ns,
        origin=_text(fields, "origin"),
        context=context,
        columns=read_columns,
        t_ns=t_ns,
        changes=_changes(fields.get("context_changes"), context, count),
        position=at[0],
        clock=_text(fields, "clock"),
        appended_ns=at[1],
        revision=revision,
    )


def check_names(fields: Mapping[str, Any]) -> None:
    """Refuse a value with an unknown field; MalformedError lists the known ones."""
    if not fields.keys() <= FIELDS:
        raise MalformedError(f"value: found a field of another name, expected {', '.join(sorted(FIELDS))}")


def check_events(events: Sequence[Mapping[str, Any]], kind: Kind) -> None:
    """Check events of `kind`, each a mapping from column to value; MalformedError names the wrong column."""
    if any(event.keys() != kind.columns.keys() for event in events):
        raise other_names(kind)
    check_types({name: [event[name] for event in events] for name in kind.columns}, kind)


def right_names(source: str, wearer: str, session: str, stream: str, origin: str, clock: str) -> bool:
    """Whether the names of a captured batch have the right form."""
    return (
        all(NAME_PATTERN.fullmatch(name) for name in (source, wearer, session))
        and STREAM_PATTERN.fullmatch(stream) is not None
        and TOKEN.takes(origin)
        and TOKEN.takes(clock)
    )


def _integer(fields: Mapping[str, Any], name: str, lowest: int, highest: int) -> int:
    value = fields.get(name)
    if type(value) is not int or not lowest <= value <= highest:
        actual = type(value).__name__ if type(value) is not int else "a number out of range"
        raise MalformedError(f"{name}: found {actual}, expected an integer from {lowest} to {highest}")
    return value


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if type(value) is not str or not TOKEN.takes(value):
        actual = "a text of another form" if type(value) is str else type(value).__name__
        raise MalformedError(f"{name}: found {actual}, expected {TOKEN.description}")
    return value


def _name(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if type(value) is not str or NAME_PATTERN.fullmatch(value) is None:
        raise MalformedError(
            f"{name}: found no usable name, expected lower-case letters, digits and hyphens, at most 63"
        )
    return value


def _stream(fields: Mapping[str, Any]) -> str:
    value = fields.get("stream")
    if type(value) is not str or STREAM_PATTERN.fullmatch(value) is None:
        raise MalformedError("stream: found no usable name, expected one such as imu-right or imu-right~2")
    return value


def _columns(columns: Any, kind: Kind, count: int) -> dict[str, list[Any]]:
    if type(columns) is not dict:
        raise other_names(kind)
    # Records of before a derived kind had a column stay on the topics; it is null there.
    absent: dict[str, list[Any]] = {} if kind.captured else {name: [None] * count for name in kind.nullable}
    read = absent | columns
    if not kind.may_have(read.keys()):
        raise other_names(kind)
    for name, values in read.items():
        if type(values) is not list or len(values) != count:
            actual = f"{len(values)} values" if type(values) is list else type(values).__name__
            raise MalformedError(f"columns.{name}: found {actual}, expected a list of n = {count}")
    return read


def other_names(kind: Kind) -> MalformedError:
    """Error for a value whose column names are not those of `kind`."""
    return MalformedError(
        f"columns: found other names than the {len(kind.columns)} of kind {kind.name}, expected "
        f"{', '.join(kind.columns)}"
    )


def _check_times(t_ns: Any, count: int) -> Sequence[int]:
    if type(t_ns) is not list or len(t_ns) != count:
        raise MalformedError(f"t_ns: found another length or type, expected a list of n = {count} integers")
    if any(type(t) is not int or not 0 <= t <= TIME_NS_MAX for t in t_ns):
        raise MalformedError(
            "t_ns: found a value that is no time, expected integers, nanoseconds since the epoch"
        )
    return list(t_ns)


def _check_context(context: Any, path: str) -> Context:
    if type(context) is not dict or context.keys() != CONTEXT_VALUES.keys():
        raise MalformedError(f"{path}: found other fields, expected {', '.join(CONTEXT_VALUES)}")
    for name, allowed in CONTEXT_VALUES.items():
        value = context[name]
        if isinstance(allowed, type):
            if type(value) is not allowed:
                raise MalformedError(
                    f"{path}.{name}: found {type(value).__name__}, expected {allowed.__name__}"
                )
        elif type(value) is not str or value not in allowed:
            raise MalformedError(
                f"{path}.{name}: found a word that is not known, expected one of {', '.join(sorted(allowed))}"
            )
    if not 0 <= context["consent"] <= NUMBER_MAX:
        raise MalformedError(f"{path}.consent: found a number out of range, expected 0 to {NUMBER_MAX}")
    return Context(**context)


def _changes(changes: Any, context: Context | None, count: int) -> tuple[Change, ...]:
    if changes is None:
        return ()
    if type(changes) is not list or context is None:
        raise MalformedError(f"context_changes: found {type(changes).__name__}, expected a list")
    result: list[Change] = []
    before = 0
    for change in changes:
        at = change.get("at") if type(change) is dict else None
        if type(at) is not int or not before < at < count:
            raise MalformedError("context_changes: `at` must be an index inside the batch, increasing")
        before = at
        context = _check_context(
            {**asdict(context), **{k: v for k, v in change.items() if k != "at"}}, "context_changes"
        )
        result.append((at, context))
    return tuple(result)


@cache
def _types(wanted: str) -> frozenset[type]:
    types = _TYPES.get(wanted.rstrip("?"), frozenset((str,)))
    return types | {NoneType} if wanted.endswith("?") else types


def check_types(columns: Mapping[str, Sequence[Any]], kind: Kind) -> None:
    """Check the type, form and bounds of every value in `columns`; MalformedError names the wrong column."""
    for name, wanted in kind.columns.items():
        if name not in columns and name in kind.later:
            continue
        values = columns[name]
        form = text_form(wanted)
        if not _types(wanted).issuperset(map(type, values)):
            raise MalformedError(
                f"columns.{name}: found a value of another type, expected {wanted} in every place"
            )
        if form is not None and not all(form.takes(value) for value in values if value is not None):
            raise MalformedError(f"columns.{name}: found a text of another form, expected {form.description}")
        least, greatest = RANGES.get(name, (-MAGNITUDE_MAX, MAGNITUDE_MAX))
        if wanted.startswith("number") and not all(
            least <= value <= greatest for value in values if value is not None
        ):
            raise MalformedError(
                f"columns.{name}: found a value out of bounds, expected {least:g} to {greatest:g}"
            )


def _check_keys(value: bytes, fields: Mapping[str, Any]) -> None:
    """Refuse a JSON object that has the same key twice.

    Parsers differ in which of the two they keep, so a consumer could read another context than the one that
    was decided on.

    In a value without escapes every colon follows a key or is inside a text, so counting colons reveals a
    repeated key. Only if the count is off, or there are escapes, is the value parsed a second time.
    """
    objects = [fields, fields["context"], fields["columns"], *(fields.get("context_changes") or ())]
    texts = [*fields.values(), *chain.from_iterable(fields["columns"].values())]
    colons = sum(map(len, objects)) + sum(text.count(":") for text in texts if type(text) is str)
    if b"\\" in value or value.count(b":") != colons:
        try:
            json.loads(value, object_pairs_hook=_unrepeated)
        except RecursionError:
            raise MalformedError(
                "value: found objects too deep inside one another, expected an envelope and its columns"
            ) from None


def _unrepeated(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise MalformedError("value: found an object with a key twice, expected each once")
    return fields
