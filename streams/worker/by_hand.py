"""What a wearer asked for in an erasure request: all, or all since a day. The store has no values."""

from __future__ import annotations

from typing import NamedTuple

from streams.errors import InputError, MalformedError
from streams.events.batch import Batch
from streams.events.codec import Codec
from streams.events.headers import content_type_of, rfc3339
from streams.events.record import stamp_ns
from streams.kafka.reader import read_all
from streams.policy.policy import DAY_NS
from streams.queries.requested import ErasureRequest
from streams.settings.kafka import Broker
from streams.topology import CAPTURED

BY_HAND = "by hand: "


class Wanted(NamedTuple):
    """What a request is about: all that was captured from `since_ns` on, 0 if all is.

    `by_hand` says why it cannot be carried out by itself; empty if it can.
    """

    since_ns: int
    by_hand: str = ""


_GONE = Wanted(0, f"{BY_HAND}its record is gone from {CAPTURED}")
_ENDS = Wanted(0, f"{BY_HAND}it names a span of time that ends")
_TO_COME = Wanted(0, f"{BY_HAND}it names a time to come")


async def wanted(broker: Broker, codec: Codec, request: ErasureRequest) -> Wanted:
    """What a request is about, from its record.

    More than the wearer asked for is never erased, because it does not come back.
    """
    place = {request.partition: request.offset}
    until = {request.partition: request.offset + 1}
    try:
        records = await read_all(broker, CAPTURED, request.partition, from_offsets=place, until_offsets=until)
        for record in records:
            form = content_type_of(record.headers)
            batch = codec.decode(record.value, record.offset, stamp_ns(record), content_type=form)
            event = (request.source, request.stream, request.number)
            if event[:2] == (batch.source, batch.stream) and event[2] in batch.run:
                return _named(batch, event[2] - batch.run.first, request.asked_ns)
    except (InputError, MalformedError):
        # Retention deleted it, or these are other topics than the store's.
        return _GONE
    return _GONE


def _named(batch: Batch, index: int, asked_ns: int) -> Wanted:
    first, last = (batch.columns[name][index] for name in ("from_ns", "to_ns"))
    if last is not None:
        return _ENDS
    since_ns = max(int(first or 0), 0)
    if since_ns > asked_ns:
        return _TO_COME
    if since_ns % DAY_NS:
        # Keys are of days, so the rest of the day would go as well.
        day = rfc3339(since_ns - since_ns % DAY_NS)[:10]
        return Wanted(0, f"{BY_HAND}it names a time within {day}, and days are erased whole")
    return Wanted(since_ns)
