"""What moves: the offsets that the agent has committed, sampled all the time.

Also how long they stood still after a fault.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from streams import clock, topology
from tests.recovery.pipeline import Struck
from tests.recovery.schedule import ALONE_BEFORE_S

AGENT = "glasses"
EVERY_S = 0.2
#: A stall that begins this long after a fault is no longer its doing.
AFTER_S = 10.0
_ASK_WAIT_S = 2.0


@contextmanager
def quiet_client() -> Iterator[None]:
    """Let the Kafka client of this process say nothing in the block.

    It logs every attempt to connect, and here the broker is away often; whoever waits for it says so once.
    """
    logger, nobody = logging.getLogger("aiokafka"), logging.NullHandler()
    logger.addHandler(nobody)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = True
        logger.removeHandler(nobody)


@dataclass
class Watch:
    """Times at which each partition of glasses.captured moved on, or had nothing left to do.

    Seconds, monotonic.
    """

    broker: str
    partitions: int = topology.PARTITIONS_DEFAULT
    say: Callable[[str], None] = lambda _sentence: None
    moved: dict[int, list[float]] = field(default_factory=dict)
    samples: list[tuple[float, int, int]] = field(default_factory=list)
    """Time, batches committed, batches captured."""

    def __post_init__(self) -> None:
        self._before: dict[int, int] = {}
        self._away = False
        self._tps = [TopicPartition(topology.CAPTURED, number) for number in range(self.partitions)]

    async def run(self) -> None:
        """Sample until cancelled; a broker that is away or frozen gives no samples, which is said."""
        while True:
            with contextlib.suppress(Exception):
                async with self._clients() as (admin, consumer):
                    while True:
                        async with asyncio.timeout(_ASK_WAIT_S):
                            listed = await admin.list_consumer_group_offsets(AGENT, partitions=self._tps)
                            ends = await consumer.end_offsets(self._tps)
                        self._note_broker(away=False)
                        committed = {
                            tp.partition: max(0, listed[tp].offset) for tp in self._tps if tp in listed
                        }
                        self.note(
                            clock.monotonic_s(), committed, {tp.partition: end for tp, end in ends.items()}
                        )
                        await asyncio.sleep(EVERY_S)
            self._note_broker(away=True)
            await asyncio.sleep(EVERY_S)

    def _note_broker(self, *, away: bool) -> None:
        if away != self._away:
            self.say(f"the broker at {self.broker} {'does not answer' if away else 'answers again'}")
        self._away = away

    def note(self, at_s: float, committed: dict[int, int], ends: dict[int, int]) -> None:
        """Take in one sample."""
        for partition, offset in committed.items():
            if offset > self._before.get(partition, 0) or offset >= ends.get(partition, 0):
                self.moved.setdefault(partition, []).append(at_s)
            self._before[partition] = max(offset, self._before.get(partition, 0))
        self.samples.append((at_s, sum(self._before.values()), sum(ends.values())))

    @asynccontextmanager
    async def _clients(self) -> AsyncIterator[tuple[AIOKafkaAdminClient, AIOKafkaConsumer]]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.broker, request_timeout_ms=2000)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.broker, enable_auto_commit=False, request_timeout_ms=2000
        )
        try:
            async with asyncio.timeout(_ASK_WAIT_S):
                await admin.start()
                await consumer.start()
            yield admin, consumer
        finally:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_ASK_WAIT_S):
                    await asyncio.gather(admin.close(), consumer.stop(), return_exceptions=True)

    def stall_s(self, from_s: float) -> float:
        """Longest time from `from_s` on in which a partition with work did not move.

        It counts if it began within AFTER_S of `from_s`.
        """
        longest = 0.0
        for times in self.moved.values():
            reached = from_s
            for at_s in times:
                if at_s <= from_s:
                    continue
                if reached > from_s + AFTER_S:
                    break
                longest = max(longest, at_s - reached)
                reached = at_s
        return round(longest, 1)


@dataclass(frozen=True, slots=True)
class Stall:
    """How long output stood still after one fault; `alone` if no other one lasted or followed meanwhile."""

    struck: Struck
    stall_s: float
    alone: bool


def stalls(watch: Watch, struck: Sequence[Struck], kind: str) -> list[Stall]:
    """Stalls after each fault of `kind`.

    That of a killed worker counts from the kill, that of a broker from when it answered again.
    """
    found = []
    for one in struck:
        if one.fault.kind != kind:
            continue
        from_s = one.back_s if kind.startswith("broker") else one.began_s
        stall_s = watch.stall_s(from_s)
        until_s = from_s + max(stall_s, 1.0)
        # A worker that was struck shortly before is still on its way back, and two hours of batches in a few
        # seconds take all the CPU there is; snapshots hold nobody up.
        alone = not any(
            other is not one
            and other.fault.kind.startswith(("worker", "broker", "backlog"))
            and other.began_s < until_s
            and other.back_s + ALONE_BEFORE_S > one.began_s + 0.5
            for other in struck
        )
        found.append(Stall(one, stall_s, alone))
    return found
