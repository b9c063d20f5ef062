"""Bytewax, one worker, with batches of 1,000 as its source reads them.

Delivery: at least once at best, because there is no recovery store.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main
from confluent_kafka import OFFSET_BEGINNING

from bench.peers import LINGER_MS
from bench.peers.tagging import FORWARD, Adding, adding_of
from streams.errors import MalformedError


def _forwarded(messages: list[Any], adding: Adding) -> list[Any]:
    sent = []
    for message in messages:
        try:
            headers = [
                *message.headers,
                *adding(message.key, message.value, message.headers, message.timestamp[1]),
            ]
        except MalformedError:
            continue
        sent.append(
            KafkaSinkMessage(message.key, message.value, headers=headers, partition=message.partition)
        )
    return sent


def main(broker: str, source: str, target: str, _group: str, work: str = FORWARD) -> None:
    """Work until a signal."""
    flow = Dataflow("forward")
    read = op.input(
        "in", flow, KafkaSource([broker], [source], batch_size=1000, starting_offset=OFFSET_BEGINNING)
    )
    forwarded = op.flat_map_batch("add", read, partial(_forwarded, adding=adding_of(work)))
    op.output(
        "out",
        forwarded,
        KafkaSink([broker], target, add_config={"linger.ms": str(LINGER_MS)}),
    )
    run_main(flow)


if __name__ == "__main__":
    main(*sys.argv[1:])
