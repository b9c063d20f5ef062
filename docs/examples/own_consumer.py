"""Goes on with what is in one zone, in a topic of your own: python own_consumer.py HOST:PORT ZONE TOPIC."""

import asyncio
import secrets
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from streams.errors import MalformedError
from streams.events.codec import codec_of
from streams.events.headers import content_type_of
from streams.events.shipped import SHIPPED


async def main(broker: str, zone: str, target: str) -> None:
    """Write how many events each batch of `zone` on glasses.zoned holds, in the batch's own trace."""
    decode = codec_of(SHIPPED).decode
    options = {"isolation_level": "read_committed", "auto_offset_reset": "earliest"}
    async with (
        AIOKafkaConsumer("glasses.zoned", bootstrap_servers=broker, **options) as consumer,
        AIOKafkaProducer(bootstrap_servers=broker, enable_idempotence=True) as producer,
    ):
        async for record in consumer:
            headers = dict(record.headers)
            if headers.get("sightline-zone") != zone.encode():
                continue
            try:
                batch = decode(record.value, record.offset, content_type=content_type_of(record.headers))
            except MalformedError as error:
                print(f"{record.partition}:{record.offset}: {error}", file=sys.stderr)  # noqa: T201 - no value is in it
                continue
            onward = []
            if "traceparent" in headers:  # devices may leave it out
                version, trace, _, flags = headers["traceparent"].decode().split("-")
                onward.append(("traceparent", f"{version}-{trace}-{secrets.token_hex(8)}-{flags}".encode()))
            value = f"{batch.first_id} {batch.run.count}".encode()
            await producer.send_and_wait(target, value, record.key, headers=onward)


asyncio.run(main(*sys.argv[1:]))
