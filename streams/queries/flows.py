"""Which flows a store has, held against those that are declared (`streams.queries.declared`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.policy.policy import Policy
from streams.policy.recheck import StoredPolicies, labelled_under
from streams.queries.declared import System, labels_of, refused, undone
from streams.queries.reads import logged_reads
from streams.queries.role import Role
from streams.queries.store import Store
from streams.topology import CAPTURED, EXPORT, STORE, ZONED

#: `undeclared`: it was observed, and neither the policy that decided then nor the system declares it.
#: `former`: it was declared when it happened, and the policy that is asked about does not permit it.
#: `declared`: it was observed and is declared. `unobserved`: it is declared and was not observed. `hidden`:
#: it is declared, and the role is not shown whether it was observed.
Standing = Literal["undeclared", "former", "declared", "unobserved", "hidden"]
STANDINGS: tuple[Standing, ...] = ("undeclared", "former", "unobserved", "hidden", "declared")
#: A decision lets events of a kind cross into a sink; they lie on a topic; an operator makes another kind of
#: them; a role reads their lineage, or takes it out.
How = Literal["crosses into", "lies on", "made into", "read by"]
#: Stands for the kind where lineage itself flows, whatever kinds it is about.
LINEAGE_OF_ALL = "lineage"


class DataFlow(Struct, frozen=True, kw_only=True):
    """Events of the kind `of` that go to `to`: a sink, a topic, another kind, or a role's questions.

    `events` counts events once for each decision, topic or child, and reads where lineage is read; `stopped`
    are events that were kept from the sink. `latest` is when the last decision was made or the last event was
    captured; UNSET where the store does not say, or nothing was observed. `reason` says why a flow is not
    declared.
    """

    standing: Standing
    of: str
    how: How
    to: str
    by: str = ""
    zones: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    events: int = 0
    stopped: int = 0
    latest: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class DecidedKind(Struct, frozen=True):
    """A row of `inventory_decisions`: decisions alike about events of one kind."""

    kind: str
    captured: bool
    policy_version: str
    attributes: str
    zone: str
    label: str
    sink: str
    purpose: str
    verdict: str
    passed: bool
    mode: str
    events: int
    latest_ns: int


class StoredKind(Struct, frozen=True):
    """A row of `inventory_events`: stored events of one stream, zone and policy on one topic."""

    kind: str
    captured: bool
    stream: str
    topic: str
    zone: str
    policy_version: str
    labelled: bool
    sources: tuple[str, ...]
    events: int
    latest_ns: int


def observed(store: Store) -> tuple[list[DecidedKind], list[StoredKind]]:
    """What was decided and what is stored, of what the role of a store is shown."""
    decided = [DecidedKind(*row) for row in store.shown("inventory_decisions").rows]
    stored = [
        StoredKind(kind, captured, stream, topic, zone, version, labelled, tuple(sources), events, latest_ns)
        for kind, captured, stream, topic, zone, version, labelled, sources, events, latest_ns in store.shown(
            "inventory_events"
        ).rows
    ]
    return decided, stored


@dataclass(slots=True)
class _Sum:
    """What is added up of one flow."""

    zones: set[str] = field(default_factory=set)
    purposes: set[str] = field(default_factory=set)
    events: int = 0
    stopped: int = 0
    latest_ns: int = 0


#: Standing, kind, how, destination, operator, reason.
_Key = tuple[Standing, str, How, str, str, str]


class Flows:
    """The flows of a store, of what its role is shown, against a policy and a system."""

    def __init__(
        self,
        store: Store,
        policy: Policy,
        system: System,
        decided: Iterable[DecidedKind],
        stored: Iterable[StoredKind],
    ) -> None:
        self._store, self._policy, self._system = store, policy, system
        self._policies = StoredPolicies(store.policies)
        self._sums: dict[_Key, _Sum] = {}
        #: Label of each kind that is known, by the zones in which it can be.
        self._labels = {name: labels_of(policy, system, kind) for name, kind in system.kinds.items()}
        self._decided, self._stored = tuple(decided), tuple(stored)
        #: Zones, under the policy that is asked about, from which events of a kind came into a sink.
        self._seen: dict[tuple[str, str], set[str]] = {}
        self._crossings()
        self._lying()
        self._made()
        self.reads_are_known = self._reads()
        self._unobserved()
        self._stopped()

    def rows(self) -> list[DataFlow]:
        """All flows: the undeclared ones first, then the former ones, then those that were not observed."""
        flows = [
            DataFlow(
                standing=standing,
                of=of,
                how=how,
                to=to,
                by=by,
                zones=tuple(sorted(total.zones)),
                purposes=tuple(sorted(total.purposes)),
                events=total.events,
                stopped=total.stopped,
                latest=rfc3339(total.latest_ns) if total.latest_ns else UNSET,
                reason=reason or UNSET,
            )
            for (standing, of, how, to, by, reason), total in self._sums.items()
        ]
        return sorted(
            flows, key=lambda flow: (STANDINGS.index(flow.standing), flow.of, flow.how, flow.to, flow.by)
        )

    def _sum(self, standing: Standing, of: str, how: How, to: str, *, by: str = "", reason: str = "") -> _Sum:
        return self._sums.setdefault((standing, of, how, to, by, reason), _Sum())

    def _crossings(self) -> None:
        """Hold every decision that let something pass against the policy that made it, and the one asked."""
        for row in self._decided:
            if not row.passed:
                continue
            undeclared = self._undeclared(row)
            zone, label = labelled_under(
                self._policy, self._policies, row.policy_version, row.attributes, row.zone, row.label
            )
            former = "" if undeclared else refused(self._policy, zone, label, row.sink)
            self._seen.setdefault((row.kind, row.sink), set()).add(zone)
            standing: Standing = "undeclared" if undeclared else "former" if former else "declared"
            total = self._sum(standing, row.kind, "crosses into", row.sink, reason=undeclared or former)
            total.zones.add(row.zone)
            total.purposes.add(row.purpose)
            total.events += row.events
            total.latest_ns = max(total.latest_ns, row.latest_ns)

    def _stopped(self) -> None:
        """Add what was kept from a sink to the first flow of the kind into that sink, if there is one."""
        flows: dict[tuple[str, str], _Sum] = {}
        for (_, of, how, to, *_), total in sorted(
            self._sums.items(), key=lambda item: -STANDINGS.index(item[0][0])
        ):
            if how == "crosses into":
                flows.setdefault((of, to), total)
        for row in self._decided:
            if not row.passed and (row.kind, row.sink) in flows:
                flows[row.kind, row.sink].stopped += row.events

    def _undeclared(self, row: DecidedKind) -> str:
        """Why a decision let something pass that was not declared; empty if it was."""
        try:
            policy = self._policies.version(row.policy_version)
            label = bytes.fromhex(row.label)
        except InputError:
            return f"the store has no text of the policy {row.policy_version}, which decided"
        except ValueError:
            label = b""
        reason = refused(policy, row.zone, label, row.sink)
        if reason and row.mode == "logging":
            return f"{reason}; the zone {row.zone} only logs"
        return reason or undone(self._system, row.kind, row.sink, captured=row.captured)

    def _lying(self) -> None:
        """Hold stored events against the decisions that must have let them there."""
        let = {(row.kind, row.policy_version, row.zone, row.sink) for row in self._decided if row.passed}
        for row in self._stored:
            topics = self._system.topics_of(row.kind, captured=row.captured)
            # A device writes to its own topic before anything is decided; the tagged copy is what passed.
            sinks = [ZONED if row.topic == CAPTURED else row.topic, STORE]
            without = [
                sink for sink in sinks if sink and (row.kind, row.policy_version, row.zone, sink) not in let
            ]
            if row.topic not in topics:
                reason = f"no stage writes {row.kind} to it"
            elif without:
                reason = f"no decision let it into {' or '.join(without)}"
            else:
                reason = ""
            total = self._sum(
                "undeclared" if reason else "declared",
                row.kind,
                "lies on",
                row.topic or STORE,
                reason=reason,
            )
            total.zones.add(row.zone)
            total.events += row.events
            total.latest_ns = max(total.latest_ns, row.latest_ns)

    def _made(self) -> None:
        """Hold edges against the operators of the system."""
        seen = set()
        for child, operator, parent, events in self._store.shown("inventory_made").rows:
            seen.add((operator, child, parent))
            made = self._system.makes(operator, child, parent)
            reason = "" if made else f"operator {operator or 'without a name'} makes no {child} of {parent}"
            total = self._sum(
                "declared" if made else "undeclared", parent, "made into", child, by=operator, reason=reason
            )
            total.events += events
        for operator, (child, parents) in self._system.made_of.items():
            for parent in parents:
                if (operator, child, parent) not in seen:
                    labels = self._labels.get(child, {})
                    # By the policy alone, so that it tells nothing of what is hidden.
                    shown = all(self._unseen(*each) == "unobserved" for each in labels.items())
                    self._sum("unobserved" if shown else "hidden", parent, "made into", child, by=operator)

    def _reads(self) -> bool:
        """Add who read lineage of restricted zones, and exports; whether the role may know of them."""
        asking = self._store.role_filter
        if asking is not None and asking.role != Role("privacy-officer"):
            return False
        seen: dict[str, set[str]] = {}
        logged, _ = logged_reads(self._store)
        for read in logged:
            into = (read.into or EXPORT,) if read.exported else ()
            for sink in dict.fromkeys((f"ask:{read.role.partition(':')[0]}", *into)):
                for zone in read.zones or ("",):
                    reason = self._unread(zone, sink) if zone else ""
                    total = self._sum(
                        "undeclared" if reason else "declared",
                        LINEAGE_OF_ALL,
                        "read by",
                        sink,
                        reason=reason,
                    )
                    total.zones |= {zone} - {""}
                    total.events += 1
                    seen.setdefault(sink, set()).add(zone)
        for sink in self._policy.sinks:
            if sink.startswith("ask:") or sink == EXPORT:
                zones = [
                    zone
                    for zone, each in self._policy.zones_by_name.items()
                    # Reads of other zones are not on record.
                    if each.restricted and not self._unread(zone, sink)
                ]
                if unread := set(zones) - seen.get(sink, set()):
                    self._sum("unobserved", LINEAGE_OF_ALL, "read by", sink).zones |= unread
        return True

    def _unread(self, zone: str, sink: str) -> str:
        """Why no policy that is known permits lineage of a zone in a sink; empty if one does."""
        policies = [self._policy]
        for version in self._store.policies:
            try:
                policies.append(self._policies.version(version))
            except InputError:
                continue
        for policy in policies:
            labels = [label for (_, owner), label in policy.labels.items() if owner == zone]
            if any(not refused(policy, zone, label, sink) for label in labels):
                return ""
        return f"no policy permits lineage of the zone {zone} there"

    def _unobserved(self) -> None:
        """Add what the policy permits and the system could do, and what was not observed."""
        for kind in self._system.kinds.values():
            labels = self._labels[kind.name]
            for sink, declared in self._policy.sinks.items():
                if sink.startswith("ask:") or sink == EXPORT:
                    continue
                if not self._system.hands(kind, sink):
                    continue
                for zone in labels.keys() - self._seen.get((kind.name, sink), set()):
                    if not refused(self._policy, zone, labels[zone], sink):
                        total = self._sum(self._unseen(zone, labels[zone]), kind.name, "crosses into", sink)
                        total.zones.add(zone)
                        total.purposes.add(declared.purpose)

    def _unseen(self, zone: str, label: bytes) -> Standing:
        """How a declared flow of a zone stands that the store does not show."""
        asking = self._store.role_filter
        if asking is None or not refused(self._policy, zone, label, f"ask:{asking.role.name}"):
            return "unobserved"
        return "hidden"
