"""An assignment without partitions is noticed by the leader that made it.

It is forgotten once another leader made one.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata

from streams.kafka.transport import WatchfulAssignor


def cluster(partitions: set[int] | None) -> Any:
    return SimpleNamespace(partitions_for_topic=lambda topic: partitions)


def test_a_topic_without_partitions_is_missed_until_it_is_assigned_or_another_leads() -> None:
    members = {"one": ConsumerProtocolMemberMetadata(0, ["glasses.examples"], b"")}
    assignor = WatchfulAssignor(4)
    assignor.assign(cluster(None), members)
    assignor.on_assignment(None)
    assert assignor.missed
    assignor.on_assignment(None)
    assert not assignor.missed, "the second assignment was another leader's"
    assignor.assign(cluster(None), members)
    assignor.assign(cluster({0}), members)
    assignor.on_assignment(None)
    assert not assignor.missed
