"""Bytewax, one worker, batches of 1,000 as its source reads them.

At least once at best: without a recovery store.
"""

from __future__ import annotations

import sys
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main
from confluent_kafka import OFFSET_BEGINNING

from bench.peers import ADDED, LINGER_MS, NO_COMPRESSION


def _forwarded(messages: list[Any]) -> list[Any]:
    return [
        KafkaSinkMessage(
            message.key, message.value, headers=[*message.headers, *ADDED], partition=message.partition
        )
        for message in messages
    ]


def main(broker: str, source: str, target: str, _group: str, compression: str = NO_COMPRESSION) -> None:
    """Forward until a signal."""
    flow = Dataflow("forward")
    read = op.input(
        "in", flow, KafkaSource([broker], [source], batch_size=1000, starting_offset=OFFSET_BEGINNING)
    )
    forwarded = op.flat_map_batch("add", read, _forwarded)
    op.output(
        "out",
        forwarded,
        KafkaSink(
            [broker], target, add_config={"linger.ms": str(LINGER_MS), "compression.type": compression}
        ),
    )
    run_main(flow)


if __name__ == "__main__":
    main(*sys.argv[1:])
