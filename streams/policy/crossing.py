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
from streams.events.runs import Parent, Run, longer_run
from streams.policy.flow import decide, rule_against
from streams.policy.policy import JOIN_RULE, Policy
from streams.policy.step import Output, Step, Stretch, Tagged, alike
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


@dataclass(slots=True)
class _Begun:
    """Derived events of one stream that are decided as one.

    The first of them, the run of all, and the rule that keeps them out, if any does.
    """

    first: Tagged
    run: Run
    rule: str

    def goes_on(self, tagged: Tagged) -> bool:
        """Take an event that follows in the same step and has an equal tag; False for any other."""
        longer = longer_run(self.run, tagged.batch.run) if alike(self.first, tagged) else None
        self.run = longer or self.run
        return longer is not None

    @property
    def whole(self) -> Tagged:
        """All of them as one tagged run, with times and place of the first."""
        return replace(self.first, batch=replace(self.first.batch, run=self.run))


@dataclass(frozen=True, slots=True)
class Crossing:
    """The door while a fetch lasts: policy in force, what is known of consents, the step that it fills.

    Stages share one, so what they do stands in `step` in their order.
    """

    policy: Policy
    consents: PartitionConsents
    step: Step

    def admit(self, stretches: Iterable[Stretch], kinds: Collection[str], sink: str) -> list[Stretch]:
        """What of a fetch is of `kinds` and may cross into the stage `sink`; a decision each is recorded."""
        return [
            stretch
            for stretch in stretches
            if stretch.kind in kinds and not self.refusing_rule(stretch.whole, sink)
        ]

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
        return self.derive_all([(made, parents)], maker, to)[0]

    def derive_all(
        self, made: Iterable[tuple[Batch, Sequence[Cited]]], maker: Maker, to: str
    ) -> list[Tagged | None]:
        """As `derive`, for the events of one maker in their order, each with its parents.

        Those of a stream that follow one another in even steps, and that policy cannot tell apart, are
        decided and recorded as one.
        """
        sinks, tags = (to, STORE), list[Tagged | None]()
        begun: dict[tuple[str, str], _Begun] = {}
        for bare, parents in made:
            tagged = self._inherited(bare, parents)
            batch = tagged.batch
            name = (batch.source, batch.stream)
            before = begun.get(name)
            if before is None or not before.goes_on(tagged):
                if before is not None:
                    self.refusing_rule(before.whole, *sinks)
                before = begun[name] = _Begun(tagged, batch.run, rule_against(tagged, sinks, self.policy))
            if before.rule:
                tags.append(None)
                continue
            edges = tuple([parent.edge for parent in parents])
            self.step.outputs.append(Output(to, tagged, maker.name, maker.version, edges))
            tags.append(tagged)
        for last in begun.values():
            self.refusing_rule(last.whole, *sinks)
        return tags

    def _inherited(self, made: Batch, parents: Sequence[Cited]) -> Tagged:
        """A derived event with all that it has of its parents."""
        zone, label = joined(self.policy, made.kind, parents)
        number = min([parent.consent for parent in parents if parent.consent is not None])
        since_ns = min([parent.since_ns for parent in parents if parent.since_ns is not None])
        batch = replace(made, since_ns=since_ns)
        if made.context is not None:
            batch = replace(batch, context=replace(made.context, consent=number))
        return self.tagged(batch, zone, label, number, made.appended_ns)

    def tagged(self, batch: Batch, zone: str, label: bytes, number: int, at_ns: int) -> Tagged:
        """A derived batch with its tag; consent record `number` as it stands at its place, at `at_ns`.

        `at_ns` is the broker's time.
        """
        under = reference(batch.source, batch.stream, number)
        consent = self.consents.of(batch.wearer_id, under, batch.oldest_ns, batch.position, at_ns)
        return Tagged(batch, zone, label, JOIN_RULE, "", number, consent)
