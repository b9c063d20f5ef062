"""What texts.toml says, and the schemas of the kinds that are shipped with those words in them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from streams.errors import InputError
from streams.events import schema as batches
from streams.events.codec import VERSION
from streams.events.kinds import Kind
from streams.events.schema import HEX, TIME, Schema

TEXTS = Path(__file__).with_name("texts.toml")


@cache
def texts() -> Mapping[str, Any]:
    """Content of texts.toml, and what the fields of every batch say."""
    return {**tomllib.loads(TEXTS.read_text(encoding="utf-8")), **batches.texts()}


def text(*path: str) -> str:
    """Text at `path` of texts.toml; InputError names what has none."""
    words: Any = texts()
    for name in path:
        words = words.get(name) if isinstance(words, Mapping) else None
    if not isinstance(words, str):
        raise InputError(
            f"{TEXTS.name}: found no text for {' '.join(path)}, expected one sentence; write it there"
        )
    return words


def schema(kind: Kind, says: Mapping[str, str] | None = None) -> Schema:
    """Schema of the value of a record of `kind`.

    `says` explains the kind (`about`) and each of its columns; what texts.toml says unless given.
    """
    if says is None:
        says = {name: text("kinds", kind.name, name) for name in ("about", *kind.columns)}
    if kind.name == "model":
        return batches.titled(kind, says["about"], _model())
    return batches.schema(kind, says)


def _model() -> Schema:
    run = {"type": "array", "minItems": 5, "maxItems": 6, "items": {"type": ["string", "integer"]}}
    manifest = {
        "seed_examples": {"type": "integer", "minimum": 0},
        "seed_digest": HEX,
        "admitted": {"type": "array", "items": run},
        "refused": {"type": "array", "items": run},
        "wearers": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        },
    }
    required = list(manifest)
    manifest |= {split: {"type": "array", "items": run} for split in ("validation", "test")}
    fields: dict[str, Schema] = {
        "v": {"const": VERSION},
        "version": {"type": "integer", "minimum": 1},
        "zone": {"type": "string", "minLength": 1, "maxLength": 200},
        "label": HEX,
        "policy_version": HEX,
        "accuracy": {"type": "number", "minimum": 0, "maximum": 1},
        "trained_ns": TIME,
        "retrain_by_ns": {"type": "integer"},
        "declassifier": {"type": "string"},
        "manifest": {"type": "object", "required": required, "properties": manifest},
        "model": {"type": "object"},
        "declined": {"type": "string", "minLength": 1},
    }
    return {
        "required": [field for field in fields if field != "declined"],
        "properties": {
            field: {"description": text("kinds", "model", field), **form} for field, form in fields.items()
        },
    }
