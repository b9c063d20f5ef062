"""The device's own file: every batch as sent, with send time, acknowledgement and truth.

It has one JSON object a line. A value that is JSON stands there as its text, `value`, to be read along; one
of MessagePack as `value_base64`.

`sent` lines come before the send, so that a number that was ever used is on disk; `ack` lines carry the place
and the time that the broker gave. `truth` says the zone of each run from the scenario's own timeline, never
from the policy. Nothing of `truth` ever enters Kafka.
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
    """The value that a `sent` line holds, as it went out; KeyError or ValueError when it holds none."""
    if _PACKED in line:
        return b64decode(line[_PACKED], validate=True)
    value: str = line["value"]
    return value.encode()


def ack_line(
    batch_id: str, partition: int, offset: int, sent_ns: int, acked_ns: int, appended_ns: int
) -> bytes:
    """Line of an acknowledgement, of the copy that was sent at `sent_ns`: the link may repeat and delay.

    `appended_ns` is when the broker took it, by the broker's clock.
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
    """When the broker took an acknowledged copy.

    Lines of older journals do not say it: when the device heard of it stands for it.
    """
    return int(ack.get("appended_ns", ack["acked_ns"]))


def truth_line(source: str, stream: str, first: int, count: int, zone: str) -> bytes:
    """Line that says in which zone a run of events is; `unconfigured` where no zone may take it."""
    return _line(line="truth", source=source, stream=stream, first=first, n=count, zone=zone)


def _line(**fields: Any) -> bytes:
    return orjson.dumps(fields) + b"\n"


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of one journal file.

    A torn last line (a crash while writing) is left out, any other is an InputError.
    """
    return (fields for _, fields in lines_by_place(path))


def lines_by_place(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (first byte, fields) of each line, as `lines` does."""
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
    """Yield (time, batch) of one journal file in the order in which Kafka took the batches.

    The time (ns since the epoch) is the append time of the copy and never runs backwards. Batches without an
    acknowledgement come where the journal has them, as sent then; those whose turn never comes, because an
    acknowledgement before theirs is of a batch that the file does not have, come last. Memory: as many
    batches as the link held back at once.
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
    """Journal files below `path` (a file or a directory), in name order; InputError when there are none."""
    journals = [path] if path.is_file() else sorted(path.glob("*.jsonl"))
    if not journals:
        raise InputError(
            f"{path}: found no journal, expected a .jsonl file or a directory with some, as device-sim "
            "--journal writes them"
        )
    return journals
