"""Record headers: CloudEvents 1.0 (Kafka binding, binary mode), W3C traceparent, and Sightline's own.

See docs/architecture.md, Wire.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache

import xxhash

from streams.events.batch import JSON, Batch
from streams.events.identity import format_id
from streams.events.kinds import event_type
from streams.events.record import Headers
from streams.events.runs import Parent
from streams.limits import ATTRIBUTE_COMBINATIONS_MAX

RUN, ZONE, LABEL, PARENTS = "sightline-run", "sightline-zone", "sightline-label", "sightline-parents"
CONTENT_TYPE = "content-type"
#: Capture time of the oldest data in an example; which consents apply to the example depends on it.
SINCE = "sightline-since"
#: Digest of a value, where the value itself does not show it: of a sealed or a rejected one.
DIGEST = "sightline-digest"
#: Says that a value is sealed (`streams.sealing.sealed`); no device may write it.
ENCODING = "content-encoding"
#: Headers of ours that only stages write. A captured record that has one is rejected as forged.
RESERVED = frozenset({ZONE, LABEL, PARENTS, SINCE, DIGEST})


#: Headers that `envelope` writes, in this order.
WRITTEN = (
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_time",
    CONTENT_TYPE,
    "traceparent",
    RUN,
)
_PLACE = WRITTEN.index(CONTENT_TYPE)


def content_type_of(headers: Headers) -> bytes:
    """Content type of a record by its headers; JSON if they name none."""
    if len(headers) > _PLACE and headers[_PLACE][0] == CONTENT_TYPE:
        return headers[_PLACE][1]
    return dict(headers).get(CONTENT_TYPE, JSON)


def rfc3339(t_ns: int) -> str:
    """Time in UTC with microseconds, for `ce_time`."""
    seconds, rest = divmod(t_ns, 1_000_000_000)
    return f"{_second(seconds)}.{rest // 1000:06d}Z"


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def traceparent(root_id: str, own_id: str) -> bytes:
    """W3C traceparent: the trace id is made of the captured event `root_id`, the span id of `own_id`."""
    trace, span = xxhash.xxh3_128_hexdigest(root_id.encode()), xxhash.xxh3_64_hexdigest(own_id.encode())
    return f"00-{trace}-{span}-01".encode()


def envelope(batch: Batch, root_id: str | None = None) -> list[tuple[str, bytes]]:
    """Headers that describe a batch.

    `root_id` is the captured event at the start of its trace (default: the batch's own first event).
    """
    own_id = batch.first_id
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", own_id.encode()),
        ("ce_source", batch.source.encode()),
        ("ce_type", event_type(batch.kind)),
        ("ce_time", rfc3339(batch.t0_ns).encode()),
        (CONTENT_TYPE, batch.content_type),
        ("traceparent", traceparent(root_id or own_id, own_id)),
        (RUN, f"{batch.run.first} {batch.run.step} {batch.run.count}".encode()),
    ]


@lru_cache(maxsize=ATTRIBUTE_COMBINATIONS_MAX)
def tag(zone: str, label: str) -> Headers:
    """Headers with the zone and the label of a batch, which say what may be done with it."""
    return (ZONE, zone.encode()), (LABEL, label.encode())


def root_of(source: str, parents: Sequence[Parent]) -> str:
    """Identity of the first event of the primary parent, which a derived event's trace continues."""
    primary = parents[0]
    return format_id(source, primary.stream, primary.first, primary.revision)


def pack_parents(batch: Batch, parents: Iterable[Parent]) -> bytes:
    """Encode parents as packed runs: name, NUL, then three varints (distance, step, width).

    The distance is the parent's first number minus the batch's, in zigzag encoding. The name is
    `[source/]stream[.revision]`; the source is left out if it is the batch's own.
    """
    out = bytearray()
    for parent in parents:
        name = parent.stream if parent.source == batch.source else f"{parent.source}/{parent.stream}"
        if parent.revision:
            name = f"{name}.{parent.revision}"
        out += name.encode() + b"\0"
        distance = parent.first - batch.run.first
        for number in ((distance << 1) ^ (distance >> 63), parent.step, parent.width):
            _varint(out, number)
    return bytes(out)


def unpack_parents(batch_source: str, batch_first: int, packed: bytes) -> list[Parent]:
    """Inverse of `pack_parents`; ValueError when the bytes end early."""
    parents: list[Parent] = []
    at = 0
    while at < len(packed):
        end = packed.index(b"\0", at)
        source, _, name = packed[at:end].decode().rpartition("/")
        stream, _, revision = name.partition(".")
        at = end + 1
        numbers: list[int] = []
        for _ in range(3):
            number = shift = 0
            while True:
                if at >= len(packed):
                    raise ValueError("parents header ends inside a number")
                byte = packed[at]
                at += 1
                number |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            numbers.append(number)
        distance = (numbers[0] >> 1) ^ -(numbers[0] & 1)
        parents.append(
            Parent(
                source or batch_source,
                stream,
                batch_first + distance,
                numbers[1],
                numbers[2],
                revision=int(revision or 0),
            )
        )
    return parents


def _varint(out: bytearray, number: int) -> None:
    while number > 0x7F:
        out.append((number & 0x7F) | 0x80)
        number >>= 7
    out.append(number)
