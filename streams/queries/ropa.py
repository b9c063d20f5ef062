"""Records of processing activities (GDPR, Article 30): what is declared beside what was observed, by sink.

An activity is what goes into one sink for its purpose. What is *declared* follows from the policy and from
what the parts of the system hand to that sink; what was *observed* are the decisions that let something pass.
Both are taken from the same rows as the inventory, so a flow that nobody declared stands here as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from msgspec import UNSET, Struct, UnsetType

from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.policy.dpv import SOURCE, TERMS, Sensitivity, sensitivity_of
from streams.policy.policy import Policy
from streams.policy.recheck import StoredPolicies
from streams.queries.answers import Answer, Bounded
from streams.queries.declared import SHIPPED_SYSTEM, System, labels_of, refused
from streams.queries.flows import DataFlow, DecidedKind, Flows, Standing, observed
from streams.queries.inventory import newest_policy
from streams.queries.listed import NOBODY
from streams.queries.store import Store
from streams.topology import CROSSINGS, EXPORT, SEALED

#: Stands for the region of a sink that no policy has.
NOWHERE = "unknown"
#: What holds of every Sightline, whatever its policy says (Article 30 (1) g, Article 32 (1)).
MEASURES = (
    "wearers and devices have pseudonyms, and lineage holds no values, words or pictures",
    f"values of {', '.join(sorted(SEALED))} are encrypted, under keys of a wearer and a day that expire",
    "every crossing is decided by the policy, refused by default, and on record",
    "who reads lineage of a restricted zone, or takes it out, is on record",
)


class Activity(Answer, frozen=True, kw_only=True):
    """What goes into one sink: a record of Article 30 (1).

    `categories`, `subjects` and `retention_days` (shortest and longest) are those that may go there,
    `…_observed` those that went. `consent` says whether a zone that it may come from needs the wearer's.
    `stopped` are events that were kept from it, `undeclared` flows that nobody declared.
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


def seen_by_sink(decided: Iterable[DecidedKind], policies: StoredPolicies) -> dict[str, Seen]:
    """What decisions let into each sink, and how much they kept from it.

    A label that cannot be read, because the store has no text of its policy, adds events and no words.
    """
    sinks: dict[str, Seen] = {}
    for row in decided:
        seen = sinks.setdefault(row.sink, Seen())
        if not row.passed:
            seen.stopped += row.events
            continue
        seen.events += row.events
        seen.latest_ns = max(seen.latest_ns, row.latest_ns)
        try:
            seen.add(policies.version(row.policy_version), row.zone, bytes.fromhex(row.label))
        except (InputError, ValueError):
            seen.zones.add(row.zone)
    return sinks


def ropa(store: Store, draft: Policy | None = None, system: System = SHIPPED_SYSTEM) -> Ropa:
    """Return the records of processing activities, of what the role of a store is shown.

    They are held against the newest policy that decided, or against `draft`, which need not be published.
    InputError as for `streams.queries.inventory.inventory`.
    """
    policy = draft or newest_policy(store)
    decided, stored = observed(store)
    flows = Flows(store, policy, system, decided, stored).rows()
    went = seen_by_sink(decided, StoredPolicies(store.policies))
    may = _declared(policy, system)
    undeclared = [flow for flow in flows if flow.standing == "undeclared"]
    activities = [
        _activity(policy, sink, may.get(sink, Seen()), went.get(sink, Seen()), flows)
        for sink in dict.fromkeys((*policy.sinks, *sorted(went)))
    ]
    return Ropa(
        epoch=store.epoch,
        policy=f"{policy.name} {policy.version}",
        controller=policy.owner or NOBODY,
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


def _declared(policy: Policy, system: System) -> Mapping[str, Seen]:
    """What the policy permits and the system hands to each sink."""
    sinks: dict[str, Seen] = {}
    for kind in system.kinds.values():
        for zone, label in labels_of(policy, system, kind).items():
            for sink in policy.sinks:
                asked = sink.startswith("ask:") or sink == EXPORT
                carried = (
                    asked or sink not in CROSSINGS or system.carries(kind.name, sink, captured=kind.captured)
                )
                if carried and not refused(policy, zone, label, sink):
                    sinks.setdefault(sink, Seen()).add(policy, zone, label)
    return sinks


def _activity(policy: Policy, sink: str, may: Seen, went: Seen, flows: Iterable[DataFlow]) -> Activity:
    into = [flow for flow in flows if flow.to == sink and flow.how != "made into"]
    undeclared = [flow for flow in into if flow.standing == "undeclared"]
    declared = policy.sinks.get(sink)
    standing: Standing = (
        "undeclared"
        if undeclared or declared is None
        else "declared"
        if went.events or any(flow.standing == "declared" for flow in into)
        else "hidden"
        if any(flow.standing == "hidden" for flow in into)
        else "unobserved"
    )
    purpose = declared.purpose if declared is not None else ""
    zones = [policy.zones_by_name[name] for name in sorted(may.zones)]
    return Activity(
        activity=sink,
        standing=standing,
        about=declared.about if declared is not None else f"no sink of policy {policy.name} {policy.version}",
        purpose=purpose,
        term=TERMS[purpose].term if purpose in TERMS else "",
        consent=any(not zone.without_consent for zone in zones),
        subjects=tuple(sorted(may.subjects)),
        subjects_observed=tuple(sorted(went.subjects)),
        categories=tuple(sorted(may.categories)),
        categories_observed=tuple(sorted(went.categories)),
        sensitivity=sensitivity_of(went.categories if went.events else may.categories),
        region=declared.region if declared is not None else NOWHERE,
        run_by=declared.run_by if declared is not None else "",
        zones=tuple(sorted(went.zones)),
        retention_days=may.range_days,
        retention_observed=went.range_days,
        events=went.events,
        stopped=went.stopped,
        undeclared=len(undeclared),
        latest=rfc3339(went.latest_ns) if went.latest_ns else UNSET,
    )


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
