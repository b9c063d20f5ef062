"""Quix Streams with default settings; further arguments choose another `processing_guarantee`."""

from __future__ import annotations

import sys
from typing import Any

from quixstreams import Application

from bench.peers import LINGER_MS
from bench.peers.tagging import FORWARD, adding_of
from streams.errors import MalformedError


def main(
    broker: str, source: str, target: str, group: str, work: str = FORWARD, guarantee: Any = "at-least-once"
) -> None:
    """Work until a signal."""
    adding = adding_of(work)

    def added(value: bytes, key: bytes, timestamp: int, headers: Any) -> list[tuple[str, bytes]]:
        given = headers or ()
        return [*given, *adding(key, value, given, timestamp)]

    app = Application(
        broker_address=broker,
        consumer_group=group,
        auto_offset_reset="earliest",
        loglevel="ERROR",
        processing_guarantee=guarantee,
        use_changelog_topics=False,
        auto_create_topics=False,
        state_dir="quix-state",
        producer_extra_config={"linger.ms": LINGER_MS},
        # A refused record is skipped; any other error ends the program.
        on_processing_error=lambda error, _row, _logger: isinstance(error, MalformedError),
    )
    read = app.topic(source, value_deserializer="bytes", key_deserializer="bytes")
    written = app.topic(target, value_serializer="bytes", key_serializer="bytes")
    app.dataframe(read).set_headers(added).to_topic(written)
    app.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
