"""The device's own file: every batch as sent, with send time, acknowledgement and truth; one JSON object a line.

`sent` lines come before the send, so that a number that was ever used is on disk; `ack` lines carry the place the
broker gave. `truth` says the zone of each run from the scenario's own timeline, never from the policy. Nothing
of `truth` ever enters Kafka.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from streams.errors import InputError


@dataclass(frozen=True, slots=True)
class Sent:
    """One batch as sent: record parts, and when (ns since the epoch, wall clock of the device's machine)."""

    id: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int
    sent_ns: int
    stream: str
    first: int
    count: int


def sent_line(sent: Sent) -> bytes:
    """Line of a batch about to be sent."""
    return _line(line="sent", id=sent.id, stream=sent.stream, first=sent.first, n=sent.count, sent_ns=sent.sent_ns,
                 timestamp_ms=sent.timestamp_ms, key=sent.key.decode(), headers={name: value.decode() for name, value in sent.headers},
                 value=sent.value.decode())


def ack_line(batch_id: str, partition: int, offset: int, acked_ns: int) -> bytes:
    """Line of an acknowledgement."""
    return _line(line="ack", id=batch_id, partition=partition, offset=offset, acked_ns=acked_ns)


def truth_line(source: str, stream: str, first: int, count: int, zone: str) -> bytes:
    """Line that says in which zone a run of events is; `unconfigured` where no zone may take it."""
    return _line(line="truth", source=source, stream=stream, first=first, n=count, zone=zone)


def _line(**fields: Any) -> bytes:
    return orjson.dumps(fields) + b"\n"


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of one journal file; a torn last line (a crash while writing) is left out, any other is an InputError."""
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            try:
                yield orjson.loads(text)
            except orjson.JSONDecodeError:
                if not text.endswith(b"\n"):
                    return
                raise InputError(f"{path}, line {number}: found text that is not JSON, expected one JSON object a line; "
                                 "is this a device's journal?") from None


def sent(path: Path) -> Iterator[Sent]:
    """Yield the batches of one journal file in the order they were sent."""
    for fields in lines(path):
        if fields["line"] == "sent":
            yield Sent(fields["id"], fields["key"].encode(), fields["value"].encode(),
                       tuple((name, value.encode()) for name, value in fields["headers"].items()),
                       fields["timestamp_ms"], fields["sent_ns"], fields["stream"], fields["first"], fields["n"])


def files(path: Path) -> list[Path]:
    """Journal files below `path` (a file or a directory), in name order; InputError when there are none."""
    found = [path] if path.is_file() else sorted(path.glob("*.jsonl"))
    if not found:
        raise InputError(f"{path}: found no journal, expected a .jsonl file or a directory with some, as device-sim --journal writes them")
    return found
