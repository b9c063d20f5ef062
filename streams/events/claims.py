"""Which device, stream and numbers a rejected record claims to have, as far as these are well-formed.

A claim proves nothing, because anyone who may write to the topic can claim another device's numbers. It is
only used to find a rejected record by the events that it was meant to hold; the claimed numbers do not count
as received.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from streams.errors import MalformedError
from streams.events.batch import MESSAGEPACK
from streams.events.headers import CONTENT_TYPE, RUN
from streams.events.identity import NAME_PATTERN, STREAM_PATTERN, EventId
from streams.events.record import Received
from streams.events.runs import Run
from streams.events.wire import packed_envelope
from streams.limits import EVENTS_PER_BATCH_MAX, NUMBER_MAX, VALUE_BYTES_MAX


class Claim(NamedTuple):
    """Device, stream and run; empty or None where the record gives none or gives a malformed one."""

    source: str = ""
    stream: str = ""
    run: Run | None = None


def claimed(record: Received) -> Claim:
    """Read the claim of a record.

    The device is taken from the key, because the key determines the partition. Stream and numbers are taken
    from the value or, if the value cannot be decoded, from the headers; both must name the same device.
    """
    key = (record.key or b"").decode("ascii", "replace")
    if NAME_PATTERN.fullmatch(key) is None:
        return Claim()
    headers = dict(record.headers)
    return _of_value(record.value, headers, key) or _of_headers(headers, key) or Claim(key)


def _of_value(value: bytes | None, headers: dict[str, Any], key: str) -> Claim | None:
    if value is None or len(value) > VALUE_BYTES_MAX:
        return None
    try:
        fields = packed_envelope(value) if headers.get(CONTENT_TYPE) == MESSAGEPACK else orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    if type(fields) is not dict or fields.get("device_id") != key:
        return None
    stream = fields.get("stream")
    if type(stream) is not str or STREAM_PATTERN.fullmatch(stream) is None:
        return None
    return Claim(key, stream, _run(fields.get("first"), fields.get("n")))


def _of_headers(headers: dict[str, Any], key: str) -> Claim | None:
    try:
        event = EventId.parse((headers.get("ce_id") or b"").decode("ascii", "replace"))
    except MalformedError:
        return None
    if event.source != key or event.revision:
        return None
    first, _, count = (headers.get(RUN) or b"").rpartition(b" ")
    events = int(count) if count.isdigit() and len(count) < len(str(NUMBER_MAX)) else None
    return Claim(key, event.stream, _run(event.number, events if first == b"%d 1" % event.number else None))


def _run(first: object, count: object) -> Run | None:
    if (
        type(first) is int
        and type(count) is int
        and first >= 0
        and 1 <= count <= EVENTS_PER_BATCH_MAX
        and first + count - 1 <= NUMBER_MAX
    ):
        return Run(first, 1, count)
    return None
