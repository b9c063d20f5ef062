"""Stock Faust at its own defaults: adds two headers to each record and sends it on. `python -m bench.stock_faust HOST:PORT`."""

from __future__ import annotations

import sys
from typing import Any

import faust

from bench.subjects import FORWARDED
from streams.topology import CAPTURED


def main(broker: str) -> None:
    """Run the worker until a signal. Without the web server and the leader topic, which forwarding does not need."""
    app: Any = faust.App("bench-faust", broker=f"kafka://{broker}", topic_disable_leader=True, web_enabled=False)
    source = app.topic(CAPTURED, key_serializer="raw", value_serializer="raw", value_type=bytes, key_type=bytes)
    target = app.topic(FORWARDED, key_serializer="raw", value_serializer="raw", value_type=bytes, key_type=bytes)

    async def forward(stream: Any) -> None:
        async for event in stream.events():
            headers = {**dict(event.headers), "sightline-zone": b"home-private", "sightline-label": b"0000000000000000:00"}
            await target.send(key=event.key, value=event.value, partition=event.message.partition, headers=headers)

    app.agent(source)(forward)
    sys.argv = [sys.argv[0], "worker", "-l", "warn", "--without-web"]
    app.main()


if __name__ == "__main__":
    main(sys.argv[1])
