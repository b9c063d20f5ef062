"""The ownership of a source partition: processes each fetch from its delivery to its commit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from streams import clock, limits, metrics
from streams.events.record import Fetch, LiveCore, LogId, Outcome, Outgoing, stamp_ns
from streams.kafka import budget, checkpoint, tracing
from streams.kafka.compute import OUTSIDE, compute
from streams.kafka.standing import telling
from streams.kafka.transaction import ProducerLostError, TransactionWriter

log = logging.getLogger(__name__)

State = TypeVar("State")
STOP_WORK_S = 1.5
STOP_SAVE_S = 1.0
_OUTSIDE_PAUSE_FIRST_S = 0.1


@dataclass(eq=False)
class Ownership(Generic[State]):
    """One period in which a worker owns a partition, until it is revoked or the producer is lost.

    It has a producer, the state after the last commit, and the offset of the next fetch.

    Delivery: exactly once. `state` and `next_offset` change only after a commit, so a failed transaction
    leaves them as committed.
    """

    agent: str
    core: LiveCore[State]
    writer: TransactionWriter
    state: State
    next_offset: int
    saved: State | None
    #: Entries on `glasses.state` that could not be read. The first checkpoint, due at once, replaces or
    #: removes them.
    unread: frozenset[str] = frozenset()
    #: Logs that the agent reads, by topic; written with every checkpoint.
    logs: Mapping[str, LogId] = field(default_factory=dict)
    #: Append time of the last record that the state includes, ms since the epoch.
    seen_ms: int = 0
    #: Whether a checkpoint is due although the state is saved, because the group has no commit for it, or a
    #: foreign one.
    uncommitted: bool = False
    #: Bound for the next fetch. The first fetches of an owner are small, so that results come soon, other
    #: partitions get their turn, and little work is repeated if the partition is lost at once: `end` waits
    #: only STOP_WORK_S for a running fetch.
    records_max: int = field(default_factory=lambda: limits.FETCH_RECORDS_FIRST)
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(limits.FETCHES_IN_FLIGHT_MAX))
    ended: bool = False
    saved_s: float = field(default_factory=clock.monotonic_s)
    lost: asyncio.Future[ProducerLostError] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    work: asyncio.Task[None] | None = None
    saved_offset: int = field(init=False)
    #: Append time of the first record of each fetch that is processed now, ms since the epoch.
    under_way_ms: deque[int] = field(default_factory=deque)
    #: A producer can have only one transaction at a time.
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.saved_offset = self.next_offset

    async def process(self, fetch: Fetch, size_bytes: int) -> None:
        """Compute a fetch, commit its transaction, and then change the state in memory.

        Does nothing if the ownership has ended. `size_bytes` is the share of the worker's budget that the
        fetch holds.

        Raises
        ------
        CoreFailedError
            The core fails for a reason that is not in the data.
        """
        if self.ended:
            return
        self.work = asyncio.create_task(self._in_turn(self._traced(fetch)))
        self.under_way_ms.append(fetch.records[0].timestamp)
        try:
            # The agent may be cancelled at any moment, and the transaction should be finished all the same.
            await asyncio.shield(self.work)
        except asyncio.CancelledError:
            # If `end` cancelled the work and not Faust the agent, the error must not reach Faust: it would
            # restart the actor, and mode ends the process if two actors restart within 10 ms.
            agent = asyncio.current_task()
            if agent is None or agent.cancelling():
                raise
        except ProducerLostError as error:
            self.ended = True
            if not self.lost.done():
                self.lost.set_result(error)
        finally:
            self.under_way_ms.popleft()
            self.slots.release()
            budget.WORKER.give_back(self, size_bytes)

    async def _in_turn(self, work: Coroutine[Any, Any, None]) -> None:
        async with self._turn:
            await work

    @property
    def dirty(self) -> bool:
        """Whether there is something to save that no checkpoint has."""
        return (
            self.uncommitted or bool(self.unread) or (self.saved is not self.state and self.next_offset > 0)
        )

    async def rest(self) -> None:
        """Write a checkpoint if one is due while no records arrive. ProducerLostError if that fails."""
        due = clock.monotonic_s() - self.saved_s >= limits.CHECKPOINT_INTERVAL_S
        if due and self.dirty and not self.ended and (self.work is None or self.work.done()):
            # If this task is cancelled meanwhile, `end` waits for the work, so no transaction is left open.
            self.work = asyncio.create_task(self._in_turn(self.save()))
            await asyncio.shield(self.work)

    async def save(self, also: Sequence[Outgoing] = ()) -> None:
        """Write `also` and a checkpoint in a transaction of its own. ProducerLostError if that fails."""
        state, next_offset, now_s = self.state, self.next_offset, clock.monotonic_s()
        outputs = [*also, *self._checkpoint(state, next_offset, self.seen_ms)]
        await self.writer.write(telling(outputs, next_offset), next_offset)
        self._saved(state, next_offset, now_s)

    def _checkpoint(self, state: State, next_offset: int, seen_ms: int) -> list[Outgoing]:
        entries = self.core.save(self.saved, state)
        gone = self.unread - entries.keys() - {checkpoint.CHECKPOINT_NAME}
        at = self.writer.partition
        return checkpoint.outputs(
            self.agent, at, entries, next_offset, seen_ms, gone, self.logs, self.writer.group
        )

    def _saved(self, state: State, next_offset: int, at_s: float) -> None:
        self.saved, self.saved_s, self.saved_offset = state, at_s, next_offset
        self.unread, self.uncommitted = frozenset(), False

    async def _traced(self, fetch: Fetch) -> None:
        with tracing.PROCESS.fetch(self.agent, fetch):
            await self._step(fetch)

    async def _step(self, fetch: Fetch) -> None:
        if fetch.records[0].offset < self.next_offset:
            raise ProducerLostError(
                f"offset {fetch.records[0].offset} came again, expected {self.next_offset} or later"
            )
        began_s = clock.monotonic_s()
        with tracing.PROCESS.step("compute"):
            outcome = await self._computed(fetch)
        outputs = list(outcome.outputs)
        now_s = clock.monotonic_s()
        save = (
            outcome.checkpoint
            or self.saved is None
            or self.unread
            or self.uncommitted
            or now_s - self.saved_s >= limits.CHECKPOINT_INTERVAL_S
            or fetch.next_offset - self.saved_offset >= limits.CHECKPOINT_RECORDS_MAX
        )
        seen_ms = stamp_ns(fetch.records[-1]) // 1_000_000
        if save:
            outputs += self._checkpoint(outcome.state, fetch.next_offset, seen_ms)
        with tracing.PROCESS.step("transaction"):
            await self.writer.write(telling(outputs, fetch.next_offset), fetch.next_offset)
        self.state, self.next_offset, self.seen_ms = outcome.state, fetch.next_offset, seen_ms
        if 2 * len(fetch.records) >= self.records_max:
            self.records_max = min(2 * self.records_max, limits.FETCH_RECORDS_MAX)
        self._measure(fetch, outputs, now_s - began_s, clock.monotonic_s() - now_s)
        metrics.add(outcome.tally)
        if save:
            self._saved(outcome.state, fetch.next_offset, now_s)

    async def _computed(self, fetch: Fetch) -> Outcome[State]:
        """Compute a fetch; retry errors of the surroundings (`OUTSIDE`) for ever, with growing pauses."""
        pause_s = _OUTSIDE_PAUSE_FIRST_S
        while True:
            try:
                inputs = await self.core.inputs(self.state, fetch, silent=False)
                return await compute(self.core, self.state, fetch, inputs, silent=False)
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
        metrics.observe("fetch_compute_seconds", compute_s, agent=self.agent)
        metrics.observe("transaction_seconds", transaction_s, agent=self.agent)
        for topic, count in Counter(output.topic for output in outputs).items():
            metrics.count("output_total", count, agent=self.agent, topic=topic)

    async def end(self) -> None:
        """Give a running fetch 1.5 s to finish, then abort it; write a checkpoint and close the producer.

        Thanks to the checkpoint at the committed offset the next owner needs to run nothing again, even if
        retention has deleted the source records by then.
        """
        self.ended = True
        done = True
        if self.work is not None and not self.work.done():
            done = bool((await asyncio.wait({self.work}, timeout=STOP_WORK_S))[0])
            self.work.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self.work
        if done and self.dirty and not self.lost.done():
            with contextlib.suppress(ProducerLostError, TimeoutError):
                async with asyncio.timeout(STOP_SAVE_S):
                    await self.save()
        await self.writer.close()


@dataclass(frozen=True, slots=True)
class Delivery:
    """A fetch on its way to the agent, with the ownership under which it was read."""

    ownership: Ownership[Any]
    fetch: Fetch
    size_bytes: int

    async def process(self) -> None:
        """Process the fetch in its transaction, unless the ownership has ended."""
        await self.ownership.process(self.fetch, self.size_bytes)
