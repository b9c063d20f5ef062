"""A stream processor that fails in one of four ways: stock Faust, or an agent on our transport.

`python -m tests.recovery.subject stock|ours WAY BROKER NAME DIRECTORY`. The fault strikes while
`DIRECTORY/fault` exists; a failure that is raised removes the file, so that a second attempt would succeed.
Stock Faust notes what it has processed in `DIRECTORY/processed`.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import faust

from streams.events.record import AgentSpec, Fetch, Outcome
from streams.worker.run import WorkerContext, WorkerSettings, run_worker
from tests.kafka.toy import ToyCore

#: The record that the fault is about.
STRUCK = b"20"
FOR_EVER_S = 600.0


class FaultError(Exception):
    """Something that passes: the next attempt would succeed."""


def strike(directory: Path) -> None:
    """Fail once."""
    fault = directory / "fault"
    if fault.exists():
        fault.unlink()
        raise FaultError


def stock(way: str, broker: str, name: str, directory: Path) -> None:
    """Stock Faust at its own settings, but for a session and a commit interval that keep the test short."""
    app: Any = faust.App(
        name,
        broker=f"kafka://{broker}",
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
        datadir=str(directory / "faust"),
        broker_session_timeout=6.0,
        broker_heartbeat_interval=1.0,
        broker_commit_interval=0.5,
    )
    source = app.topic(name, key_serializer="raw", value_serializer="raw", value_type=bytes, key_type=bytes)

    def note(value: bytes) -> None:
        with (directory / "processed").open("ab") as processed:
            processed.write(value + b"\n")

    async def in_flight(stream: Any) -> None:
        async for value in stream:
            if value == STRUCK and (directory / "fault").exists():
                await asyncio.sleep(FOR_EVER_S)
            note(value)

    async def raising(stream: Any) -> None:
        async for value in stream:
            if value == STRUCK:
                strike(directory)
            note(value)

    async def taking(stream: Any) -> None:
        async for values in stream.take(10, within=1.0):
            if STRUCK in values:
                strike(directory)
            for value in values:
                note(value)

    async def not_acking(stream: Any) -> None:
        async for event in stream.noack().events():
            if event.value == STRUCK and (directory / "fault").exists():
                continue  # kept for later, not acknowledged
            note(event.value)
            event.ack()

    ways = {"in flight": in_flight, "raise": raising, "take": taking, "noack": not_acking}
    app.agent(source, concurrency=2 if way == "in flight" else 1)(ways[way])
    sys.argv = [sys.argv[0], "worker", "-l", "error", "--without-web"]
    app.main()


class FaultyCore(ToyCore):
    """Forwards, except where the fault strikes: the same faults, in what our transport calls."""

    def __init__(self, way: str, target: str, directory: Path) -> None:
        super().__init__(target)
        self.way, self.directory = way, directory

    async def process(
        self, state: int, fetch: Fetch, inputs: object, *, silent: bool, poisoned: Mapping[int, str]
    ) -> Outcome[int]:
        if any(record.value == STRUCK for record in fetch.records):
            if self.way in {"raise", "take"}:
                strike(self.directory)
            elif (self.directory / "fault").exists():
                (self.directory / "struck").touch()
                await asyncio.sleep(FOR_EVER_S)
        return await super().process(state, fetch, inputs, silent=silent, poisoned=poisoned)


def ours(way: str, broker: str, name: str, directory: Path) -> None:
    """A worker with one agent that reads the topic of its own name and writes `NAME-out`."""

    async def prepare(_context: WorkerContext) -> list[AgentSpec]:
        return [AgentSpec(name, name, FaultyCore(way, f"{name}-out", directory))]

    sys.exit(run_worker(WorkerSettings(broker, "household"), prepare))


def main() -> None:
    """Run the subject that the arguments name."""
    logging.basicConfig(level=logging.ERROR)
    kind, way, broker, name, directory = sys.argv[1:]
    (stock if kind == "stock" else ours)(way, broker, name, Path(directory))


if __name__ == "__main__":
    main()
