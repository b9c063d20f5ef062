"""Quix Streams at its defaults; further arguments name another `processing_guarantee` and compression."""

from __future__ import annotations

import sys
from typing import Any

from quixstreams import Application

from bench.peers import ADDED, LINGER_MS, NO_COMPRESSION


def _added(_value: Any, _key: Any, _timestamp: int, headers: Any) -> list[tuple[str, bytes]]:
    return [*(headers or ()), *ADDED]


def main(
    broker: str,
    source: str,
    target: str,
    group: str,
    guarantee: Any = "at-least-once",
    compression: str = NO_COMPRESSION,
) -> None:
    """Forward until a signal."""
    app = Application(
        broker_address=broker,
        consumer_group=group,
        auto_offset_reset="earliest",
        loglevel="ERROR",
        processing_guarantee=guarantee,
        use_changelog_topics=False,
        auto_create_topics=False,
        state_dir="quix-state",
        producer_extra_config={"linger.ms": LINGER_MS, "compression.type": compression},
    )
    read = app.topic(source, value_deserializer="bytes", key_deserializer="bytes")
    written = app.topic(target, value_serializer="bytes", key_serializer="bytes")
    app.dataframe(read).set_headers(_added).to_topic(written)
    app.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
