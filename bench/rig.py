"""Broker, workers and snapshots writer as processes, with a paced load.

It is used for measurements over time, instead of races.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import click

from bench import consents
from bench.count import create
from bench.load import Sender
from bench.processes import cpu_s, rss_mb, start
from bench.traffic import Traffic
from streams import clock, settings, topology
from streams.demo import Part
from streams.errors import UnavailableError
from streams.events.batch import Batch
from streams.kafka.broker import EmbeddedBroker, free_port
from streams.kafka.reader import committed_offsets, read_all
from streams.kafka.topics import declare
from streams.policy.load import load
from streams.queries.status import Status
from streams.settings.kafka import KafkaSettings
from streams.topology import AGENTS, ANSWERS, CAPTURED, DERIVED, ZONED, group

_READY_WAIT_S = 60.0
#: The group may still assign partitions after every worker is ready.
_SETTLE_S = 4.0
_TICK_S = 0.02
_PACK_MAX = 500
_NUMBERS = 2**40


@dataclass
class Rig:
    """A broker with its topics, and the processes that use it.

    Figures are named `broker`, `worker` and `snapshots`.
    """

    directory: Path
    broker: EmbeddedBroker = field(default_factory=EmbeddedBroker)
    parts: dict[str, Part] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        """Directory of the store."""
        return self.directory / "store"

    @property
    def keys(self) -> Path:
        """Directory of the key store, if one is made."""
        return self.directory / "keys"

    def work(self, name: str = "worker", *options: str) -> Part:
        """Start a worker; `options` are those of `bench.worker`."""
        arguments = ("bench.worker", self.broker.address, "--keys", str(self.keys), *options)
        part = self.parts[name] = start(name, arguments, self.directory, says_ready=True)
        return part

    def serve(self, count: int, *options: str) -> None:
        """Start `sightline worker` as often as that, all with the key store in `keys`."""
        arguments = (
            *("streams.cli", "worker", "--broker", self.broker.address, "--keys", str(self.keys)),
            *options,
        )
        for name in (f"worker-{number}" for number in range(1, count + 1)):
            self.parts[name] = start(name, arguments, self.directory, says_ready=True)

    def write_store(self) -> None:
        """Start the snapshots writer."""
        where = ("--store", str(self.store), "--keys", str(self.keys))
        arguments = ("streams.cli", "snapshots", "--broker", self.broker.address, *where)
        self.parts["snapshots"] = start("snapshots", arguments, self.directory, says_ready=True)

    async def ready(self) -> None:
        """Wait until every worker has started and the group has assigned its partitions."""
        deadline_s = clock.monotonic_s() + _READY_WAIT_S
        for name, part in self.parts.items():
            while part.ready is not None and not part.ready.is_ready():
                self.check()
                if clock.monotonic_s() > deadline_s:
                    raise click.ClickException(
                        f"the {name} was not ready after {_READY_WAIT_S:.0f} s: {part.last_line()}"
                    )
                await asyncio.sleep(0.1)
        await asyncio.sleep(_SETTLE_S)

    def check(self) -> None:
        """Raise if a process has ended that should run."""
        for name, part in self.parts.items():
            if part.process.poll() is not None:
                raise click.ClickException(
                    f"the {name} ended with code {part.process.returncode}: {part.last_line()}"
                )

    async def drained(self, timeout_s: float = 120.0) -> None:
        """Wait until the workers of `serve` have processed everything that was sent."""
        deadline_s = clock.monotonic_s() + timeout_s
        for agent, topic in AGENTS.items():
            while await self._behind(agent, topic):
                self.check()
                if clock.monotonic_s() > deadline_s:
                    raise click.ClickException(f"the agent {agent} is behind after {timeout_s:.0f} s")
                await asyncio.sleep(0.2)

    async def _behind(self, agent: str, topic: str) -> bool:
        broker = self.broker.address
        prefix = KafkaSettings.of(broker).group_prefix(settings.GROUP_PREFIX)
        done = await committed_offsets(broker, group(agent, prefix), [topic])
        begins = {partition: offset for (_, partition), offset in done.items()}
        # Transaction markers follow the last record, so offsets alone do not tell whether one is unread.
        return bool(await read_all(broker, topic, from_offsets=begins))

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds by process."""
        return {
            "broker": cpu_s(self.broker.pid),
            **{name: cpu_s(part.process.pid) for name, part in self.parts.items()},
        }

    def rss_mb(self) -> dict[str, float]:
        """Resident memory by process, in MB, children included."""
        return {
            "broker": rss_mb(self.broker.pid),
            **{name: rss_mb(part.process.pid) for name, part in self.parts.items()},
        }


#: Highest number of devices in any load on a rig.
DEVICES_MAX = 1000


#: Topics of a rig that have append times; the others have them anyway, or are not measured.
_TIMED = (ZONED, DERIVED, ANSWERS)


@contextlib.asynccontextmanager
async def rig(directory: Path, *, training: bool = False) -> AsyncIterator[Rig]:
    """A rig with its own broker in `directory`; what leaves a worker for others has append times.

    With `training` every wearer consents to it. Everything is stopped after the block.
    """
    directory.mkdir(parents=True)
    made = Rig(directory)
    try:
        await asyncio.to_thread(made.broker.start, directory / "kafka", free_port())
        await create(made.broker.address, [], [topology.topic(name) for name in _TIMED])
        await declare(made.broker.address)
        policy = load(settings.POLICY)
        await consents.publish(made.broker.address, policy, DEVICES_MAX, training=training)
        yield made
    finally:
        for part in made.parts.values():
            await asyncio.to_thread(part.stop)
        await asyncio.to_thread(made.broker.stop)


class Load:
    """Batches without end; numbers continue over all calls.

    It records when each batch was handed over and when it was acknowledged.

    `sent_ns` is the time of handing over by device, stream and first number. Capture times depend on the
    count, not on the clock.
    """

    def __init__(self, broker: str, traffic: Traffic, device_count: int) -> None:
        self.sender = Sender(broker, CAPTURED)
        self.sent = 0
        self.sent_ns: dict[tuple[str, str, int], int] = {}
        self._batches: Iterator[Batch] = traffic.batches(0, _NUMBERS, clock.now_ns(), device_count)
        self._acks: set[asyncio.Future[object]] = set()

    async def hand_over(self, number: int) -> None:
        """Pass `number` batches to the producer; returns before they are acknowledged."""
        for _ in range(0, number, _PACK_MAX):
            some = list(islice(self._batches, min(number, _PACK_MAX)))
            number -= len(some)
            now_ns = clock.now_ns()
            self.sent_ns.update({(batch.source, batch.stream, batch.run.first): now_ns for batch in some})
            for ack in await self.sender.send(some):
                self._acks.add(ack)
                ack.add_done_callback(self._acked)
            self.sent += len(some)

    async def pace(self, per_s: float, seconds: float) -> None:
        """Pass batches to the producer at a steady rate."""
        began_s, before = clock.monotonic_s(), self.sent
        while (passed_s := clock.monotonic_s() - began_s) < seconds:
            if (due := int(per_s * passed_s) - (self.sent - before)) > 0:
                await self.hand_over(due)
            await asyncio.sleep(_TICK_S)

    def _acked(self, ack: asyncio.Future[object]) -> None:
        self._acks.discard(ack)
        ack.result()


class Visible:
    """Watches a store: when each epoch became visible, and the captured batches in the newest one."""

    def __init__(self, store: Path) -> None:
        self._store, self._status = store, Status(store)
        self._task: asyncio.Task[None] | None = None
        #: Time at which `catalog.duckdb` was first seen to lead to an epoch, by its number.
        self.seen_ns: dict[int, int] = {}

    async def __aenter__(self) -> Visible:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        link = self._store / "catalog.duckdb"
        while True:
            if link.is_symlink():
                epoch = int(link.readlink().name.removeprefix("catalog-").removesuffix(".duckdb"))
                self.seen_ns.setdefault(epoch, clock.now_ns())
            await asyncio.sleep(0.005)

    async def batches(self) -> int:
        """Number of captured batches in the newest epoch.

        It is the sum of offsets, which have no gaps here.
        """
        with contextlib.suppress(UnavailableError):
            await asyncio.to_thread(self._status.read)
        return sum(self._status.seen.values())

    async def reach(self, number: int, made: Rig, timeout_s: float = 120.0) -> None:
        """Wait until the newest epoch has `number` captured batches."""
        deadline_s = clock.monotonic_s() + timeout_s
        while (found := await self.batches()) < number:
            made.check()
            if clock.monotonic_s() > deadline_s:
                raise click.ClickException(
                    f"{found:,} of {number:,} batches are visible after {timeout_s:.0f} s"
                )
            await asyncio.sleep(0.2)
