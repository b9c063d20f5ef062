"""Write the derived records of a replay as JSON lines: one file per topic, one record per line."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import orjson
from msgspec.structs import asdict

from streams import files
from streams.errors import InputError
from streams.events.headers import PARENTS, RUN, unpack_parents
from streams.events.record import Outgoing
from streams.topology import ANSWERS, DERIVED, EXAMPLES, MODELS

TOPICS = (DERIVED, ANSWERS, EXAMPLES, MODELS)


class DerivedLines:
    """Files `<topic>.jsonl` in a new directory; use it in `with`.

    The lines have the full values, as Kafka would, including the utterances of examples.

    Raises
    ------
    InputError
        The directory is not empty, or cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        files.make_directory(directory)
        if any(directory.iterdir()):
            raise InputError(
                f"{directory}: found a directory that is not empty, "
                "expected a new one; name another with --out"
            )
        self._stack = ExitStack()
        self._files: dict[str, BinaryIO] = {
            topic: self._stack.enter_context(files.create(directory / f"{topic}.jsonl")) for topic in TOPICS
        }

    def __enter__(self) -> DerivedLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def write(self, records: Iterable[Outgoing]) -> None:
        """Append those of `records` that belong to topics of derived events."""
        for record in records:
            if record.topic in self._files:
                self._files[record.topic].write(orjson.dumps(_line(record)) + b"\n")


def _line(record: Outgoing) -> dict[str, Any]:
    headers = dict(record.headers)
    line: dict[str, Any] = {
        "partition": record.partition,
        "key": record.key.decode(),
        "timestamp_ms": record.timestamp_ms,
        "headers": {name: value.decode() for name, value in headers.items() if name != PARENTS},
        "value": orjson.Fragment(record.value or b"null"),
    }
    if PARENTS in headers:
        parents = unpack_parents(
            headers["ce_source"].decode(), int(headers[RUN].split()[0]), headers[PARENTS]
        )
        line["parents"] = [asdict(parent) for parent in parents]
    return line
