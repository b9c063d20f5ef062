"""The one door: whatever goes into a sink of the policy, or is derived, goes through a `Crossing`.

A stage says what it made and of which parents. Label, zone, consent, decisions and edges are worked out here
and nowhere else, so no stage can forget the label of a parent that it names (law 4).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from msgspec import Struct
from msgspec.structs import replace

from streams.consent.view import PartitionConsents
from streams.consent.words import reference
from streams.events.batch import Batch
from streams.events.runs import Parent
from streams.policy.flow import Stretch, decide
from streams.policy.policy import JOIN_RULE, Policy
from streams.policy.step import Output, Step, Tagged
from streams.topology import STORE


class Maker(NamedTuple):
    """The operator that makes something, as its edges name it."""

    name: str
    version: int


class Unowned(Protocol):
    """What is no one person's data and has a label: a model version. `edge` says how a child names it."""

    @property
    def edge(self) -> Parent: ...  # noqa: D102
    @property
    def zone(self) -> str: ...  # noqa: D102
    @property
    def label(self) -> bytes: ...  # noqa: D102


class Cited(Struct, frozen=True):
    """A parent as its child has to know it, whole: the edge that names it, and all that the child inherits.

    `consent` is the number of the consent record that it was captured under, on the child's own device, and
    `since_ns` when the oldest of it was captured (capture time, ns since the Unix epoch). Both are None where
    it is no one person's data.
    """

    edge: Parent
    zone: str
    label: bytes
    consent: int | None
    since_ns: int | None

    @classmethod
    def of(cls, tagged: Tagged) -> Cited:
        """All events of a tagged batch, as a direct parent."""
        batch = tagged.batch
        run = batch.run
        return cls(
            Parent(batch.source, batch.stream, run.first, 1, run.count, revision=batch.revision),
            tagged.zone,
            tagged.label,
            tagged.consent_number,
            batch.oldest_ns,
        )

    @classmethod
    def unowned(cls, made: Unowned) -> Cited:
        """What is no one person's data."""
        return cls(made.edge, made.zone, made.label, None, None)


def joined(policy: Policy, kind: str, parents: Sequence[Cited]) -> tuple[str, bytes]:
    """(zone, label) of an event of `kind` that is derived from `parents`; ValueError when there are none.

    The zone is the highest of theirs, `unconfigured` where the policy lacks one. The label is the join of
    theirs with what the policy says of the kind, empty where one cannot be read: it passes nowhere.
    """
    if not parents:
        raise ValueError(
            f"{kind}: found no parent, expected at least one: what is derived inherits its label"
        )
    zones = frozenset([parent.zone for parent in parents])
    return policy.highest(zones), policy.inherited_label(kind, tuple([parent.label for parent in parents]))


@dataclass(frozen=True, slots=True)
class Crossing:
    """The door while a fetch lasts: policy in force, what is known of consents, the step that it fills.

    Stages share one, so what they do stands in `step` in their order.
    """

    policy: Policy
    consents: PartitionConsents
    step: Step

    def admit(self, items: Iterable[Tagged], kinds: Collection[str], sink: str) -> list[Tagged]:
        """What of a fetch is of `kinds` and may cross into the stage `sink`; the decisions are recorded.

        Consecutive runs of a stream that are alike before the policy are decided and recorded as one.
        """
        stretches: dict[tuple[str, str], Stretch] = {}
        passed = []
        for item in items:
            batch = item.batch
            if batch.kind not in kinds:
                continue
            name = (batch.source, batch.stream)
            stretch = stretches.get(name)
            if stretch is None:
                stretch = stretches[name] = self.stretch(sink)
            if not stretch.refusing_rule(item):
                passed.append(item)
        for stretch in stretches.values():
            stretch.close()
        return passed

    def stretch(self, *sinks: str) -> Stretch:
        """Decide about one stream's consecutive runs, each into all of `sinks` in order."""
        return Stretch(sinks, self.policy, self.step)

    def refusing_rule(self, tagged: Tagged, *sinks: str) -> str:
        """Decide whether a tagged run may cross into all of `sinks`, in order, and record that.

        Returns the rule that refused, where no further sink is asked; empty when it passes.
        """
        return decide(tagged, sinks, self.policy, self.step)

    def derive(self, made: Batch, maker: Maker, parents: Sequence[Cited], to: str) -> Tagged | None:
        """Send a derived event to the topic `to` and the store; return it with its tag.

        None where policy refuses it: the decision is recorded, and nothing else of it. `made` holds the
        content, its identity, place and times; what it inherits is set here. At least one of `parents` is
        data of the device and wearer that `made` is of; the first is the one whose number `made` has. The
        consent in force is the least of theirs, and is looked up as it stands at `made`'s place.
        """
        zone, label = joined(self.policy, made.kind, parents)
        number = min([parent.consent for parent in parents if parent.consent is not None])
        since_ns = min([parent.since_ns for parent in parents if parent.since_ns is not None])
        batch = replace(made, since_ns=since_ns)
        if made.context is not None:
            batch = replace(batch, context=replace(made.context, consent=number))
        tagged = self.tagged(batch, zone, label, number, made.appended_ns)
        if self.refusing_rule(tagged, to, STORE):
            return None
        edges = tuple([parent.edge for parent in parents])
        self.step.outputs.append(Output(to, tagged, maker.name, maker.version, edges))
        return tagged

    def tagged(self, batch: Batch, zone: str, label: bytes, number: int, at_ns: int) -> Tagged:
        """A derived batch with its tag; consent record `number` as it stands at its place, at `at_ns`.

        `at_ns` is the broker's time.
        """
        under = reference(batch.source, batch.stream, number)
        consent = self.consents.of(batch.wearer_id, under, batch.oldest_ns, batch.position, at_ns)
        return Tagged(batch, zone, label, JOIN_RULE, "", number, consent)
