"""Size of a value on the wire and the cost of reading it, in both encodings."""

from __future__ import annotations

import time

from bench import bars
from bench.bars import Measured, Rows
from bench.load import DEVICES
from bench.traffic import (
    GLASSES,
    GLASSES_BINARY,
    IMU_20,
    IMU_20_BINARY,
    IMU_160,
    IMU_160_BINARY,
    Traffic,
)
from streams.events.codec import codec_of, encode
from streams.events.shipped import SHIPPED

_PAIRS = ((IMU_20, IMU_20_BINARY), (IMU_160, IMU_160_BINARY), (GLASSES, GLASSES_BINARY))
#: The fastest of this many repetitions is the cost; slower ones are due to the machine.
_TURNS = 3


def sizes(number: int) -> Measured:
    """One table: bytes of a value and CPU time to read it, means over `number` batches of each traffic."""
    rows: Rows = []
    of_json: dict[str, float] = {}
    for plain, packed in _PAIRS:
        both = [_measured(traffic, number) for traffic in (plain, packed)]
        of_json[plain.name] = both[1][0] / both[0][0]
        rows += [
            {
                "traffic": traffic.name,
                "bytes a value": round(size),
                "of JSON's": round(size / both[0][0], 3),
                "read, µs": round(read_us, 1),
            }
            for traffic, (size, read_us) in zip((plain, packed), both, strict=True)
        ]
    held = [bars.BYTES_20.held([of_json[IMU_20.name]]), bars.BYTES_160.held([of_json[IMU_160.name]])]
    return Measured({f"A value on the wire, {number:,} batches": rows}, held)


def _measured(traffic: Traffic, number: int) -> tuple[float, float]:
    """Mean bytes of a value, and mean CPU time to read it in µs."""
    decode = codec_of(SHIPPED).decode
    sent = [(encode(batch), batch.content_type) for batch in traffic.batches(0, number, 10**18, DEVICES)]
    spent_s = []
    for _ in range(_TURNS):
        began_s = time.thread_time()
        for value, content_type in sent:
            decode(value, 0, 10**18, content_type=content_type)
        spent_s.append(time.thread_time() - began_s)
    return sum(len(value) for value, _ in sent) / number, min(spent_s) / number * 1e6
