"""A core simple enough to see through.

It forwards each record with a running number, and counts on in `glasses.examples`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from streams import topology
from streams.errors import MalformedError
from streams.events.record import AgentSpec, Fetch, Outcome, Outgoing, WholeState
from streams.worker.run import WorkerContext, WorkerSettings, run_worker


class ToyCore(WholeState[int]):
    """State: how many records a partition has seen, the poisoned ones too.

    The core writes that number into each output.
    """

    def __init__(self, target: str, note: Path | None = None, pause_s: float = 0.0) -> None:
        self.target, self.note, self.pause_s = target, note, pause_s
        self.calls: list[tuple[int, int, bool]] = []

    def empty(self, partition: int) -> int:
        return 0

    def restore(self, partition: int, entries: Mapping[str, bytes]) -> int:
        return int(entries["seen"])

    def save(self, before: int | None, after: int) -> Mapping[str, bytes]:
        return {} if before == after else {"seen": b"%d" % after}

    async def process(
        self, state: int, fetch: Fetch, inputs: object, *, silent: bool, poisoned: Mapping[int, str]
    ) -> Outcome[int]:
        self.calls.append((fetch.partition, len(fetch.records), silent))
        if self.note is not None:
            with self.note.open("a") as note:
                note.write(
                    json.dumps([fetch.partition, fetch.records[0].offset, fetch.next_offset, silent]) + "\n"
                )
        outputs = []
        for record in fetch.records:
            state += 1
            value, key = record.value or b"", record.key or b""
            if record.offset in poisoned:
                outputs.append(
                    Outgoing(
                        topology.REJECTED,
                        fetch.partition,
                        key,
                        poisoned[record.offset].encode(),
                        (),
                        record.timestamp,
                    )
                )
                continue
            if value.startswith(b"poison"):
                raise MalformedError("cannot be understood")
            if value.startswith(b"bug"):
                raise KeyError(value)
            if value.startswith(b"big"):
                value = b"x" * int(value[3:])
            headers = [*record.headers, ("number", b"%d" % state)]
            outputs.append(Outgoing(self.target, fetch.partition, key, value, headers, record.timestamp))
        await asyncio.sleep(self.pause_s)
        return Outcome(state, outputs)


def main() -> None:
    """Run a worker with two toy agents.

    `python -m tests.kafka.toy BROKER AGENT SOURCE TARGET NOTE PAUSE_S`.
    """
    logging.basicConfig(level=logging.WARNING)
    broker, agent, source, target, note, pause_s = sys.argv[1:]
    # A room of its own on a broker that other tests use too.
    first = AgentSpec(agent, source, ToyCore(target, Path(note), float(pause_s)))
    second = AgentSpec(f"{agent}-2", f"{source}-2", ToyCore(f"{target}-2"))

    async def prepare(context: WorkerContext) -> list[AgentSpec]:
        there = await topic_names(str(context.settings.broker))
        return [spec for spec in (first, second) if spec.topic in there]

    sys.exit(run_worker(WorkerSettings(broker, "household"), prepare, Path(f"{note}.ready").touch))


async def topic_names(broker: str) -> set[str]:
    """Names of the topics that are there."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        return set(await admin.list_topics())
    finally:
        await admin.close()


if __name__ == "__main__":
    main()
