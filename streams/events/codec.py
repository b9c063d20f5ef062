"""The value of a record: one JSON object, columnar (DESIGN section 4).

`decode` checks structure only, with no work per event; `check_columns` checks the types of whole columns over all
batches of a fetch at once, since one small check per batch would cost more than everything else together.
Messages name fields, types and counts and never a value.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from types import NoneType
from typing import Any

import numpy as np
import orjson
import xxhash

from streams.errors import MalformedError
from streams.events.batch import CONTEXT_VALUES, Batch, Change, Context
from streams.events.identity import NAME_PATTERN, STREAM_PATTERN
from streams.events.kinds import KINDS, kind_named
from streams.events.runs import Run
from streams.limits import EVENTS_PER_BATCH_MAX, MAGNITUDE_MAX, NUMBER_MAX, TEXT_CHARACTERS_MAX, VALUE_BYTES_MAX

VERSION = 1
_TYPES: Mapping[str, frozenset[type]] = {"number": frozenset((int, float)), "text": frozenset((str,)), "flag": frozenset((bool,)),
                                           "number?": frozenset((int, float, NoneType)), "text?": frozenset((str, NoneType))}
_TIME_NS_MAX = 2**62
_BOUNDS = {"numb": f"a magnitude of at most {MAGNITUDE_MAX:g}", "text": f"at most {TEXT_CHARACTERS_MAX} characters"}


def digest(value: bytes) -> str:
    """XXH3-128 of bytes, as hex: tells equal from different, not a signature."""
    return str(xxhash.xxh3_128_hexdigest(value))


def encode(batch: Batch, **extra: Any) -> bytes:
    """JSON bytes of a batch; `extra` are further envelope fields (such as the digest of a split batch's source)."""
    value: dict[str, Any] = {
        "v": VERSION, "kind": batch.kind, "device_id": batch.source, "wearer_id": batch.wearer_id, "session_id": batch.session_id,
        "stream": batch.stream, "first": batch.run.first, "n": batch.run.count, "t0_ns": batch.t0_ns, "dt_ns": batch.dt_ns,
        "clock": batch.clock, "origin": batch.origin, "context": batch.context, **extra, "columns": batch.columns}
    if batch.run.step != 1:
        value["step"] = batch.run.step
    if batch.t_ns is not None:
        del value["dt_ns"]
        value["t_ns"] = batch.t_ns
    if batch.changes:
        value["context_changes"] = [{"at": at, **context} for at, context in batch.changes]
    return orjson.dumps(value)


def decode(value: bytes | None, position: int, *, captured: bool = True) -> Batch:
    """Read a batch, a captured one or a derived one; MalformedError with field, found (type or count) and expected."""
    if value is None or len(value) > VALUE_BYTES_MAX:
        found = "no value" if value is None else f"{len(value)} bytes"
        raise MalformedError(f"value: found {found}, expected at most {VALUE_BYTES_MAX} bytes of JSON")
    try:
        fields = orjson.loads(value)
    except orjson.JSONDecodeError:
        raise MalformedError("value: found bytes that are not JSON, expected one JSON object") from None
    if type(fields) is not dict:
        raise MalformedError(f"value: found a JSON {type(fields).__name__}, expected an object")
    if type(fields.get("v")) is not int or fields["v"] != VERSION:
        raise MalformedError(f"v: found another version or none, expected {VERSION}")
    kind = kind_named(fields.get("kind"), captured=captured)
    count = _integer(fields, "n", 1, EVENTS_PER_BATCH_MAX)
    first = _integer(fields, "first", 0, NUMBER_MAX)
    step = _integer(fields, "step", 1, NUMBER_MAX) if "step" in fields else 1
    if first + step * (count - 1) > NUMBER_MAX:
        raise MalformedError(f"first: found one that numbers the last event out of range, expected numbers up to {NUMBER_MAX}")
    if captured and step != 1:
        raise MalformedError("step: a captured batch has consecutive numbers, remove the field")
    columns = _columns(fields.get("columns"), kind.name, count)
    t_ns = fields.get("t_ns")
    if t_ns is None:
        t0_ns = _integer(fields, "t0_ns", 0, _TIME_NS_MAX)
        dt_ns = _integer(fields, "dt_ns", 0, _TIME_NS_MAX)
        if t0_ns + dt_ns * (count - 1) > _TIME_NS_MAX:
            raise MalformedError(f"dt_ns: found one that puts the last event out of range, expected times up to {_TIME_NS_MAX}")
    else:
        t0_ns, dt_ns = _check_times(t_ns, count), 0
    context = _check_context(fields.get("context"), "context")
    changes = _changes(fields.get("context_changes"), context, count)
    _check_keys(value, fields)
    return Batch(
        kind=kind.name, source=_name(fields, "device_id"), wearer_id=_name(fields, "wearer_id"), session_id=_name(fields, "session_id"),
        stream=_stream(fields), run=Run(first, step, count), t0_ns=t0_ns, dt_ns=dt_ns, origin=_text(fields, "origin"), context=context,
        columns=columns, t_ns=t_ns, changes=changes, position=position,
        clock=_text(fields, "clock"))


def _check_keys(value: bytes, fields: Mapping[str, Any]) -> None:
    """Refuse an object with a key twice: another parser than ours would take the other one, and with it another context.

    Without escapes each colon is that of a key or stands in a text, so counting them tells; only when it does not is the value
    parsed again.
    """
    objects = [fields, fields["context"], fields["columns"], *(fields.get("context_changes") or ())]
    texts = [*fields.values(), *chain.from_iterable(values for values in fields["columns"].values() if type(values[0]) is str)]
    colons = sum(map(len, objects)) + sum(text.count(":") for text in texts if type(text) is str)
    if b"\\" in value or value.count(b":") != colons:
        try:
            json.loads(value, object_pairs_hook=_unrepeated)
        except RecursionError:
            raise MalformedError("value: found objects too deep inside one another, expected an envelope and its columns") from None


def _unrepeated(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedError("value: found an object with a key twice, expected each once")
    return found


def _integer(fields: Mapping[str, Any], name: str, lowest: int, highest: int) -> int:
    value = fields.get(name)
    if type(value) is not int or not lowest <= value <= highest:
        found = type(value).__name__ if type(value) is not int else "a number out of range"
        raise MalformedError(f"{name}: found {found}, expected an integer from {lowest} to {highest}")
    return value


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if type(value) is not str or not 0 < len(value) <= 200:
        raise MalformedError(f"{name}: found {type(value).__name__}, expected a text of 1 to 200 characters")
    return value


def _name(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if type(value) is not str or NAME_PATTERN.fullmatch(value) is None:
        raise MalformedError(f"{name}: found no usable name, expected lower-case letters, digits and hyphens, at most 63")
    return value


def _stream(fields: Mapping[str, Any]) -> str:
    value = fields.get("stream")
    if type(value) is not str or STREAM_PATTERN.fullmatch(value) is None:
        raise MalformedError("stream: found no usable name, expected one such as imu-right or imu-right~2")
    return value


def _columns(columns: Any, kind: str, count: int) -> dict[str, list[Any]]:
    expected = KINDS[kind].columns
    if type(columns) is not dict or columns.keys() != expected.keys():
        raise MalformedError(f"columns: found other names than the {len(expected)} of kind {kind}, expected {', '.join(expected)}")
    for name, values in columns.items():
        if type(values) is not list or len(values) != count:
            found = f"{len(values)} values" if type(values) is list else type(values).__name__
            raise MalformedError(f"columns.{name}: found {found}, expected a list of n = {count}")
    return columns


def _check_times(t_ns: Any, count: int) -> int:
    if type(t_ns) is not list or len(t_ns) != count:
        raise MalformedError(f"t_ns: found another length or type, expected a list of n = {count} integers")
    if any(type(t) is not int or not 0 <= t <= _TIME_NS_MAX for t in t_ns):
        raise MalformedError("t_ns: found a value that is no time, expected integers, nanoseconds since the epoch")
    return int(t_ns[0])


def _check_context(context: Any, path: str) -> Context:
    if type(context) is not dict or context.keys() != CONTEXT_VALUES.keys():
        raise MalformedError(f"{path}: found other fields, expected {', '.join(CONTEXT_VALUES)}")
    for name, allowed in CONTEXT_VALUES.items():
        value = context[name]
        if isinstance(allowed, type):
            if type(value) is not allowed:
                raise MalformedError(f"{path}.{name}: found {type(value).__name__}, expected {allowed.__name__}")
        elif type(value) is not str or value not in allowed:
            raise MalformedError(f"{path}.{name}: found a word that is not known, expected one of {', '.join(sorted(allowed))}")
    if not 0 <= context["consent"] <= NUMBER_MAX:
        raise MalformedError(f"{path}.consent: found a number out of range, expected 0 to {NUMBER_MAX}")
    return dict(context)


def _changes(changes: Any, context: Context, count: int) -> tuple[Change, ...]:
    if changes is None:
        return ()
    if type(changes) is not list:
        raise MalformedError(f"context_changes: found {type(changes).__name__}, expected a list")
    result: list[Change] = []
    before = 0
    for change in changes:
        at = change.get("at") if type(change) is dict else None
        if type(at) is not int or not before < at < count:
            raise MalformedError("context_changes: `at` must be an index inside the batch, increasing")
        before = at
        context = _check_context({**context, **{k: v for k, v in change.items() if k != "at"}}, "context_changes")
        result.append((at, context))
    return tuple(result)


def column(batches: Iterable[Batch], name: str) -> np.ndarray[Any, Any]:
    """One column of many batches, end to end."""
    return np.array(list(chain.from_iterable(batch.columns[name] for batch in batches)))


def check_columns(batches: Sequence[Batch]) -> dict[int, str]:
    """Check column types of batches of any kinds; return the index of each bad batch with the reason.

    All batches of a kind are checked in one go; only when that fails is each looked at alone.
    """
    bad: dict[int, str] = {}
    by_kind: dict[str, list[int]] = {}
    for index, batch in enumerate(batches):
        by_kind.setdefault(batch.kind, []).append(index)
    for kind, indices in by_kind.items():
        for name, wanted in KINDS[kind].columns.items():
            if _has_type([batches[i] for i in indices], name, wanted) and _fits([batches[i] for i in indices], name, wanted):
                continue
            for i in indices:
                if not _has_type([batches[i]], name, wanted):
                    bad.setdefault(i, f"columns.{name}: found a value of another type, expected {wanted} in every place")
                elif not _fits([batches[i]], name, wanted):
                    bad.setdefault(i, f"columns.{name}: found a value out of bounds, expected {_BOUNDS[wanted[:4]]}")
    return bad


def _fits(batches: Sequence[Batch], name: str, wanted: str) -> bool:
    values = [value for value in chain.from_iterable(batch.columns[name] for batch in batches) if value is not None]
    if wanted == "flag" or not values:
        return True
    if wanted.startswith("text"):
        return max(map(len, values)) <= TEXT_CHARACTERS_MAX
    return bool(min(values) >= -MAGNITUDE_MAX and max(values) <= MAGNITUDE_MAX)


def _has_type(batches: Sequence[Batch], name: str, wanted: str) -> bool:
    # The set of types is exact whatever stands beside a value; numpy's common type would depend on how a fetch was cut.
    return _TYPES[wanted].issuperset(map(type, chain.from_iterable(batch.columns[name] for batch in batches)))
