"""Cost of TLS and authentication: the same batches written and read unencrypted, and over TLS with SCRAM."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from bench.bars import Measured, Rows
from bench.load import DEVICES
from bench.processes import cpu_s
from bench.traffic import IMU_20
from streams import limits
from streams.connection.connect import administering
from streams.connection.credentials import client_options
from streams.events.codec import encode
from streams.kafka.reader import read_through
from streams.settings.kafka import KafkaSettings
from tests.kafka import guarded

_TOPIC = "tls"
PLAIN, SECURED = "in the clear", "TLS and SCRAM-SHA-512"


@dataclass(frozen=True, slots=True)
class _Spent:
    """Seconds of one way: elapsed, CPU of this process, CPU of the node."""

    wall_s: float
    client_s: float
    node_s: float


async def tls(directory: Path, number: int, rounds: int) -> Measured:
    """One table: `number` batches each way, in alternating rounds; the medians of the costs.

    A ratio is computed within each round, so that other load on the machine affects both sides.
    """
    directory.mkdir(parents=True)
    kafka = guarded.started(directory)
    try:
        # For tests, the node ends SCRAM-SHA-256 sessions every second.
        ways = {
            PLAIN: KafkaSettings(kafka.node.address),
            SECURED: replace(kafka.settings(), mechanism="SCRAM-SHA-512"),
        }
        values = [encode(batch) for batch in IMU_20.batches(0, number, 10**18, DEVICES)]
        async with administering(kafka.node.address) as admin:
            # The first round warms the node up and is not reported.
            names = [f"{_TOPIC}-{turn}-{at}" for turn in range(rounds + 1) for at in range(len(ways))]
            await admin.create_topics([NewTopic(name, 1, 1) for name in names])
        spent: dict[str, list[_Spent]] = {name: [] for name in ways}
        for turn in range(rounds + 1):
            for at, (name, way) in enumerate(ways.items()):
                spent[name].append(
                    await _there_and_back(way, kafka.node.pid, f"{_TOPIC}-{turn}-{at}", values)
                )
    finally:
        kafka.node.stop()
    size_mb = sum(map(len, values)) / 1e6
    title = f"TLS and a name: {number:,} batches, {size_mb:.0f} MB, written and read back, {rounds} rounds"
    return Measured({title: _rows({name: turns[1:] for name, turns in spent.items()})})


def _rows(spent: dict[str, list[_Spent]]) -> Rows:
    rows: Rows = []
    for name, turns in spent.items():
        row: dict[str, object] = {"way": name}
        for figure in ("wall", "client", "node"):
            seconds = [getattr(turn, f"{figure}_s") for turn in turns]
            plain = [getattr(turn, f"{figure}_s") for turn in spent[PLAIN]]
            row[f"{figure}, s"] = round(median(seconds), 2)
            row[f"{figure}, x plain"] = round(median(map(_ratio, seconds, plain)), 2)
        rows.append(row)
    return rows


def _ratio(seconds: float, plain_s: float) -> float:
    return seconds / max(plain_s, 1e-3)


async def _there_and_back(
    way: KafkaSettings, node_pid: int | None, topic: str, values: Sequence[bytes]
) -> _Spent:
    began_s, client_s, node_s = time.perf_counter(), time.process_time(), cpu_s(node_pid)
    producer = AIOKafkaProducer(
        **client_options(way), acks="all", enable_idempotence=True, max_request_size=limits.MESSAGE_BYTES_MAX
    )
    read = 0

    def count(_record: object) -> None:
        nonlocal read
        read += 1

    async with producer:
        for value in values:
            await producer.send(topic, value)
    await read_through(way, topic, count)
    if read != len(values):
        raise AssertionError(f"{topic}: {len(values)} batches were written and {read} read")
    return _Spent(time.perf_counter() - began_s, time.process_time() - client_s, cpu_s(node_pid) - node_s)
