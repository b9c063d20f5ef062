"""JSON Schemas (draft 2020-12) of the values on the topics, from the same data that the codec checks by."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from streams.errors import InputError
from streams.events.batch import CONTEXT_VALUES
from streams.events.codec import VERSION
from streams.events.identity import NAME_PATTERN, STREAM_PATTERN
from streams.events.kinds import RANGES, TOKEN, Kind, TextForm, text_form
from streams.limits import EVENTS_PER_BATCH_MAX, NUMBER_MAX, REVISION_MAX

Schema = dict[str, Any]
TEXTS = Path(__file__).with_name("texts.toml")
DRAFT = "https://json-schema.org/draft/2020-12/schema"
#: Endings of column names and the unit that each means.
UNITS: Mapping[str, str] = {
    "mps2": "m/s²",
    "radps": "rad/s",
    "degps": "°/s",
    "deg": "°",
    "rad": "rad",
    "m": "m",
    "mm": "mm",
    "mps": "m/s",
    "s": "s",
    "ms": "ms",
    "ns": "ns",
    "percent": "%",
    "px": "px",
    "hz": "Hz",
    "dbfs": "dBFS",
    "db": "dB",
    "dbm": "dBm",
    "pa": "Pa",
    "hpa": "hPa",
    "kpa": "kPa",
    "celsius": "°C",
    "c": "°C",
    "lux": "lx",
    "bpm": "1/min",
    "bytes": "bytes",
    "ut": "µT",
}
_TIME = {"type": "integer", "minimum": 0, "maximum": 2**62}
_HEX = {"type": "string", "pattern": "^[0-9a-f]+$"}


@cache
def texts() -> Mapping[str, Any]:
    """Content of texts.toml."""
    return tomllib.loads(TEXTS.read_text(encoding="utf-8"))


def text(*path: str) -> str:
    """Text at `path` of texts.toml; InputError names what has none."""
    found: Any = texts()
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(found, str):
        raise InputError(
            f"{TEXTS.name}: found no text for {' '.join(path)}, expected one sentence; write it there"
        )
    return found


def unit(column: str) -> str:
    """Unit that a column's name ends in; empty where it has none."""
    _, found, ending = column.rpartition("_")
    return UNITS.get(ending, "") if found else ""


def schema(kind: Kind, says: Mapping[str, str] | None = None) -> Schema:
    """Schema of the value of a record of `kind`.

    `says` explains the kind (`about`) and each of its columns; what texts.toml says unless given.
    """
    if says is None:
        says = {name: text("kinds", kind.name, name) for name in ("about", *kind.columns)}
    body = _model() if kind.name == "model" else _batch(kind, says)
    return {
        "$schema": DRAFT,
        "$id": f"urn:sightline:{kind.event_type}",
        "title": kind.event_type,
        "description": says["about"],
        "type": "object",
        **body,
    }


def _batch(kind: Kind, says: Mapping[str, str]) -> Schema:
    integer = {"type": "integer", "minimum": 0, "maximum": NUMBER_MAX}
    name = {"type": "string", "pattern": f"^{NAME_PATTERN.pattern}$"}
    context = _context(required=True)
    fields: dict[str, Schema] = {
        "v": {"const": VERSION},
        "kind": {"const": kind.name},
        "device_id": name,
        "wearer_id": name,
        "session_id": name,
        "stream": {"type": "string", "pattern": f"^{STREAM_PATTERN.pattern}$"},
        "first": integer,
        "n": {"type": "integer", "minimum": 1, "maximum": EVENTS_PER_BATCH_MAX},
        "step": {"const": 1} if kind.captured else {**integer, "minimum": 1},
        "revision": {"const": 0} if kind.captured else {**integer, "maximum": REVISION_MAX},
        "t0_ns": _TIME,
        "dt_ns": _TIME,
        "t_ns": _list(_TIME),
        "clock": _text(TOKEN),
        "origin": _text(TOKEN),
        "context": context if kind.captured else {"anyOf": [{"const": {}}, context]},
        "context_changes": {"type": "array", "items": _changed()},
        "split_from": _HEX,
        "columns": _columns(kind, says),
    }
    return {
        "$comment": "Every list in columns, and t_ns, has n values.",
        "required": [
            "v",
            "kind",
            "device_id",
            "wearer_id",
            "session_id",
            "stream",
            "first",
            "n",
            "clock",
            "origin",
            "context",
            "columns",
        ],
        "anyOf": [{"required": ["t0_ns", "dt_ns"]}, {"required": ["t_ns"]}],
        "properties": {
            field: {"description": text("envelope", field), **form} for field, form in fields.items()
        },
        "additionalProperties": False,
    }


def _columns(kind: Kind, says: Mapping[str, str]) -> Schema:
    properties = {}
    for name, wanted in kind.columns.items():
        described = f"{says[name]} Unit: {unit(name)}." if unit(name) else says[name]
        properties[name] = {"description": described, **_list({**_value(wanted), **_bounds(name)})}
    return {
        "type": "object",
        "required": list(kind.columns),
        "properties": properties,
        "additionalProperties": False,
    }


def _value(wanted: str) -> Schema:
    """Schema of one value of a column of type `wanted`."""
    form = text_form(wanted)
    if form is None:
        found: Schema = {"type": {"number": "number", "flag": "boolean"}[wanted.rstrip("?")]}
    else:
        found = _text(form)
    return {**found, "type": [found["type"], "null"]} if wanted.endswith("?") else found


def _bounds(name: str) -> Schema:
    return dict(zip(("minimum", "maximum"), RANGES.get(name, ()), strict=False))


def _text(form: TextForm) -> Schema:
    if form.words:
        return {"type": "string", "enum": list(form.words)}
    return {"type": "string", "pattern": f"^{form.pattern.pattern}$", "maxLength": form.characters_max}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items, "minItems": 1, "maxItems": EVENTS_PER_BATCH_MAX}


def _context(*, required: bool) -> Schema:
    properties: dict[str, Schema] = {}
    for name, allowed in CONTEXT_VALUES.items():
        if allowed is int:
            form: Schema = {"type": "integer", "minimum": 0, "maximum": NUMBER_MAX}
        elif isinstance(allowed, type):
            form = {"type": "boolean"}
        else:
            form = {"enum": sorted(allowed)}
        properties[name] = {"description": text("context", name), **form}
    return {
        "type": "object",
        "required": list(properties) if required else [],
        "properties": properties,
        "additionalProperties": False,
    }


def _changed() -> Schema:
    form = _context(required=False)
    return {
        **form,
        "required": ["at"],
        "properties": {
            "at": {"type": "integer", "minimum": 1, "maximum": EVENTS_PER_BATCH_MAX - 1},
            **form["properties"],
        },
    }


def _model() -> Schema:
    run = {"type": "array", "minItems": 5, "maxItems": 6, "items": {"type": ["string", "integer"]}}
    manifest = {
        "seed_examples": {"type": "integer", "minimum": 0},
        "seed_digest": _HEX,
        "admitted": {"type": "array", "items": run},
        "refused": {"type": "array", "items": run},
        "wearers": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        },
    }
    fields: dict[str, Schema] = {
        "v": {"const": VERSION},
        "version": {"type": "integer", "minimum": 1},
        "zone": {"type": "string", "minLength": 1, "maxLength": 200},
        "label": _HEX,
        "policy_version": _HEX,
        "accuracy": {"type": "number", "minimum": 0, "maximum": 1},
        "trained_ns": _TIME,
        "retrain_by_ns": {"type": "integer"},
        "declassifier": {"type": "string"},
        "manifest": {"type": "object", "required": list(manifest), "properties": manifest},
        "model": {"type": "object"},
    }
    return {
        "required": list(fields),
        "properties": {
            field: {"description": text("kinds", "model", field), **form} for field, form in fields.items()
        },
    }
