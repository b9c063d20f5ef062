"""The only interface for data that goes into a sink of the policy or is derived: the `Crossing`.

A stage passes what it made and the parents. Label, zone, consent, decisions and edges of what it made come
from here and nowhere else, so no stage can forget the label of a parent that it names (law 4). The join is
`Policy.inherited_label`, and decisions are recorded by `streams.policy.flow.decide`.
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
    """The operator that makes something, as edges record it."""

    name: str
    version: int


class Unowned(Protocol):
    """Labelled data that belongs to no single person: a model version. `edge` names it as a parent."""

    @property
    def edge(self) -> Parent: ...  # noqa: D102
    @property
    def zone(self) -> str: ...  # noqa: D102
    @property
    def label(self) -> bytes: ...  # noqa: D102


class Cited(Struct, frozen=True):
    """A parent of a derived event: the edge that names it, and everything that the child inherits from it.

    `consent` is the number of the consent record under which it was captured, on the child's own device.
    `since_ns` is when its oldest data was captured (capture time, ns since the Unix epoch). Both are None if
    it belongs to no single person.
    """

    edge: Parent
    zone: str
    label: bytes
    consent: int | None
    since_ns: int | None

    @classmethod
    def of(cls, tagged: Tagged) -> Cited:
        """Cite all events of a tagged batch as a direct parent."""
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
        """Cite data that belongs to no single person."""
        return cls(made.edge, made.zone, made.label, None, None)


def joined(policy: Policy, kind: str, parents: Sequence[Cited]) -> tuple[str, bytes]:
    """(zone, label) of an event of `kind` that is derived from `parents`; ValueError if there are none.

    The zone is the highest of the parents' zones, or `unconfigured` if the policy lacks one of them. The
    label is the join of their labels with what the policy adds for the kind. It is empty if one of them
    cannot be read; an event with an empty label passes nowhere.
    """
    if not parents:
        raise ValueError(
            f"{kind}: found no parent, expected at least one: what is derived inherits its label"
        )
    zones = frozenset([parent.zone for parent in parents])
    return policy.highest(zones), policy.inherited_label(kind, tuple([parent.label for parent in parents]))


@dataclass(slots=True)
class _Begun:
    """Derived events of one stream that share one decision.

    `first` is the first event, `run` has the numbers of all, `rule` refuses them (empty: they pass).
    """

    first: Tagged
    run: Run
    rule: str

    def goes_on(self, tagged: Tagged) -> bool:
        """Add an event that continues the run and has an equal tag; False for any other event."""
        longer = longer_run(self.run, tagged.batch.run) if alike(self.first, tagged) else None
        self.run = longer or self.run
        return longer is not None

    @property
    def whole(self) -> Tagged:
        """All events as one tagged run, with the times and the position of the first."""
        return replace(self.first, batch=replace(self.first.batch, run=self.run))


@dataclass(frozen=True, slots=True)
class Crossing:
    """The interface during one fetch: the policy in force, the partition's consents, the step that it fills.

    All stages of a fetch share one `Crossing`, so `step` has their results in order.
    """

    policy: Policy
    consents: PartitionConsents
    step: Step

    def admit(self, stretches: Iterable[Stretch], kinds: Collection[str], sink: str) -> list[Stretch]:
        """Return the stretches of `kinds` that may cross into the stage `sink`; record each decision."""
        return [
            stretch
            for stretch in stretches
            if stretch.kind in kinds and not self.refusing_rule(stretch.whole, sink)
        ]

    def refusing_rule(self, tagged: Tagged, *sinks: str) -> str:
        """Decide, in order, whether a tagged run may cross into each of `sinks`, and record the decisions.

        Returns the rule of the first refusal, after which no further sink is decided; empty if all permit it.
        """
        return decide(tagged, sinks, self.policy, self.step)

    def derive(self, made: Batch, maker: Maker, parents: Sequence[Cited], to: str) -> Tagged | None:
        """Send a derived event to the topic `to` and the store; return it with its tag.

        Returns None if the policy refuses it; then only the decision is recorded. `made` has the content,
        identity, position and times; what it inherits is set here. At least one of `parents` must be data of
        `made`'s device and wearer; `made` has the number of the first. Its consent record is the parents'
        lowest, in its state at `made`'s position.
        """
        return self.derive_all([(made, parents)], maker, to)[0]

    def derive_all(
        self, made: Iterable[tuple[Batch, Sequence[Cited]]], maker: Maker, to: str
    ) -> list[Tagged | None]:
        """Like `derive`, for several events of one maker in order, each with its parents.

        Events of one stream whose numbers are in arithmetic progression, and which the policy cannot
        distinguish, share one decision and one record of it.
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
        """A derived event with all that it inherits from its parents."""
        zone, label = joined(self.policy, made.kind, parents)
        number = min([parent.consent for parent in parents if parent.consent is not None])
        since_ns = min([parent.since_ns for parent in parents if parent.since_ns is not None])
        batch = replace(made, since_ns=since_ns)
        if made.context is not None:
            batch = replace(batch, context=replace(made.context, consent=number))
        return self.tagged(batch, zone, label, number, made.appended_ns)

    def tagged(self, batch: Batch, zone: str, label: bytes, number: int, at_ns: int) -> Tagged:
        """A derived batch with its tag; the state of consent record `number` is that at its position.

        `at_ns`, the broker's time, decides which consents have expired.
        """
        under = reference(batch.source, batch.stream, number)
        consent = self.consents.of(batch.wearer_id, under, batch.oldest_ns, batch.position, at_ns)
        return Tagged(batch, zone, label, JOIN_RULE, "", number, consent)
