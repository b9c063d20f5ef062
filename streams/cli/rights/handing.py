"""The files that are handed to a person: one for each kind of value, with its schema, and a manifest."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import orjson
from msgspec import Struct, to_builtins

from streams import files
from streams.events.kinds import Kinds
from streams.events.schema import DRAFT, Schema, schema
from streams.worker.own_values import CONSENTS_NAME, OTHERS_COLUMNS, OTHERS_CONTEXT, UTTERANCES

MANIFEST, _SCHEMAS = "manifest.json", "schemas"
#: What has no schema of a kind: a wearer's words about the own data, and words of examples.
_TEXT, _TIME = {"type": "string"}, {"type": ["string", "null"], "format": "date-time"}
_OWN: Mapping[str, Schema] = {
    CONSENTS_NAME: {
        "device": {"type": ["string", "null"]},
        "incarnation": {"type": ["integer", "null"]},
        "number": {"type": ["integer", "null"]},
        "status": _TEXT,
        "purposes": {"type": ["array", "null"], "items": _TEXT},
        "expires": _TIME,
        "at": _TIME,
        "notice": {"type": ["string", "null"]},
    },
    UTTERANCES: {"example": _TEXT, "t": _TIME, "utterance": _TEXT, "language": {"type": ["string", "null"]}},
}


class HandedFile(Struct, frozen=True, kw_only=True):
    """A file of an export: what its lines are, how many events they have, and by which schema."""

    file: str
    kind: str
    lines: int
    events: int
    sha256: str
    schema: str = ""


class LeftOut(Struct, frozen=True, kw_only=True):
    """What is not in an export, and why; `events` is 0 where nobody counts."""

    of: str
    reason: str
    events: int = 0


class Handing:
    """The new directory of an export, until it is whole; use it in `with`.

    `put` writes a line for a kind, whose file begins with the first one; `whole` writes a file at once.
    InputError if a file cannot be written.
    """

    def __init__(self, directory: Path, kinds: Kinds, *, without_others: bool) -> None:
        self._directory, self._kinds, self._without_others = directory, kinds, without_others
        self._stack = contextlib.ExitStack()
        self._open: dict[str, tuple[BinaryIO, Any]] = {}
        self._lines: dict[str, int] = {}
        self._whole: list[HandedFile] = []

    def __enter__(self) -> Handing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def put(self, kind: str, line: bytes) -> None:
        """Write one line of JSON."""
        if kind not in self._open:
            file = self._stack.enter_context(files.create(self._directory / f"{kind}.jsonl"))
            self._open[kind] = file, hashlib.sha256()
        file, digest = self._open[kind]
        file.write(line)
        digest.update(line)
        self._lines[kind] = self._lines.get(kind, 0) + 1

    def whole(self, name: str, kind: str, content: bytes, events: int = 0) -> None:
        """Write a file at once."""
        with files.create(self._directory / name) as file:
            file.write(content)
        digest = hashlib.sha256(content).hexdigest()
        self._whole.append(HandedFile(file=name, kind=kind, lines=0, events=events, sha256=digest))

    def finish(self, about: Mapping[str, object], events: Mapping[str, int]) -> bytes:
        """Write the schemas and the manifest, and return the manifest; `about` stands first in it."""
        self._stack.close()
        rows = list(self._whole)
        if self._open:
            files.make_directory(self._directory / _SCHEMAS)
        for kind, (_, digest) in sorted(self._open.items()):
            name = f"{_SCHEMAS}/{kind}.json"
            with files.create(self._directory / name) as file:
                file.write(_json(schema_of(self._kinds, kind, without_others=self._without_others)))
            rows.append(
                HandedFile(
                    file=f"{kind}.jsonl",
                    kind=kind,
                    lines=self._lines[kind],
                    events=events.get(kind, 0),
                    sha256=digest.hexdigest(),
                    schema=name,
                )
            )
        content = _json({**about, "files": to_builtins(rows)})
        with files.create(self._directory / MANIFEST) as file:
            file.write(content)
        return content


def schema_of(kinds: Kinds, name: str, *, without_others: bool) -> Schema:
    """JSON Schema of a line of a kind's file: that of the wire, without what is about others."""
    if name in _OWN:
        body = {"type": "object", "required": list(_OWN[name]), "properties": _OWN[name]}
        return {"$schema": DRAFT, "title": name, **body, "additionalProperties": False}
    whole: Schema = orjson.loads(orjson.dumps(schema(kinds[name])))
    fields = whole["properties"]
    _drop(fields["columns"], OTHERS_COLUMNS.get(name, ()))
    if without_others:
        contexts = fields["context"].get("anyOf", [fields["context"]])
        for context in (*contexts, fields["context_changes"]["items"]):
            _drop(context, OTHERS_CONTEXT)
    # It is no longer the value of a topic.
    del whole["$id"]
    return whole


def _drop(form: Schema, names: tuple[str, ...]) -> None:
    """Take fields out of the schema of an object."""
    for name in names:
        form.get("properties", {}).pop(name, None)
    if "required" in form:
        form["required"] = [name for name in form["required"] if name not in names]


def _json(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
