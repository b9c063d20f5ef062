"""One time of owning a source partition: what happens to a fetch between its delivery and its commit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from streams import clock, limits, metrics
from streams.events.record import Core, Fetch, LogId, Outcome, Outgoing, stamp_ns
from streams.kafka import budget, checkpoint
from streams.kafka.compute import OUTSIDE, compute
from streams.kafka.transaction import ProducerLostError, TransactionWriter

log = logging.getLogger(__name__)

State = TypeVar("State")
STOP_WORK_S = 1.5
_OUTSIDE_PAUSE_FIRST_S = 0.1


@dataclass(eq=False)
class Ownership(Generic[State]):
    """One time of owning a partition.

    It has a producer, the state after the last commit, and where the next fetch begins.

    Delivery: exactly once. `state` and `next_offset` change after the commit only, so a failed transaction
    leaves them as committed.
    """

    agent: str
    core: Core[State]
    writer: TransactionWriter
    state: State
    next_offset: int
    saved: State | None
    #: Entries that could not be read: the first checkpoint, which is due at once, writes or removes them.
    unread: frozenset[str] = frozenset()
    #: Logs that the agent reads, by topic: every checkpoint says them.
    logs: Mapping[str, LogId] = field(default_factory=dict)
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(limits.FETCHES_IN_FLIGHT_MAX))
    ended: bool = False
    saved_s: float = field(default_factory=clock.monotonic_s)
    lost: asyncio.Future[ProducerLostError] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    work: asyncio.Task[None] | None = None
    saved_offset: int = field(init=False)

    def __post_init__(self) -> None:
        self.saved_offset = self.next_offset

    async def process(self, fetch: Fetch, size_bytes: int) -> None:
        """Compute first, transact last, change the state in memory after that.

        Fetches of an ended ownership are left alone.

        `size_bytes` is what the fetch took of the worker's budget.

        Raises
        ------
        CoreFailedError
            The core fails for another reason than its data.
        """
        if self.ended:
            return
        self.work = asyncio.create_task(self._step(fetch))
        try:
            # The agent may be cancelled at any moment; a transaction is better finished than left open.
            await asyncio.shield(self.work)
        except asyncio.CancelledError:
            # Where `end` gave the work up, the agent is not what was cancelled: Faust would start its actor
            # again, and mode ends the process when two actors are started again within 10 ms.
            agent = asyncio.current_task()
            if agent is None or agent.cancelling():
                raise
        except ProducerLostError as error:
            self.ended = True
            if not self.lost.done():
                self.lost.set_result(error)
        finally:
            self.slots.release()
            budget.WORKER.give_back(self, size_bytes)

    async def _step(self, fetch: Fetch) -> None:
        if fetch.records[0].offset < self.next_offset:
            raise ProducerLostError(
                f"offset {fetch.records[0].offset} came again, expected {self.next_offset} or later"
            )
        began_s = clock.monotonic_s()
        outcome = await self._computed(fetch)
        outputs = list(outcome.outputs)
        now_s = clock.monotonic_s()
        save = (
            outcome.checkpoint
            or self.saved is None
            or self.unread
            or now_s - self.saved_s >= limits.CHECKPOINT_INTERVAL_S
            or fetch.next_offset - self.saved_offset >= limits.CHECKPOINT_RECORDS_MAX
        )
        if save:
            entries = self.core.save(self.saved, outcome.state)
            outputs += checkpoint.outputs(
                self.agent,
                fetch.partition,
                entries,
                fetch.next_offset,
                stamp_ns(fetch.records[-1]) // 1_000_000,
                self.unread - entries.keys() - {checkpoint.CHECKPOINT_NAME},
                self.logs,
            )
        await self.writer.write(outputs, fetch.next_offset)
        self.state, self.next_offset = outcome.state, fetch.next_offset
        self._measure(fetch, outputs, now_s - began_s, clock.monotonic_s() - now_s)
        if save:
            self.saved, self.saved_s, self.saved_offset = outcome.state, now_s, fetch.next_offset
            self.unread = frozenset()

    async def _computed(self, fetch: Fetch) -> Outcome[State]:
        """Compute; what fails for an outside reason is tried again as long as the partition is ours.

        The pauses between tries grow.
        """
        pause_s = _OUTSIDE_PAUSE_FIRST_S
        while True:
            try:
                return await compute(self.core, self.state, fetch, silent=False)
            except OUTSIDE as error:
                metrics.count("fetch_retried_total", agent=self.agent)
                log.warning(
                    "%s partition %d offset %d cannot be processed now, "
                    "nothing is skipped; tried again in %.1f s: %r",
                    fetch.topic,
                    fetch.partition,
                    fetch.records[0].offset,
                    pause_s,
                    error,
                )
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, limits.OUTSIDE_PAUSE_MAX_S)

    def _measure(
        self, fetch: Fetch, outputs: Sequence[Outgoing], compute_s: float, transaction_s: float
    ) -> None:
        metrics.count("fetch_total", agent=self.agent)
        metrics.count("fetch_records_total", len(fetch.records), agent=self.agent)
        metrics.count("fetch_compute_seconds_total", compute_s, agent=self.agent)
        metrics.count("transaction_seconds_total", transaction_s, agent=self.agent)
        for topic, count in Counter(output.topic for output in outputs).items():
            metrics.count("output_total", count, agent=self.agent, topic=topic)

    async def end(self) -> None:
        """Let a running fetch finish for 1.5 s, then abort it; close the producer."""
        self.ended = True
        if self.work is not None and not self.work.done():
            await asyncio.wait({self.work}, timeout=STOP_WORK_S)
            self.work.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self.work
        await self.writer.close()


@dataclass(frozen=True, slots=True)
class Delivery:
    """A fetch on its way to the agent, with the ownership it was read under."""

    ownership: Ownership[Any]
    fetch: Fetch
    size_bytes: int

    async def process(self) -> None:
        """Process the fetch in its transaction, unless its ownership has ended meanwhile."""
        await self.ownership.process(self.fetch, self.size_bytes)
