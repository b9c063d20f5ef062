"""Opens examples for a purpose: python open_sealed.py HOST:PORT SINK PRINCIPAL KEY-SERVICE TOKEN-FILE."""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer

from streams import open_sealed


async def main(broker: str, sink: str, principal: str, service: str, token: str) -> None:
    """Print the size of each example that the policy opens, and of each other one the reason."""
    options = {"isolation_level": "read_committed", "auto_offset_reset": "earliest"}
    async with (
        AIOKafkaConsumer("glasses.examples", bootstrap_servers=broker, **options) as consumer,
        open_sealed(broker, sink, principal, service=service, token=token) as sealed,
    ):
        async for record in consumer:
            value, rule = await sealed.opened(record)
            print(record.offset, len(value) if value else rule, flush=True)  # noqa: T201


asyncio.run(main(*sys.argv[1:]))
