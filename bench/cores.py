"""Cores that only the bench runs, on the worker's own transport.

What each part of the pipeline costs is what it adds to these.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from bench.peers import ADDED
from streams.consent.view import ConsentView
from streams.consent.words import NO_CONSENT, Consent
from streams.events.batch import Context
from streams.events.codec import codec_of
from streams.events.record import Fetch, Outcome, Outgoing, WholeState
from streams.events.shipped import SHIPPED
from streams.limits import LABEL_BYTES
from streams.pipeline import GlassesCore, PartitionState, Tables
from streams.pipeline.emit import lineage_of, records_of
from streams.policy.crossing import Crossing
from streams.policy.policy import Flow, Policy, Tag
from streams.policy.step import Step, Tagged
from streams.policy.versions import Policies
from streams.zones import stage as zones

_PASSES = Flow("allow", True, "bench", "enforcing", "")


class ForwardCore(WholeState[None]):
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

    async def process(
        self, state: None, fetch: Fetch, *, silent: bool, poisoned: Mapping[int, str]
    ) -> Outcome[None]:
        """Forward the fetch."""
        del silent, poisoned
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


class ZonesCore(GlassesCore):
    """The first stage alone: decode, check, tag, lineage."""

    def empty(self, partition: int) -> PartitionState:
        """Nobody seen; what was said before the worker began is taken up."""
        return dataclasses.replace(super().empty(partition), consents_taken=self.tables.consents.offset)

    async def process(
        self, state: PartitionState, fetch: Fetch, *, silent: bool, poisoned: Mapping[int, str]
    ) -> Outcome[PartitionState]:
        """Run the zones stage."""
        del silent
        policy = self.tables.policies.version(self.tables.policies.current)
        known = ConsentView(self.tables.consents, state.consents_taken, state.own)
        step = Step()
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
    """A policy that looks at nothing: every event has the same tag, every flow passes."""

    def _tag_of(self, kind: str, stream: str, context: Context | None, consent: Consent = NO_CONSENT) -> Tag:
        del kind, stream, context, consent
        return Tag(self.zones[0].name, "bench", bytes(LABEL_BYTES), "")

    def _derive(self, kind: str, labels: tuple[bytes, ...]) -> bytes:
        del kind, labels
        return bytes(LABEL_BYTES)

    def decision(self, tagged: Tagged, sink: str) -> Flow:
        """Let everything pass."""
        del tagged, sink
        return _PASSES


def without_lineage(tables: Tables) -> GlassesCore:
    """The pipeline with the same decoding, checks and outputs, but constant headers and no lineage."""
    policy = tables.policies.version(tables.policies.current)
    constant = _OneZone(
        **{field.name: getattr(policy, field.name) for field in dataclasses.fields(policy) if field.init}
    )
    return GlassesCore(Tables(Policies(constant), tables.models, tables.consents), lineage=False)
