"""Cores that only the bench runs, on the worker's own transport: what each part of the pipeline costs is what it adds to these."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from bench.peers import ADDED
from streams.emit import records_of
from streams.events.record import Fetch, Outcome, Outgoing
from streams.pipeline import GlassesCore, Models, PartitionState
from streams.policy.policy import Policy
from streams.zones import stage as zones

_SWITCH = "lineage"


class ForwardCore:
    """The peers' work: two headers added, forwarded; nothing is decoded and nothing remembered."""

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

    async def process(self, state: None, fetch: Fetch, *, silent: bool, poisoned: Mapping[int, str]) -> Outcome[None]:
        """Forward the fetch."""
        del silent, poisoned
        target, partition = self._target, fetch.partition
        return Outcome(state, [Outgoing(target, partition, record.key or b"", record.value, [*record.headers, *ADDED], record.timestamp)
                               for record in fetch.records])


class ZonesCore(GlassesCore):
    """The first stage alone: decode, check, tag, lineage."""

    async def process(self, state: PartitionState, fetch: Fetch, *, silent: bool, poisoned: Mapping[int, str]) -> Outcome[PartitionState]:
        """Run the zones stage."""
        del silent
        step, devices = zones.run(fetch.records, state.devices, self.policy, poisoned)
        records = records_of(step, self.policy, (fetch.topic, fetch.partition), {}, f"glasses/{fetch.partition}".encode(),
                             fetch.records[-1].timestamp)
        return Outcome(PartitionState(state.model_version, {**state.devices, **devices}), records)


def without_lineage(policy: Policy, models: Models) -> GlassesCore:
    """The pipeline with the same decoding, checks and outputs, but constant headers and no lineage."""
    switch: dict[str, Any] = {_SWITCH: False}
    return GlassesCore(policy, models, **switch)


def has_switch() -> bool:
    """Tell whether the pipeline can leave zones and lineage out."""
    return _SWITCH in inspect.signature(GlassesCore).parameters
