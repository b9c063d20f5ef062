"""The policy in force and the consents, for programs that are no worker: read again when they are old."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from aiokafka import ConsumerRecord

from streams import clock
from streams.consent.record import learn_consent
from streams.consent.view import Consents
from streams.errors import MalformedError
from streams.kafka.reader import end_offsets, read_all
from streams.limits import IN_FORCE_HELD_S
from streams.models.registry import ModelTable
from streams.pipeline.side_inputs import SideInputs
from streams.policy.policy import Policy
from streams.policy.versions import PolicyTable
from streams.settings.kafka import Broker
from streams.topology import CONSENTS, POLICIES
from streams.worker.checking import against
from streams.worker.models import none_in_force


class _Here:
    """Checks a policy in a thread of this process: programs of others need not be made for children."""

    async def check(self, text: str) -> None:
        """MalformedError if the text is no policy."""
        if why := await asyncio.to_thread(against, text):
            raise MalformedError(why)


_HERE = _Here()


class InForce:
    """What is in force on a broker, at most IN_FORCE_HELD_S old whenever it is asked for.

    Only what came since is read, so that asking often is cheap. Nothing runs in between, and what cannot be
    read again is an error, never the answer of before.

    Raises
    ------
    InputError
        No policy is in force.
    UnavailableError
        The broker is absent.
    """

    def __init__(self, broker: Broker, *topics: str) -> None:
        self._broker, self._topics = broker, topics or (POLICIES,)
        self._asking = asyncio.Lock()
        self._policies, self._consents = PolicyTable(), Consents()
        self._next = dict.fromkeys(self._topics, 0)
        self._read_s = -IN_FORCE_HELD_S

    async def policy(self) -> Policy:
        """The policy in force."""
        known = (await self.side()).policies
        return known.version(known.current)

    async def side(self) -> SideInputs:
        """The policies, and the consents if their topic is among those that are read; no models."""
        async with self._asking:
            began_s = clock.monotonic_s()
            if began_s - self._read_s >= IN_FORCE_HELD_S:
                await self._read()
                self._read_s = began_s
        if not self._policies.now.current:
            raise none_in_force(self._broker)
        return SideInputs(self._policies.now, ModelTable().now, self._consents.view())

    async def _read(self) -> None:
        ends = await end_offsets(self._broker, self._topics)
        if any(ends[topic, 0] < after for topic, after in self._next.items()):
            # Other topics stand there by now.
            self._policies, self._consents = PolicyTable(), Consents()
            self._next = dict.fromkeys(self._topics, 0)
        for topic, after in self._next.items():
            if ends[topic, 0] > after:
                records = await read_all(self._broker, topic, 0, from_offsets={0: after} if after else None)
                await self._learn(topic, records)
                self._next[topic] = ends[topic, 0]

    async def _learn(self, topic: str, records: Sequence[ConsumerRecord]) -> None:
        """Take records of a topic; what is malformed is passed over, as workers do."""
        for record in records:
            with contextlib.suppress(MalformedError):
                if topic == POLICIES:
                    await self._policies.learn(record, _HERE)
                elif topic == CONSENTS and record.offset >= self._consents.offset:
                    learn_consent(self._consents, record)
