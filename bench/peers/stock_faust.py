"""Stock Faust with its default settings, at least once."""

from __future__ import annotations

import sys
from typing import Any

import faust

from bench.peers import ADDED


def main(broker: str, source_topic: str, target_topic: str, group: str) -> None:
    """Run the worker until a signal.

    It runs without the web server and the leader topic, which forwarding does not need.
    """
    app: Any = faust.App(
        group,
        broker=f"kafka://{broker}",
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
    )
    source = app.topic(
        source_topic, key_serializer="raw", value_serializer="raw", value_type=bytes, key_type=bytes
    )
    target = app.topic(
        target_topic, key_serializer="raw", value_serializer="raw", value_type=bytes, key_type=bytes
    )

    async def forward(stream: Any) -> None:
        async for event in stream.events():
            headers = {**dict(event.headers), **dict(ADDED)}
            await target.send(
                key=event.key, value=event.value, partition=event.message.partition, headers=headers
            )

    app.agent(source)(forward)
    sys.argv = [sys.argv[0], "worker", "-l", "warn", "--without-web"]
    app.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
