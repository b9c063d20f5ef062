"""The journal, a file that a device keeps of every batch it sent, with send time, acknowledgement and truth.

It has one JSON object a line. A JSON value is stored as text under `value`, a MessagePack value under
`value_base64`.

A `sent` line is written before the batch is sent, so that every number ever used is on disk. An `ack` line
has the partition, offset and append time that the broker returned. A `truth` line has the zone of a run of
events according to the scenario, independently of the policy; `truth` lines are never sent to Kafka.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from streams.errors import InputError
from streams.events.batch import JSON
from streams.events.headers import content_type_of

_PACKED = "value_base64"


@dataclass(frozen=True, slots=True)
class Sent:
    """One batch as sent; `sent_ns` is in ns since the epoch, by the wall clock of the device's machine."""

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
    """Line of a batch that is about to be sent."""
    return _line(
        line="sent",
        id=sent.id,
        stream=sent.stream,
        first=sent.first,
        n=sent.count,
        sent_ns=sent.sent_ns,
        timestamp_ms=sent.timestamp_ms,
        key=sent.key.decode(),
        headers={name: value.decode() for name, value in sent.headers},
        **_written(sent),
    )


def _written(sent: Sent) -> dict[str, str]:
    if content_type_of(sent.headers) == JSON:
        return {"value": sent.value.decode()}
    return {_PACKED: b64encode(sent.value).decode()}


def value_of(line: Mapping[str, Any]) -> bytes:
    """Record value of a `sent` line, as it was sent; KeyError or ValueError if the line has none."""
    if _PACKED in line:
        return b64decode(line[_PACKED], validate=True)
    value: str = line["value"]
    return value.encode()


def ack_line(
    batch_id: str, partition: int, offset: int, sent_ns: int, acked_ns: int, appended_ns: int
) -> bytes:
    """Line that acknowledges one copy of a batch, sent at `sent_ns`; the link may send several copies.

    `appended_ns` is the append time, by the broker's clock.
    """
    return _line(
        line="ack",
        id=batch_id,
        partition=partition,
        offset=offset,
        sent_ns=sent_ns,
        acked_ns=acked_ns,
        appended_ns=appended_ns,
    )


def appended_ns(ack: Mapping[str, Any]) -> int:
    """Append time of an acknowledged copy.

    Older journals do not have it; the time at which the device got the acknowledgement is used instead.
    """
    return int(ack.get("appended_ns", ack["acked_ns"]))


def truth_line(source: str, stream: str, first: int, count: int, zone: str) -> bytes:
    """Line with the true zone of a run of events, `unconfigured` if no zone may hold it."""
    return _line(line="truth", source=source, stream=stream, first=first, n=count, zone=zone)


def _line(**fields: Any) -> bytes:
    return orjson.dumps(fields) + b"\n"


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of one journal file.

    An incomplete last line, which a crash leaves behind, is skipped. InputError if any other line is no JSON.
    """
    return (fields for _, fields in lines_by_place(path))


def lines_by_place(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (offset of the first byte, fields) of each line, as `lines` does."""
    place = 0
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            try:
                yield place, orjson.loads(text)
            except orjson.JSONDecodeError:
                if not text.endswith(b"\n"):
                    return
                raise InputError(
                    f"{path}, line {number}: found text that is not JSON, expected one JSON object a line; "
                    "is this a device's journal?"
                ) from None
            place += len(text)


def sent(path: Path) -> Iterator[Sent]:
    """Yield the batches of one journal file in the order they were sent."""
    for fields in lines(path):
        if fields["line"] == "sent":
            yield Sent(
                fields["id"],
                fields["key"].encode(),
                value_of(fields),
                tuple((name, value.encode()) for name, value in fields["headers"].items()),
                fields["timestamp_ms"],
                fields["sent_ns"],
                fields["stream"],
                fields["first"],
                fields["n"],
            )


def arrivals(path: Path) -> Iterator[tuple[int, Sent]]:
    """Yield (time, batch) for each copy in one journal file, in the order in which Kafka appended them.

    The time (ns since the epoch) is the append time of the copy and never decreases. A batch without an
    acknowledgement comes at its place in the journal, with its send time. If an acknowledgement belongs to a
    batch that the file lacks, the acknowledged batches after it come last. Memory: as many batches as the
    link held back at once.
    """
    places = sorted(
        (line["partition"], line["offset"], appended_ns(line), line["id"])
        for line in lines(path)
        if line["line"] == "ack"
    )
    left = Counter(place[3] for place in places)
    held: dict[str, Sent] = {}
    at, now_ns = 0, 0
    for batch in sent(path):
        if batch.id not in left:
            now_ns = max(now_ns, batch.sent_ns)
            yield now_ns, batch
            continue
        held[batch.id] = batch
        while at < len(places) and places[at][3] in held:
            _, _, taken_ns, name = places[at]
            now_ns = max(now_ns, taken_ns)
            yield now_ns, held[name]
            left[name] -= 1
            if not left[name]:
                del held[name]
            at += 1
    yield from ((now_ns, batch) for batch in held.values())


def files(path: Path) -> list[Path]:
    """Journal files at `path` (a file or a directory), sorted by name; InputError if there are none."""
    journals = [path] if path.is_file() else sorted(path.glob("*.jsonl"))
    if not journals:
        raise InputError(
            f"{path}: found no journal, expected a .jsonl file or a directory with some, as device-sim "
            "--journal writes them"
        )
    return journals
