"""JSON Schemas (draft 2020-12) of the values on the topics, from the same data that the codec checks by."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from streams.events.batch import CONTEXT_VALUES
from streams.events.codec import VERSION
from streams.events.identity import NAME_PATTERN, STREAM_PATTERN
from streams.events.kinds import RANGES, TOKEN, Kind, TextForm, text_form, unit
from streams.limits import EVENTS_PER_BATCH_MAX, NUMBER_MAX, REVISION_MAX

Schema = dict[str, Any]
TEXTS = Path(__file__).with_name("texts.toml")
DRAFT = "https://json-schema.org/draft/2020-12/schema"
TIME = {"type": "integer", "minimum": 0, "maximum": 2**62}
HEX = {"type": "string", "pattern": "^[0-9a-f]+$"}


@cache
def texts() -> Mapping[str, Mapping[str, str]]:
    """What the fields of the envelope and of the context say, by table and name."""
    return tomllib.loads(TEXTS.read_text(encoding="utf-8"))


def schema(kind: Kind, says: Mapping[str, str] | None = None) -> Schema:
    """Schema of the value of a batch of `kind`.

    `says` explains the kind (`about`) and each of its columns; what the kind says itself unless given.
    """
    says = says_of(kind) if says is None else says
    return titled(kind, says["about"], _batch(kind, says))


def titled(kind: Kind, about: str, body: Schema) -> Schema:
    """A schema with the head that says of which kind it is."""
    return {
        "$schema": DRAFT,
        "$id": f"urn:sightline:{kind.event_type}",
        "title": kind.event_type,
        "description": about,
        "type": "object",
        **body,
    }


def says_of(kind: Kind) -> Mapping[str, str]:
    """What a kind says of itself (`about`) and of its columns; empty where it says nothing."""
    return {name: kind.says.get(name, "") for name in ("about", *kind.columns)}


def page(kinds: Iterable[Kind]) -> str:
    """A page (Markdown) for readers of the topics: a part for each kind, with a table of its columns."""
    parts = ["# Kinds of event\n", "What they have in common stands in Sightline's docs/topics.md.\n"]
    for kind in kinds:
        origin = "Captured by the device" if kind.captured else "Derived"
        about = f"{says_of(kind)['about']} {origin}".strip()
        parts.append(f"## {kind.name}\n\n{about}; `{kind.event_type}`; [schema]({kind.name}.json).\n")
        parts.append("| column | unit | type | says |\n| --- | --- | --- | --- |")
        for name, wanted in kind.columns.items():
            packed = f", {kind.wire[name]}" if kind.captured and name in kind.wire else ""
            cells = (f"`{name}`", unit(name), wanted.replace("|", ", ") + packed, says_of(kind)[name])
            parts.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
        parts.append("")
    return "\n".join(parts)


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
        "t0_ns": TIME,
        "dt_ns": TIME,
        "t_ns": _list(TIME),
        "clock": _text(TOKEN),
        "origin": _text(TOKEN),
        "context": context if kind.captured else {"anyOf": [{"const": {}}, context]},
        "context_changes": {"type": "array", "items": _changed()},
        "split_from": HEX,
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
            field: {"description": texts()["envelope"][field], **form} for field, form in fields.items()
        },
        "additionalProperties": False,
    }


def _columns(kind: Kind, says: Mapping[str, str]) -> Schema:
    properties = {}
    for name, wanted in kind.columns.items():
        described = f"{says[name]} Unit: {unit(name)}.".strip() if unit(name) else says[name]
        properties[name] = {"description": described, **_list({**_value(wanted), **_bounds(name)})}
    return {
        "type": "object",
        "required": [name for name in kind.columns if name not in kind.later],
        "properties": properties,
        "additionalProperties": False,
    }


def _value(wanted: str) -> Schema:
    """Schema of one value of a column of type `wanted`."""
    form = text_form(wanted)
    if form is None:
        value: Schema = {"type": {"number": "number", "flag": "boolean"}[wanted.rstrip("?")]}
    else:
        value = _text(form)
    return {**value, "type": [value["type"], "null"]} if wanted.endswith("?") else value


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
        properties[name] = {"description": texts()["context"][name], **form}
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
