"""Which policy was put in force when, as `glasses.policies` tells it."""

from __future__ import annotations

import asyncio

from streams.events.record import StoredRecord
from streams.policy.load import load
from streams.policy.policy import Policy
from streams.policy.versions import CURRENT_KEY, NEXT_KEY, pointer_to, record_of
from streams.worker.on_topics import in_force_since

HOUSEHOLD, CLINIC = load("household"), load("clinic")
MS_NS = 1_000_000


class Believing:
    """Takes every text for a policy."""

    async def check(self, text: str) -> None:
        assert text


def pointer(policy: Policy, key: bytes = CURRENT_KEY) -> tuple[bytes, bytes]:
    return key, pointer_to(policy)


def told(*records: tuple[bytes, bytes]) -> list[tuple[int, str]]:
    topic = [StoredRecord(offset, 100 + offset, key, value) for offset, (key, value) in enumerate(records)]
    moments = asyncio.run(in_force_since(topic, Believing()))
    return [(since_ns // MS_NS, policy.name) for since_ns, policy in moments]


def test_each_pointer_puts_its_policy_in_force_at_its_time() -> None:
    assert told(
        record_of(HOUSEHOLD),
        pointer(HOUSEHOLD),
        record_of(CLINIC),
        pointer(CLINIC, NEXT_KEY),
        pointer(CLINIC),
        pointer(HOUSEHOLD),
    ) == [(101, "household"), (104, "clinic"), (105, "household")]


def test_what_is_refused_puts_nothing_in_force() -> None:
    assert told(record_of(HOUSEHOLD), pointer(CLINIC), pointer(HOUSEHOLD), (CURRENT_KEY, b"{")) == [
        (102, "household")
    ]
    assert told() == []
