"""A policy in force: which zone events are in, which label that gives them, and whether a flow is permitted.

Everything is decided once per distinct combination and remembered, so a batch costs a dictionary look-up. What no
rule covers is unconfigured and refused in every mode.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from msgspec import Struct

from streams.events.batch import Context
from streams.events.step import Tagged, Verdict
from streams.limits import ATTRIBUTE_COMBINATIONS_MAX
from streams.policy import label as lattice
from streams.policy.attributes import Attributes, attributes_of

UNCONFIGURED = "unconfigured"


@dataclass(frozen=True, slots=True)
class Zone:
    """A named, ranked set of labels; the highest-ranked zone whose condition holds takes the event."""

    name: str
    rank: int
    condition: str
    program: Any
    mode: str
    retention: str


class Tag(Struct, frozen=True):
    """What the zones stage says of an event: its zone by `rule`, its packed label, and the attributes that were looked at.

    The label is empty where the policy says nothing about the kind.
    """

    zone: str
    rule: str
    label: bytes
    attributes: str


@dataclass(frozen=True, slots=True)
class Sink:
    """A place that data may cross into: for which purpose, in which region; `always_enforced` ignores a zone's logging mode."""

    name: str
    purpose: str
    region: str
    always_enforced: bool


@dataclass(frozen=True, slots=True)
class Declassifier:
    """The only thing that may loosen a label: named, owned, with reason and evidence."""

    name: str
    owner: str
    reason: str
    evidence: str
    retention: str


class Flow(Struct, frozen=True):
    """One decision: the verdict, whether the data passes (a deny does in logging mode), and the rule that says so."""

    verdict: Verdict
    passed: bool
    rule: str
    mode: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Closed lists of words; a word's position is its bit. `retention_days` is ordered from the shortest."""

    categories: tuple[str, ...]
    subjects: tuple[str, ...]
    purposes: tuple[str, ...]
    regions: tuple[str, ...]
    obligations: tuple[str, ...]
    retention_days: Mapping[str, int]

    def mask(self, name: str, words: Iterable[str]) -> int:
        """Bit mask of `words` in the vocabulary called `name`."""
        known: tuple[str, ...] = getattr(self, name)
        return sum(1 << known.index(word) for word in set(words))


@dataclass(eq=False)
class Policy:
    """A loaded policy. `version` is the digest of `text`; labels are packed bytes (see `streams.policy.label`)."""

    name: str
    version: str
    text: str
    vocabulary: Vocabulary
    zones: tuple[Zone, ...]
    sinks: Mapping[str, Sink]
    declassifiers: Mapping[str, Declassifier]
    labels: Mapping[tuple[str, str], bytes]
    derived: Mapping[str, bytes]
    served_purposes: int
    seed_zone: str
    _zones_by_name: Mapping[str, Zone] = field(init=False)

    def __post_init__(self) -> None:
        self._zones_by_name = {zone.name: zone for zone in self.zones}
        self.zone_of = lru_cache(maxsize=ATTRIBUTE_COMBINATIONS_MAX)(self._zone_of)
        self.tag_of = lru_cache(maxsize=ATTRIBUTE_COMBINATIONS_MAX)(self._tag_of)
        self.flow = lru_cache(maxsize=ATTRIBUTE_COMBINATIONS_MAX)(self._flow)
        self.derive = lru_cache(maxsize=ATTRIBUTE_COMBINATIONS_MAX)(self._derive)
        self.header = lru_cache(maxsize=ATTRIBUTE_COMBINATIONS_MAX)(self._header)

    def _zone_of(self, attributes: Attributes) -> tuple[str, str]:
        """Return (zone, rule) for a combination of attributes; zone is `unconfigured` when no condition holds."""
        values = attributes._asdict()
        for zone in self.zones:
            if zone.program.execute(values) is True:
                return zone.name, f"zones.{zone.name}.when"
        return UNCONFIGURED, "no zone's condition holds"

    def _tag_of(self, kind: str, stream: str, context: Context | None) -> Tag:
        """Tag of captured events of a kind and stream in one context; the very same object for the same combination."""
        if context is None:
            return Tag(UNCONFIGURED, "the batch says nothing about its surroundings", b"", "")
        attributes = attributes_of(kind, stream, context)
        zone, rule = self.zone_of(attributes)
        return Tag(zone, rule, self.label_of(kind, zone) or b"", attributes.text())

    def decision(self, tagged: Tagged, sink: str) -> Flow:
        """Decide whether a tagged run may cross into `sink`; no zone or no label is unconfigured, which passes in no mode."""
        if tagged.zone == UNCONFIGURED:
            return Flow("unconfigured", False, tagged.rule, "enforcing", "")
        if not tagged.label:
            return Flow("unconfigured", False, f"kinds: the policy says nothing about {tagged.batch.kind}", "enforcing", "")
        return self.flow(tagged.zone, tagged.label, sink)

    def label_of(self, kind: str, zone: str) -> bytes | None:
        """Label of captured events of `kind` in `zone`; None when the policy says nothing about the kind."""
        return self.labels.get((kind, zone))

    def _derive(self, kind: str, labels: tuple[bytes, ...]) -> bytes:
        """Label of a derived event: the join of its parents' labels with what the kind itself adds (law 4)."""
        return lattice.join([*labels, self.derived[kind]])

    def highest(self, zones: Iterable[str]) -> str:
        """Return the highest-ranked of some zones: a derived event's zone."""
        return max(zones, key=lambda name: self._zones_by_name[name].rank)

    def _flow(self, zone: str, packed: bytes, sink: str) -> Flow:
        """Decide whether data of `zone` with label `packed` may cross into `sink`."""
        found, owner = self.sinks.get(sink), self._zones_by_name.get(zone)
        if found is None:
            return Flow("unconfigured", False, f"no sink {sink}", "enforcing", "")
        if owner is None:
            return Flow("unconfigured", False, f"no zone {zone}", "enforcing", found.purpose)
        value = lattice.unpack((packed,))[0]
        mode = "enforcing" if found.always_enforced else owner.mode
        for name, word in (("purposes", found.purpose), ("regions", found.region)):
            if not int(value[name]) & self.vocabulary.mask(name, (word,)):
                return Flow("deny", mode == "logging", f"sinks.{sink}: {name[:-1]} {word} is not permitted", mode, found.purpose)
        return Flow("allow", True, f"sinks.{sink}", mode, found.purpose)

    def _header(self, packed: bytes) -> str:
        """Text of a label for a record header: readable by whoever has the policy."""
        return f"{self.version}:{packed.hex()}"

    def describe(self, packed: bytes) -> dict[str, str]:
        """A label in the policy's own words, component by component."""
        value = lattice.unpack((packed,))[0]
        said = {}
        for name in ("categories", "subjects", "purposes", "regions", "obligations"):
            words: tuple[str, ...] = getattr(self.vocabulary, name)
            said[name] = ", ".join(word for bit, word in enumerate(words) if int(value[name]) >> bit & 1) or "none"
        days = list(self.vocabulary.retention_days.items())[int(value["retention"])]
        return {**said, "retention": f"{days[0]} ({days[1]} days)", "nature": lattice.NATURES[int(value["nature"])]}

    def permits(self, packed: bytes, purposes: int) -> bool:
        """Whether a label permits every purpose of the mask."""
        return int(lattice.unpack((packed,))[0]["purposes"]) & purposes == purposes

    def expires_ns(self, packed: bytes, captured_ns: int) -> int:
        """Instant after which data captured at `captured_ns` may not be kept: capture time plus retention class."""
        days = list(self.vocabulary.retention_days.values())[int(lattice.unpack((packed,))[0]["retention"])]
        return captured_ns + days * 86_400_000_000_000

    def declassify(self, name: str, packed: bytes) -> bytes:
        """Label after the declassifier `name`; KeyError when the policy has none of that name."""
        value = lattice.unpack((packed,)).copy()
        value["retention"] = list(self.vocabulary.retention_days).index(self.declassifiers[name].retention)
        return value.tobytes()
