"""Periodic checks of a running worker: topics, consumer groups and commits.

Other programs can change all of these while the worker runs. Each problem is logged once, and again when it
changes.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams import clock, limits, logs, metrics, topology
from streams.connection.connect import administering
from streams.errors import UnavailableError, reason
from streams.kafka.behind import Behind
from streams.kafka.groups import commits, described, say_foreign, unformed_sentence
from streams.kafka.log_ids import counts
from streams.kafka.ownership import Ownership
from streams.settings.kafka import Broker

log = logging.getLogger(__name__)


class Member(Protocol):
    """What `Lookout` needs to know of a member of an agent's group."""

    agent: str
    group: str
    #: Since when it waits for an assignment, monotonic seconds; None while it has one.
    waiting_since_s: float | None

    @property
    def let_in(self) -> bool:
        """Whether the broker has made it a member of its group."""

    def ownerships(self) -> Mapping[TopicPartition, Ownership[Any]]:
        """Current ownerships by partition."""

    async def ends(self, tps: Iterable[TopicPartition]) -> Mapping[TopicPartition, tuple[int, int]]:
        """Next offset to read, and end of the committed records, of assigned partitions."""


class Lookout:
    """Checks topics, groups and commits every LOOK_INTERVAL_S and logs problems.

    It reports topics of `topology` that were deleted or have an unexpected number of partitions. For a member
    that is without an assignment for WAIT_SAID_S, it reports who is in the group. It reports and counts
    foreign commits; the owner of the partition then overwrites them with its own.
    """

    def __init__(self, broker: Broker, partitions: int, members: Sequence[Member]) -> None:
        self._broker, self._partitions, self._members = broker, partitions, members
        self._said: dict[str, str] = {}
        self._behind: dict[tuple[str, int], Behind] = {}
        #: The metrics are read in threads of their own.
        self._showing = threading.Lock()

    async def run(self) -> None:
        """Check until cancelled. If the broker is unavailable, this is logged and the check waits for it."""
        while True:
            await asyncio.sleep(limits.LOOK_INTERVAL_S)
            try:
                async with administering(self._broker) as admin:
                    while True:
                        await self.look(admin)
                        self._say("broker", "")
                        await asyncio.sleep(limits.LOOK_INTERVAL_S)
            except UnavailableError as error:
                self._say("broker", f"{error} This worker waits for it")
            except (KafkaError, OSError, TimeoutError) as error:
                # The connection broke; if the broker is down, connecting again reports it.
                log.debug("The topics could not be looked at: %s", reason(error))

    async def look(self, admin: AIOKafkaAdminClient) -> None:
        """Check once; KafkaError if the broker does not answer."""
        await self._topics(admin)
        for member in self._members:
            with logs.at(member.agent):
                await self._group(admin, member)
                await self._commits(admin, member)
                await self._lag(member)

    async def _topics(self, admin: AIOKafkaAdminClient) -> None:
        names = [topic.name for topic in topology.TOPICS]
        partitions = await counts(admin._client, self._broker, names)
        gone = [name for name in names if name not in partitions]
        uneven = topology.uneven(str(self._broker), partitions, self._partitions)
        self._say("deleted", deleted_sentence(self._broker, gone, uneven=bool(uneven)) if gone else "")
        self._say("partitions", uneven)
        more = {
            name: partitions[name] - topology.partition_count(name, self._partitions) for name in partitions
        }
        metrics.gauge("unread_partitions", sum(max(count, 0) for count in more.values()))

    async def _group(self, admin: AIOKafkaAdminClient, member: Member) -> None:
        since_s = member.waiting_since_s
        waited_s = 0.0 if since_s is None else clock.monotonic_s() - since_s
        if waited_s < limits.WAIT_SAID_S:
            self._say(member.group, "")
        elif not self._said.get(member.group):
            who = await described(admin, member.group)
            self._say(member.group, unformed_sentence(member.agent, who, waited_s, let_in=member.let_in))

    async def _commits(self, admin: AIOKafkaAdminClient, member: Member) -> None:
        before = {place: ownership.next_offset for place, ownership in member.ownerships().items()}
        if not before:
            return
        committed = await commits(admin, self._broker, member.group, before)
        for place, ownership in member.ownerships().items():
            commit = committed.get(place)
            # A commit of an earlier release has no mark. It remains until this owner's first commit, and has
            # the offset at which the owner began.
            if (
                commit is None
                or commit.ours
                or ownership.uncommitted
                or commit.offset in (before.get(place), ownership.next_offset)
            ):
                continue
            with logs.at(member.agent, place.partition):
                await say_foreign(
                    admin, member.agent, member.group, place, commit.offset, ownership.next_offset
                )
            ownership.uncommitted = True

    async def _lag(self, member: Member) -> None:
        """Measure how far a member is behind in its partitions; what it committed is read before the ends."""
        committed = {place: ownership.next_offset for place, ownership in member.ownerships().items()}
        ends = await member.ends(committed) if committed else {}
        now_s, owned = clock.monotonic_s(), member.ownerships()
        for place, (position, end) in ends.items():
            if place in owned:
                behind = self._behind.setdefault((member.agent, place.partition), Behind())
                under_way_ms = owned[place].under_way_ms
                behind.oldest_ms = under_way_ms[0] if under_way_ms else None
                # The reader's position is behind markers of transactions, which no commit moves over.
                read = position >= end and not under_way_ms
                behind.look(committed[place], end, now_s, only_markers=read)
        partitions = {place.partition for place in owned}
        gone = [(agent, at) for agent, at in self._behind if agent == member.agent and at not in partitions]
        with self._showing:
            for agent, partition in gone:
                del self._behind[agent, partition]
                metrics.forget("lag_records", agent=agent, partition=str(partition))
                metrics.forget("lag_seconds", agent=agent, partition=str(partition))

    def show(self) -> None:
        """Set the gauges of the lag, whose time goes on while the broker does not answer."""
        now_s, now_ms = clock.monotonic_s(), clock.now_ns() / 1e6
        with self._showing:
            for (agent, partition), behind in list(self._behind.items()):
                metrics.gauge("lag_records", behind.records, agent=agent, partition=str(partition))
                seconds = behind.seconds(now_s, now_ms)
                metrics.gauge("lag_seconds", seconds, agent=agent, partition=str(partition))

    def _say(self, about: str, sentence: str) -> None:
        """Log a sentence about a subject unless it is the last one logged; empty means that all is well."""
        if sentence and self._said.get(about) != sentence:
            log.error("%s", sentence)
        self._said[about] = sentence


def deleted_sentence(broker: Broker, gone: Sequence[str], *, uneven: bool) -> str:
    """Return the sentence about topics that were deleted under a worker, with what helps.

    A start of a worker declares what is absent, and nothing makes a running one use topics of another id.
    `uneven`: other topics have partitions that were not declared, so no worker starts on these topics.
    """
    if uneven:
        remedy = (
            "No worker starts on these topics again, since others of them have partitions that were not "
            "declared: begin with new topics (docs/operations.md, Partitions)"
        )
    else:
        remedy = (
            "Start the worker again: it makes them, empty, and names what it cannot go on without "
            "(docs/operations.md, Deleted topics)"
        )
    return (
        f"Deleted on {broker} under this worker: {', '.join(gone)}. Nothing is processed without them, and "
        f"what they held is gone. {remedy}"
    )
