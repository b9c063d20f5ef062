"""Cores that only the bench runs, on the worker's own transport.

The cost of a part of the pipeline is the difference from these.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache

from bench.peers import ADDED
from streams.events.codec import codec_of
from streams.events.record import Fetch, Outcome, Outgoing, WholeState
from streams.events.shipped import SHIPPED
from streams.limits import ATTRIBUTE_COMBINATIONS_MAX, LABEL_BYTES
from streams.pipeline.emit import lineage_of, records_of
from streams.pipeline.followed import Followed
from streams.pipeline.glasses import Stages
from streams.pipeline.live import LiveGlasses
from streams.pipeline.partition import PartitionState
from streams.pipeline.side_inputs import SideInputs
from streams.policy.crossing import Crossing
from streams.policy.policy import Flow, Policy, Tag
from streams.policy.step import Step, Tagged
from streams.policy.versions import PolicyTable, PolicyVersions
from streams.zones import stage as zones

_PASSES = Flow("allow", True, "bench", "enforcing", "")


class ForwardCore(WholeState[None]):
    """The same work as the peers: add two headers and forward; nothing is decoded or remembered."""

    def __init__(self, target: str) -> None:
        self._target = target

    def empty(self, partition: int) -> None:
        """No state."""

    def restore(self, partition: int, entries: Mapping[str, bytes]) -> None:
        """No state."""

    def save(self, before: None, after: None) -> Mapping[str, bytes]:
        """No state."""
        del before, after
        return {}

    async def process(
        self, state: None, fetch: Fetch, inputs: object, *, silent: bool, poisoned: Mapping[int, str]
    ) -> Outcome[None]:
        """Forward the fetch."""
        del inputs, silent, poisoned
        target, partition = self._target, fetch.partition
        return Outcome(
            state,
            [
                Outgoing(
                    target,
                    partition,
                    record.key or b"",
                    record.value,
                    [*record.headers, *ADDED],
                    record.timestamp,
                )
                for record in fetch.records
            ],
        )


class ZonesCore(LiveGlasses):
    """The zones stage alone: decode, check, tag, lineage."""

    def empty(self, partition: int) -> PartitionState:
        """No devices yet; consents from before the worker's start are taken up."""
        return dataclasses.replace(super().empty(partition), consents_taken=self.followed.consents.offset)

    async def process(
        self,
        state: PartitionState,
        fetch: Fetch,
        inputs: SideInputs,
        *,
        silent: bool,
        poisoned: Mapping[int, str],
    ) -> Outcome[PartitionState]:
        """Run the zones stage."""
        del silent
        policy, step = inputs.policies.version(inputs.policies.current), Step()
        known = inputs.consents.of_partition(state.consents_taken, state.own)
        crossing = Crossing(policy, known, step)
        devices, now_ns = zones.run(
            fetch.records, state.devices, codec_of(SHIPPED), crossing, poisoned, state.now_ns
        )
        place, stamp = (fetch.topic, fetch.partition), now_ns // 1_000_000
        records, values = records_of(step, policy, place)
        records += lineage_of(step, values, policy, place, {}, (f"glasses/{fetch.partition}".encode(), stamp))
        return Outcome(
            dataclasses.replace(state, devices=state.devices.changed(devices), own=known.own, now_ns=now_ns),
            records,
        )


class _OneZone(Policy):
    """A policy that examines nothing: every event has the same tag, and every flow passes."""

    def __post_init__(self) -> None:
        """Put constants where a policy looks up its results."""
        super().__post_init__()
        tag, label = Tag(self.zones[0].name, "bench", bytes(LABEL_BYTES), ""), bytes(LABEL_BYTES)
        self.tag_of = lru_cache(maxsize=ATTRIBUTE_COMBINATIONS_MAX)(lambda *_: tag)
        self.derive = lru_cache(maxsize=ATTRIBUTE_COMBINATIONS_MAX)(lambda *_: label)

    def decision(self, tagged: Tagged, sink: str) -> Flow:
        """Let everything pass."""
        del tagged, sink
        return _PASSES


def without_lineage(followed: Followed) -> LiveGlasses:
    """The pipeline with the same decoding, checks and outputs, but constant headers and no lineage."""
    policies = followed.policies.now
    policy = policies.version(policies.current)
    constant = _OneZone(
        **{field.name: getattr(policy, field.name) for field in dataclasses.fields(policy) if field.init}
    )
    table = PolicyTable(PolicyVersions.of(constant))
    known = Followed(table, followed.models, followed.consents)
    return LiveGlasses(known, stages=Stages(lineage=lambda *_: []))
