"""Records of processing activities (GDPR, Article 30): what is declared beside what was observed, by sink.

An activity is what goes into one sink for its purpose. What is *declared* follows from the policy and from
what the parts of the system hand to that sink; what was *observed* are the decisions that let something pass.
Both are taken from the same rows as the inventory, so a flow that nobody declared stands here as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec import UNSET, Struct, UnsetType

from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.limits import LABEL_BYTES
from streams.policy.dpv import SOURCE, TERMS, Sensitivity, sensitivity_of
from streams.policy.policy import Policy
from streams.policy.recheck import StoredPolicies
from streams.queries.answers import Answer, Bounded
from streams.queries.declared import SHIPPED_SYSTEM, System, labels_of, refused
from streams.queries.flows import DataFlow, DecidedKind, Flows, Standing, observed
from streams.queries.inventory import newest_policy
from streams.queries.listed import NOBODY
from streams.queries.store import Store
from streams.topology import EXPORT, SEALABLE, SEALED

#: Stands for the region of a sink that no policy has.
NOWHERE = "unknown"
#: What holds of every Sightline, whatever its policy says (Article 30 (1) g, Article 32 (1)).
MEASURES = (
    "wearers and devices have pseudonyms, and lineage holds no values, words or pictures",
    f"values of {', '.join(sorted(SEALED))} are encrypted, under keys of a wearer and a day that expire; on "
    f"{' and '.join(topic for topic in SEALABLE if topic not in SEALED)} those whose label owes it",
    "every crossing is decided by the policy, refused by default, and on record",
    "who reads lineage of a restricted zone, or takes it out, is on record",
)


class Activity(Answer, frozen=True, kw_only=True):
    """What goes into one sink: a record of Article 30 (1).

    `categories`, `subjects` and `retention_days` (shortest and longest) are those that may go there,
    `…_observed` those that went. `consent` says whether a zone that it may come from needs the wearer's.
    `stopped` are events that were kept from it, `undeclared` flows that nobody declared. What went there by a
    policy under which the sink had another purpose, region or operator is an activity of its own, `former`.
    """

    activity: str
    standing: Standing
    about: str
    purpose: str
    term: str
    consent: bool
    subjects: tuple[str, ...]
    subjects_observed: tuple[str, ...]
    categories: tuple[str, ...]
    categories_observed: tuple[str, ...]
    sensitivity: Sensitivity
    region: str
    run_by: str
    zones: tuple[str, ...]
    retention_days: tuple[int, ...]
    retention_observed: tuple[int, ...]
    events: int
    stopped: int
    undeclared: int
    latest: str | UnsetType = UNSET


class Ropa(Answer, frozen=True, kw_only=True):
    """Records of processing activities under a policy, of what the role is shown.

    `controller` answers for the policy. `undeclared` are the flows that were observed and not declared, into
    sinks or elsewhere. `vocabulary` names the source of the terms.
    """

    epoch: int
    policy: str
    controller: str
    flows_undeclared: int
    vocabulary: str
    measures: tuple[str, ...]
    activities: Bounded[Activity]
    undeclared: Bounded[DataFlow]

    def activity(self, name: str) -> Activity:
        """One record; InputError if there is none of this name."""
        for each in self.activities:
            if each.activity == name:
                return each
        names = ", ".join(each.activity for each in self.activities)
        raise InputError(f"activity {name}: found none of this name, expected one of {names}")


class Region(Struct, frozen=True, kw_only=True):
    """What goes to one region: to how many recipients, and how many events."""

    region: str
    recipients: int
    events: int
    subjects: tuple[str, ...]
    categories: tuple[str, ...]
    sensitivity: Sensitivity


class Transfer(Struct, frozen=True, kw_only=True):
    """What went, or may go, to one recipient in a region."""

    region: str
    recipient: str
    standing: Standing
    purpose: str
    run_by: str
    events: int
    subjects: tuple[str, ...]
    categories: tuple[str, ...]
    latest: str | UnsetType = UNSET


class Transfers(Answer, frozen=True, kw_only=True):
    """Where data went, by region and recipient; where nothing went, what may go there."""

    epoch: int
    policy: str
    regions: Bounded[Region]
    transfers: Bounded[Transfer]


@dataclass(slots=True)
class Seen:
    """What is added up of labels: words and retention (days); and where it goes."""

    categories: set[str] = field(default_factory=set)
    subjects: set[str] = field(default_factory=set)
    days: set[int] = field(default_factory=set)
    zones: set[str] = field(default_factory=set)
    sinks: set[str] = field(default_factory=set)
    events: int = 0
    stopped: int = 0
    latest_ns: int = 0

    def add(self, policy: Policy, zone: str, label: bytes) -> None:
        """Add a label in the words of its policy."""
        says = policy.vocabulary.says(label)
        self.categories.update(says["categories"])
        self.subjects.update(says["subjects"])
        self.days.add(policy.retention_days(label))
        self.zones.add(zone)

    @property
    def range_days(self) -> tuple[int, ...]:
        """Shortest and longest retention; empty if nothing was added."""
        return (min(self.days), max(self.days)) if self.days else ()


class Place(NamedTuple):
    """A sink as a policy describes it; a sink that it does not have has an unknown region."""

    sink: str
    purpose: str
    region: str
    run_by: str

    @classmethod
    def of(cls, policy: Policy | None, sink: str, purpose: str) -> Place:
        """The place under a policy; `purpose` is that of the decision."""
        declared = None if policy is None else policy.sinks.get(sink)
        if declared is None:
            return cls(sink, purpose, NOWHERE, "")
        return cls(sink, declared.purpose, declared.region, declared.run_by)


def seen_by_place(decided: Iterable[DecidedKind], policies: StoredPolicies) -> dict[Place, Seen]:
    """What decisions let into each place, and how much they kept from it, by the policies that decided.

    A label that cannot be read, because the store has no text of its policy, adds events and no words; so
    does one about nobody, as that of the licensed examples.
    """
    places: dict[Place, Seen] = {}
    for row in decided:
        policy = known(policies, row.policy_version)
        seen = places.setdefault(Place.of(policy, row.sink, row.purpose), Seen())
        if not row.passed:
            seen.stopped += row.events
            continue
        seen.events += row.events
        seen.zones.add(row.zone)
        seen.latest_ns = max(seen.latest_ns, row.latest_ns)
        label = label_of(row.label)
        if policy is not None and label and policy.vocabulary.says(label)["subjects"]:
            seen.add(policy, row.zone, label)
    return places


def known(policies: StoredPolicies, version: str) -> Policy | None:
    """A policy of a store; None if the store does not have its text."""
    try:
        return policies.version(version)
    except InputError:
        return None


def label_of(text: str) -> bytes:
    """A stored label; empty if it is none."""
    try:
        label = bytes.fromhex(text)
    except ValueError:
        return b""
    return label if len(label) == LABEL_BYTES else b""


def ropa(store: Store, draft: Policy | None = None, system: System = SHIPPED_SYSTEM) -> Ropa:
    """Return the records of processing activities, of what the role of a store is shown.

    They are held against the newest policy that decided, or against `draft`, which need not be published.
    InputError as for `streams.queries.inventory.inventory`.
    """
    policy = draft or newest_policy(store)
    decided, stored = observed(store)
    flows = Flows(store, policy, system, decided, stored).rows()
    went = seen_by_place(decided, StoredPolicies(store.policies))
    may = _declared(policy, system)
    undeclared = [flow for flow in flows if flow.standing == "undeclared"]
    activities = [
        _activity(policy, place, may.get(place, Seen()), went.get(place, Seen()), flows)
        for place in dict.fromkeys((*may, *sorted(went)))
    ]
    return Ropa(
        epoch=store.epoch,
        policy=f"{policy.name} {policy.version}",
        controller=policy.owner.says or NOBODY,
        flows_undeclared=len(undeclared),
        vocabulary=SOURCE,
        measures=MEASURES,
        activities=Bounded.of(activities),
        undeclared=Bounded.of(undeclared),
    )


def transfers(store: Store, draft: Policy | None = None, system: System = SHIPPED_SYSTEM) -> Transfers:
    """Return where data went, by region and recipient; errors as for `ropa`."""
    record = ropa(store, draft, system)
    rows = sorted(
        (
            Transfer(
                region=each.region,
                recipient=each.activity,
                standing=each.standing,
                purpose=each.purpose,
                run_by=each.run_by,
                events=each.events,
                subjects=each.subjects_observed if each.events else each.subjects,
                categories=each.categories_observed if each.events else each.categories,
                latest=each.latest,
            )
            for each in record.activities
        ),
        key=lambda row: (row.region, row.recipient),
    )
    return Transfers(
        epoch=record.epoch,
        policy=record.policy,
        regions=Bounded.of(
            [
                _region(name, [row for row in rows if row.region == name and row.events])
                for name in dict.fromkeys(row.region for row in rows)
            ]
        ),
        transfers=Bounded.of(rows),
    )


def _declared(policy: Policy, system: System) -> Mapping[Place, Seen]:
    """What the policy permits and the system hands to each of its sinks."""
    sinks = {sink: Seen() for sink in policy.sinks}
    for kind in system.kinds.values():
        for zone, label in labels_of(policy, system, kind).items():
            for sink in policy.sinks:
                asked = sink.startswith("ask:") or sink == EXPORT
                if (asked or system.hands(kind, sink)) and not refused(policy, zone, label, sink):
                    sinks[sink].add(policy, zone, label)
    return {Place.of(policy, sink, ""): seen for sink, seen in sinks.items()}


def _activity(policy: Policy, place: Place, may: Seen, went: Seen, flows: Iterable[DataFlow]) -> Activity:
    sink, purpose = place.sink, place.purpose
    into = [flow for flow in flows if flow.to == sink and flow.how != "made into"]
    undeclared = [flow for flow in into if flow.standing == "undeclared"]
    declared = policy.sinks.get(sink)
    zones = [policy.zones_by_name[name] for name in sorted(may.zones)]
    return Activity(
        activity=sink,
        standing=_standing(policy, place, went, into),
        about=declared.about if declared is not None else f"no sink of policy {policy.name} {policy.version}",
        purpose=purpose,
        term=TERMS[purpose].term if purpose in TERMS else "",
        consent=any(not zone.without_consent for zone in zones),
        subjects=tuple(sorted(may.subjects)),
        subjects_observed=tuple(sorted(went.subjects)),
        categories=tuple(sorted(may.categories)),
        categories_observed=tuple(sorted(went.categories)),
        sensitivity=sensitivity_of(went.categories if went.events else may.categories),
        region=place.region,
        run_by=place.run_by,
        zones=tuple(sorted(went.zones)),
        retention_days=may.range_days,
        retention_observed=went.range_days,
        events=went.events,
        stopped=went.stopped,
        undeclared=len(undeclared),
        latest=rfc3339(went.latest_ns) if went.latest_ns else UNSET,
    )


def _standing(policy: Policy, place: Place, went: Seen, into: Sequence[DataFlow]) -> Standing:
    if place.region == NOWHERE or any(flow.standing == "undeclared" for flow in into):
        return "undeclared"
    if place != Place.of(policy, place.sink, ""):
        return "former"
    # Who reads lineage is no decision; what crosses in stands where it went.
    if went.events or any(flow.standing == "declared" and flow.how == "read by" for flow in into):
        return "declared"
    return "hidden" if any(flow.standing == "hidden" for flow in into) else "unobserved"


def _region(name: str, rows: list[Transfer]) -> Region:
    categories = sorted({word for row in rows for word in row.categories})
    return Region(
        region=name,
        recipients=len(rows),
        events=sum(row.events for row in rows),
        subjects=tuple(sorted({word for row in rows for word in row.subjects})),
        categories=tuple(categories),
        sensitivity=sensitivity_of(categories),
    )
