"""What a worker sees of its surroundings while it runs: topics, groups and commits, a look every few seconds.

All of it can be changed by others under a running worker. Each finding is said once, and again when it has
changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams import clock, limits, logs, metrics, topology
from streams.connection.connect import administering
from streams.connection.settings import Broker
from streams.errors import UnavailableError, reason
from streams.kafka.groups import commits, described, say_foreign, unformed_sentence
from streams.kafka.log_ids import counts
from streams.kafka.ownership import Ownership

log = logging.getLogger(__name__)


class Member(Protocol):
    """A member of an agent's group, as a lookout needs it."""

    agent: str
    group: str
    #: Since when it waits for partitions, monotonic seconds; None while it has an assignment.
    waiting_since_s: float | None

    @property
    def let_in(self) -> bool:
        """Whether the broker has made it a member of its group."""

    def ownerships(self) -> Mapping[TopicPartition, Ownership[Any]]:
        """What is owned now, by partition."""


class Lookout:
    """Looks at topics, groups and commits every LOOK_INTERVAL_S, and says what is not as it should be.

    Topics of `topology` that were deleted, or have other partitions than were declared, are named together.
    A member without an assignment for WAIT_SAID_S says who is in its group. An offset that somebody else
    committed is said and counted; the partition's owner then writes its own over it.
    """

    def __init__(self, broker: Broker, partitions: int, members: Sequence[Member]) -> None:
        self._broker, self._partitions, self._members = broker, partitions, members
        self._said: dict[str, str] = {}

    async def run(self) -> None:
        """Look until cancelled; a broker that is away is said, and waited for."""
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
                # A connection that ended; the next one says more.
                log.debug("The topics could not be looked at: %s", reason(error))

    async def look(self, admin: AIOKafkaAdminClient) -> None:
        """Look once; KafkaError when the broker does not answer, or cannot now."""
        await self._topics(admin)
        for member in self._members:
            with logs.at(member.agent):
                await self._group(admin, member)
                await self._commits(admin, member)

    async def _topics(self, admin: AIOKafkaAdminClient) -> None:
        names = [topic.name for topic in topology.TOPICS]
        partitions = await counts(admin._client, names)
        gone = [name for name in names if name not in partitions]
        self._say(
            "deleted",
            f"Deleted on {self._broker} under this worker: {', '.join(gone)}. Nothing is processed without "
            "them, and nothing is lost that others hold. `sightline topics --migrate` makes them again, "
            "empty; then start the worker again"
            if gone
            else "",
        )
        self._say("partitions", topology.uneven(str(self._broker), partitions, self._partitions))
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
        committed = await commits(admin, member.group, before)
        for place, ownership in member.ownerships().items():
            commit = committed.get(place)
            # A commit of the version before stands until the first of ours; it is where the owner began.
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

    def _say(self, about: str, sentence: str) -> None:
        """Say something about a matter, unless that was said last; empty when all is well with it."""
        if sentence and self._said.get(about) != sentence:
            log.error("%s", sentence)
        self._said[about] = sentence
