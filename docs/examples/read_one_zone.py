"""Reads the batches of one zone from glasses.zoned, by the header alone.

No value is opened, not even of that zone.

    pip install 'aiokafka[zstd]'
    python read_one_zone.py --broker 127.0.0.1:9092 --zone public

Prints a line a batch: its id, its events, its place, and a traceparent that continues the batch's trace.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets

from aiokafka import AIOKafkaConsumer


def continued(traceparent: str) -> str:
    """Give the next span of the same trace.

    Version, trace and flags stay, the span is a new one (W3C trace context).
    """
    version, trace, _, flags = traceparent.split("-")
    return f"{version}-{trace}-{secrets.token_hex(8)}-{flags}"


async def read(broker: str, topic: str, zone: str, most: int) -> None:
    """Print batches of `zone` from the beginning of the topic on; stop after `most` of them, 0: never."""
    # Without a group every reader sees every partition. Read committed: what a worker took back is not shown.
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=broker, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    found = 0
    try:
        async for record in consumer:
            headers = {name: value.decode(errors="replace") for name, value in record.headers}
            if headers.get("sightline-zone") != zone:
                continue
            first, step, count = headers["sightline-run"].split()
            # Whatever is done with the batch from here on belongs to this span; pass it on with what
            # you send.
            print(  # noqa: T201 - it is for reading
                headers["ce_id"],
                headers["ce_type"],
                f"{count} events from {first} by {step}",
                f"{len(record.value)} bytes at {record.partition}:{record.offset}",
                # A device may leave it out.
                continued(headers["traceparent"]) if "traceparent" in headers else "-",
                flush=True,
            )
            found += 1
            if found == most:
                return
    finally:
        await consumer.stop()


def main() -> None:
    """Read the arguments and go."""
    parser = argparse.ArgumentParser(description="Read the batches of one zone by their headers.")
    parser.add_argument("--broker", default="127.0.0.1:9092", help="HOST:PORT")
    parser.add_argument("--topic", default="glasses.zoned")
    parser.add_argument("--zone", required=True, help="such as public or home-private")
    parser.add_argument("--most", type=int, default=0, help="stop after this many batches; 0: never")
    arguments = parser.parse_args()
    asyncio.run(read(arguments.broker, arguments.topic, arguments.zone, arguments.most))


if __name__ == "__main__":
    main()
