"""A loaded policy: it gives captured and derived events their zones and labels, and decides flows.

Results are kept in bounded caches: those of conditions by the facts that they name, tags by the combination
of attributes, flows by zone, label, sink and consent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from msgspec import Struct

from streams.consent.words import EXPIRED, NO_CONSENT, WITHDRAWN, Consent
from streams.events.batch import Context
from streams.events.kinds import Kinds
from streams.limits import ATTRIBUTE_COMBINATIONS_MAX, LABEL_BYTES
from streams.policy import label as lattice
from streams.policy.attributes import Attributes, attributes_of
from streams.policy.rules import (
    AnonymityBounds,
    Declassifier,
    Example,
    Owner,
    OwnLabel,
    Requirement,
    SecondOrder,
    Sink,
    Speech,
    TrainingAssets,
    TrainingBounds,
    Zone,
)
from streams.policy.step import Tagged, Verdict
from streams.policy.vocabulary import LISTS, Vocabulary, translate
from streams.topology import SEALABLE, SEALED, SEALED_OBLIGATION, ZONED

UNCONFIGURED = "unconfigured"
#: Value of `events.rule` for derived events: the label is the join of the parents' labels.
JOIN_RULE = "join of parents"
DAY_NS = 86_400_000_000_000


class Tag(Struct, frozen=True):
    """What the zones stage gives an event: zone, deciding `rule`, packed label, and the attributes it used.

    The label is empty if the policy does not name the kind.
    """

    zone: str
    rule: str
    label: bytes
    attributes: str


class Flow(Struct, frozen=True):
    """One decision: the verdict, whether the data passes, and the rule that decided.

    In logging mode, denied data passes.
    """

    verdict: Verdict
    passed: bool
    rule: str
    mode: str
    purpose: str


@dataclass(eq=False)
class Policy:
    """A loaded policy.

    `version` is the digest of `text`; labels are packed bytes (see `streams.policy.label`). `own` has what is
    said of each kind itself, without what a zone adds. `clock_ahead_ns`
    and `clock_old_ns` are how far a capture time may be after and before the append time. `intents` is the
    closed list of intents of examples and models. `training` bounds what a training run learns from,
    `training_assets` what it may be made from, `speech` what the assistant says, `anonymised`
    what an anonymised export has to hold to (None: none is made), `second_order` what becomes after an
    erasure of others' examples that were made with the erased wearer's models. `owner` answers for the
    policy, and for its zones that name nobody. `seals_zones` says whether any zone owes that its values are
    sealed.
    """

    name: str
    version: str
    text: str
    vocabulary: Vocabulary
    zones: tuple[Zone, ...]
    sinks: Mapping[str, Sink]
    requirements: tuple[Requirement, ...]
    declassifiers: Mapping[str, Declassifier]
    labels: Mapping[tuple[str, str], bytes]
    derived: Mapping[str, bytes]
    own: Mapping[str, OwnLabel]
    served_purposes: int
    seed_zone: str
    examples: tuple[Example, ...]
    clock_ahead_ns: int
    clock_old_ns: int
    intents: tuple[str, ...]
    owner: Owner
    training: TrainingBounds
    training_assets: TrainingAssets
    speech: Speech
    anonymised: AnonymityBounds | None
    second_order: SecondOrder
    zones_by_name: Mapping[str, Zone] = field(init=False)

    def __post_init__(self) -> None:
        self.zones_by_name = {zone.name: zone for zone in self.zones}
        self.seals_zones = any(self._seals(ZONED, label) for label in self.labels.values())
        self.shortest_ns = min(self.vocabulary.retention_days.values()) * DAY_NS
        self.named = tuple(sorted({name for zone in self.zones for name in zone.condition.names}))
        self._zone_for = lru_cache(maxsize=ATTRIBUTE_COMBINATIONS_MAX)(self._first_zone)
        self.tag_of = lru_cache(maxsize=ATTRIBUTE_COMBINATIONS_MAX)(self._tag_of)
        self.flow = lru_cache(maxsize=ATTRIBUTE_COMBINATIONS_MAX)(self._flow)
        self.inherited_label = lru_cache(maxsize=ATTRIBUTE_COMBINATIONS_MAX)(self._inherited_label)
        self.highest = lru_cache(maxsize=ATTRIBUTE_COMBINATIONS_MAX)(self._highest)
        self.adopted = lru_cache(maxsize=ATTRIBUTE_COMBINATIONS_MAX)(self._adopted)
        self.header = lru_cache(maxsize=ATTRIBUTE_COMBINATIONS_MAX)(self._header)
        self.seals = lru_cache(maxsize=ATTRIBUTE_COMBINATIONS_MAX)(self._seals)

    def zone_of(self, attributes: Attributes) -> tuple[str, str]:
        """Return (zone, rule) for a combination of attributes.

        The zone is `unconfigured` if no condition holds, or one does not type-check before any holds.
        """
        return self._zone_for(*(getattr(attributes, name) for name in self.named))

    def _first_zone(self, *values: Any) -> tuple[str, str]:
        facts = dict(zip(self.named, values, strict=True))
        for zone in self.zones:
            try:
                if zone.condition.holds(facts):
                    return zone.name, zone.rule
            except TypeError:
                return UNCONFIGURED, f"{zone.rule} does not type-check on these attributes"
        return UNCONFIGURED, "no zone's condition holds"

    def _tag_of(self, kind: str, stream: str, context: Context | None, consent: Consent = NO_CONSENT) -> Tag:
        """Tag of captured events of a kind and stream in one context.

        Equal arguments give the same object.
        """
        if context is None:
            return Tag(UNCONFIGURED, "the batch says nothing about its surroundings", b"", "")
        return self.tag(attributes_of(kind, stream, context, consent))

    def tag(self, attributes: Attributes) -> Tag:
        """Tag of captured events with these attributes."""
        zone, rule = self.zone_of(attributes)
        return Tag(zone, rule, self.label_of(attributes.kind, zone) or b"", attributes.text())

    def decision(self, tagged: Tagged, sink: str) -> Flow:
        """Decide whether a tagged run may cross into `sink`.

        A run without a zone or a label is unconfigured, which passes in no mode.
        """
        if tagged.zone == UNCONFIGURED:
            rule = "zones: a parent's is none of this policy's" if tagged.rule == JOIN_RULE else tagged.rule
            return Flow("unconfigured", False, rule, "enforcing", "")
        if not tagged.label:
            rule = (
                "label: none, since this policy says nothing about the kind or cannot say a parent's label"
                if tagged.rule == JOIN_RULE
                else (f"kinds: the policy says nothing about {tagged.batch.kind}")
            )
            return Flow("unconfigured", False, rule, "enforcing", "")
        return self.flow(tagged.zone, tagged.label, sink, tagged.consent)

    def label_of(self, kind: str, zone: str) -> bytes | None:
        """Label of captured events of `kind` in `zone`; None if the policy does not name the kind."""
        return self.labels.get((kind, zone))

    def unnamed(self, kinds: Kinds) -> list[str]:
        """Those of `kinds` that the policy does not name: their events get no label, so they pass nowhere."""
        return [kind for kind in kinds if kind not in self._kinds]

    def unknown(self, kinds: Kinds) -> list[str]:
        """Kinds that the policy names and that are not in `kinds`: it was written for another set."""
        return sorted(self._kinds - kinds.keys())

    @property
    def _kinds(self) -> frozenset[str]:
        return frozenset((*self.derived, *(kind for kind, _ in self.labels)))

    def _inherited_label(self, kind: str, labels: tuple[bytes, ...]) -> bytes:
        """Label of a derived event: the join of its parents' labels with what the kind itself adds (law 4).

        It is empty, and the event passes nowhere, if a parent has no readable label or the policy does not
        name the kind.
        """
        every = [*labels, self.derived.get(kind, b"")]
        return lattice.join(every) if all(len(label) == LABEL_BYTES for label in every) else b""

    def _highest(self, zones: frozenset[str]) -> str:
        """Return the highest-ranked of the parents' zones, which is the zone of the derived event.

        It is `unconfigured` if the policy lacks one of them.
        """
        owners = [self.zones_by_name.get(name) for name in zones]
        if None in owners:
            return UNCONFIGURED
        return max((zone for zone in owners if zone is not None), key=lambda zone: zone.rank).name

    def _flow(self, zone: str, packed: bytes, sink: str, consent: Consent | None = None) -> Flow:
        """Decide whether data of `zone` with label `packed` may cross into `sink`.

        `consent` is the wearer's consent in force; None if the data belongs to no single person (a model, a
        licensed seed).
        """
        declared, owner = self.sinks.get(sink), self.zones_by_name.get(zone)
        purpose = declared.purpose if declared is not None else ""
        if declared is None or owner is None:
            return Flow(
                "unconfigured",
                False,
                f"no sink {sink}" if declared is None else f"no zone {zone}",
                "enforcing",
                purpose,
            )
        if len(packed) != LABEL_BYTES:
            return Flow("unconfigured", False, "no label that this policy can read", "enforcing", purpose)
        mode = "enforcing" if declared.always_enforced else owner.mode
        rule = (
            self._against(declared, packed)
            or self._consent(owner, declared, consent)
            or self._required(zone, packed, declared)
        )
        if rule:
            return Flow("deny", mode == "logging", rule, mode, purpose)
        return Flow("allow", True, f"sinks.{sink}", mode, purpose)

    def _against(self, sink: Sink, packed: bytes) -> str:
        """Return the rule that denies; it names what the sink's label does not dominate in the data's label.

        It is empty if the sink's label dominates all components.
        """
        value, vocabulary = lattice.unpack(packed), self.vocabulary
        for name, word in (("purposes", sink.purpose), ("regions", sink.region)):
            if not value[name] & vocabulary.mask(name, (word,)):
                return f"sinks.{sink.name}: {name[:-1]} {word} is not permitted"
        for name, taken, says in (
            ("categories", sink.receives, "may not receive"),
            ("subjects", sink.subjects, "may not receive data about"),
            ("obligations", sink.honours, "does not honour"),
        ):
            odd = value[name] & ~taken
            if odd:
                return f"sinks.{sink.name}: {says} {', '.join(vocabulary.words(name, odd))}"
        return ""

    def _consent(self, zone: Zone, sink: Sink, consent: Consent | None) -> str:
        if zone.without_consent or consent is None:
            return ""
        if not consent.given:
            known = f"it is {consent.state}" if consent.state in {WITHDRAWN, EXPIRED} else "none is known"
            return f"consent: {known}"
        return "" if consent.permits(sink.purpose) else f"consent: the wearer did not agree to {sink.purpose}"

    def _required(self, zone: str, packed: bytes, sink: Sink) -> str:
        if not self.requirements:
            return ""
        facts = self.facts(zone, packed, sink)
        return next((f"requirements.{each.name}" for each in self.requirements if each.broken(facts)), "")

    def facts(self, zone: str, packed: bytes, sink: Sink) -> dict[str, Any]:
        """The facts that a requirement's conditions may use (`streams.policy.rules.FLOW_FACTS`)."""
        vocabulary = self.vocabulary
        return {
            "zone": zone,
            **vocabulary.says(packed),
            "retention_days": self.retention_days(packed),
            "nature": lattice.NATURES[lattice.unpack(packed)["nature"]],
            "sink": sink.name,
            "purpose": sink.purpose,
            "region": sink.region,
            "risk": sink.risk,
            "run_by": sink.run_by,
            "trained_on": sink.trained_on,
        }

    def _adopted(self, packed: bytes, before: Policy) -> bytes:
        """Translate a label of the policy `before` to the vocabulary of this policy.

        It is empty if that would loosen it (see `streams.policy.vocabulary.translate`).
        """
        return translate(packed, before.vocabulary, self.vocabulary)

    def _header(self, packed: bytes) -> str:
        """Text of a label for a record header; it can be read with this policy."""
        return f"{self.version}:{packed.hex()}"

    def _seals(self, topic: str, packed: bytes) -> bool:
        """Whether values with a label are sealed on a topic: all of the topic, or those that owe it."""
        owed = topic in SEALABLE and SEALED_OBLIGATION in self.vocabulary.obligations
        return topic in SEALED or (
            owed and bool(packed) and SEALED_OBLIGATION in self.vocabulary.says(packed)["obligations"]
        )

    def describe(self, packed: bytes) -> dict[str, str]:
        """A label in the policy's own words, by component."""
        says = self.vocabulary.says(packed)
        days = self.vocabulary.retention(packed)
        return {
            **{name: ", ".join(says[name]) or "none" for name in LISTS},
            "retention": f"{days} ({self.vocabulary.retention_days[days]} days)",
            "nature": lattice.NATURES[lattice.unpack(packed)["nature"]],
        }

    def permits(self, packed: bytes, purposes: int) -> bool:
        """Whether a label permits every purpose of the mask."""
        return lattice.unpack(packed)["purposes"] & purposes == purposes

    def expires_ns(self, packed: bytes, appended_ns: int) -> int:
        """Time (ns) from which data that was appended at `appended_ns` may no longer be kept.

        It is the append time plus the retention of the label.
        """
        return appended_ns + self.retention_days(packed) * DAY_NS

    def retention_days(self, packed: bytes) -> int:
        """Days for which data with a label may be kept."""
        return self.vocabulary.retention_days[self.vocabulary.retention(packed)]

    def kept_days(self, zone: str, label: str) -> int | None:
        """Days for which what a store has of a class may be kept; None if its label (hexadecimal) is none.

        Without a label it is the retention of the zone, and without a zone the shortest of all.
        """
        days = self.vocabulary.retention_days
        try:
            if label:
                return self.retention_days(bytes.fromhex(label))
        except (ValueError, IndexError):
            return None
        return days[self.zones_by_name[zone].retention] if zone in self.zones_by_name else min(days.values())

    def declassify(self, name: str, packed: bytes, wearers: int) -> bytes:
        """Label after the declassifier `name`, for data that came from `wearers` people.

        The label is unchanged if the policy has no such declassifier, or if there are fewer wearers than it
        requires.
        """
        declassifier = self.declassifiers.get(name)
        if declassifier is None or wearers < declassifier.wearers_min or not packed:
            return packed
        retention = list(self.vocabulary.retention_days).index(declassifier.retention)
        return lattice.pack(**{**lattice.unpack(packed), "retention": retention})
