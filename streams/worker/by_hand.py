"""What a wearer asked for in an erasure request: all, or a span of time. The store has no values."""

from __future__ import annotations

from streams.errors import InputError, MalformedError
from streams.events.batch import Batch
from streams.events.codec import Codec
from streams.events.headers import content_type_of
from streams.events.record import stamp_ns
from streams.kafka.reader import read_all
from streams.queries.requested import ErasureRequest
from streams.settings.kafka import Broker
from streams.topology import CAPTURED

BY_HAND = "by hand: "
_SPAN = f"{BY_HAND}it names a span of time"
_GONE = f"{BY_HAND}its record is gone from {CAPTURED}"


async def why_by_hand(broker: Broker, codec: Codec, request: ErasureRequest) -> str:
    """Why a request cannot be carried out by itself; empty if all of the wearer's data is to be erased.

    More than the wearer asked for is never erased: it does not come back.
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
                return _SPAN if _names_a_span(batch, event[2] - batch.run.first) else ""
    except (InputError, MalformedError):
        # Retention deleted it, or these are other topics than the store's.
        return _GONE
    return _GONE


def _names_a_span(batch: Batch, index: int) -> bool:
    return any(batch.columns[name][index] is not None for name in ("from_ns", "to_ns"))
