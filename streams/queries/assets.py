"""What holds data, as rows of the inventory: declared by code and policy, with what the store knows of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import get_args

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from streams.audit_log import AUDIT_LOG
from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.events.kinds import Kind, unit
from streams.policy.audience import RoleName
from streams.policy.dpv import TERMS, sensitivity_of
from streams.policy.policy import DAY_NS, Policy
from streams.policy.recheck import StoredPolicies
from streams.policy.vocabulary import LISTS
from streams.queries.declared import System, labels_of
from streams.queries.flows import DecidedKind, StoredKind
from streams.queries.grants import ROLES
from streams.queries.listed import (
    NOBODY,
    ListedColumn,
    ListedFile,
    ListedKind,
    ListedModel,
    ListedStream,
    ListedTable,
    ListedTopic,
    ListedWord,
    ListedZone,
)
from streams.queries.newest import SEGMENTS
from streams.queries.reads import logged_reads
from streams.queries.role import SHOWN_TO, Role
from streams.queries.store import Store
from streams.topology import CAPTURED, REJECTED, SIDE_TOPICS, STAGES, TOPICS, Topic

_DAY_MS = DAY_NS // 1_000_000
#: What has no unit and is a number.
UNITLESS = "none"
#: Files of a store's directory: pattern, what they hold, and how long they are kept.
_IN_STORE: tuple[tuple[str, str, str], ...] = (
    ("hot.duckdb", "the writer's offsets, epochs, list of files, and rows that wait", "as long as the store"),
    (
        "catalog-*.duckdb",
        "the views of one epoch each",
        "at most a minute after a newer epoch, or as long as kept",
    ),
    (f"{SEGMENTS}/*.parquet", "lineage: ids, runs, labels, times, decisions", "as long as the store"),
    (f"{SEGMENTS}/index-*.duckdb", "edges and zones, arranged for questions", "until they are made anew"),
    (AUDIT_LOG, "who read what of restricted zones, and what was exported", "as long as the store"),
    (ROLES, "which users may take which roles", "as long as the store"),
)
_JOURNALS = ListedFile(
    file="journals",
    holds="everything that a device sent, with its sensor values; it lies with the device",
    retention="as the owner of the device says",
)
_EXPORTS = ListedFile(
    file="exports",
    holds="lineage that a role took out; it lies where the role wrote it",
    retention="as whoever exported it says",
)


class Assets:
    """Lists what holds data. Rows of decisions and events are those that the store's role is shown."""

    def __init__(
        self,
        store: Store,
        policy: Policy,
        system: System,
        decided: Sequence[DecidedKind],
        stored: Sequence[StoredKind],
    ) -> None:
        self._store, self._policy, self._system = store, policy, system
        self._policies = StoredPolicies(store.policies)
        self._decided, self._stored = decided, stored
        self.known_topics = frozenset(topic.name for topic in TOPICS)

    @property
    def _is_told_of_files(self) -> bool:
        asking = self._store.role_filter
        return asking is None or asking.role == Role("privacy-officer")

    def categories(self, kind: str) -> tuple[str, ...]:
        """Categories that the policy gives a kind itself; what a zone adds is not among them."""
        return self._policy.own[kind].categories if kind in self._policy.own else ()

    def kinds(self) -> list[ListedKind]:
        """Kinds that are declared or stored: those of which most is stored come first."""
        names = dict.fromkeys((*self._system.kinds, *(row.kind for row in self._stored)))
        rows = [self._kind(name, self._system.kinds.get(name)) for name in names]
        return sorted(rows, key=lambda row: (-row.events, row.kind))

    def _kind(self, name: str, kind: Kind | None) -> ListedKind:
        mine = [row for row in self._stored if row.kind == name]
        captured = kind.captured if kind else any(row.captured for row in mine)
        categories = self.categories(name)
        nature = TERMS[self._policy.own[name].nature].term if name in self._policy.own else ""
        zones = labels_of(self._policy, self._system, kind) if kind else {}
        days = {
            self._policy.vocabulary.retention_days[self._policy.zones_by_name[zone].retention]
            for zone in zones
        }
        return ListedKind(
            kind=name,
            origin="captured" if captured else "derived",
            schema=kind.event_type if kind else UNSET,
            digest=kind.schema_digest if kind else UNSET,
            columns=len(kind.columns) if kind else 0,
            categories=categories,
            nature=nature,
            sensitivity=sensitivity_of(categories),
            owner=self._policy.owner.name or NOBODY,
            topics=tuple(topic for topic in self._system.topics_of(name, captured=captured) if topic),
            retention_days=tuple(sorted({min(days), max(days)})) if days else (),
            streams=len({row.stream for row in mine}),
            events=sum(row.events for row in mine),
            last_seen=_latest(mine),
        )

    def columns(self) -> list[ListedColumn]:
        """Columns of all kinds that are declared."""
        return [
            ListedColumn(
                kind.name,
                column,
                wanted,
                unit(column) or (UNITLESS if column in kind.unitless else ""),
                kind.wire.get(column, ""),
                self.categories(kind.name),
            )
            for kind in self._system.kinds.values()
            for column, wanted in kind.columns.items()
        ]

    def streams(self) -> list[ListedStream]:
        """Streams that are stored: those with unlabelled events come first."""
        grouped: dict[tuple[str, str, str], list[StoredKind]] = {}
        for row in self._stored:
            grouped.setdefault((row.kind, row.stream, row.topic), []).append(row)
        rows = [
            ListedStream(
                kind,
                stream,
                topic,
                len({source for row in mine for source in row.sources}),
                sum(row.events for row in mine),
                tuple(sorted({row.zone for row in mine})),
                tuple(sorted({row.policy_version for row in mine})),
                sum(row.events for row in mine if not row.labelled or row.zone not in self._zones),
                rfc3339(max(row.latest_ns for row in mine)),
            )
            for (kind, stream, topic), mine in grouped.items()
        ]
        return sorted(rows, key=lambda row: (not row.unlabelled, row.topic, row.kind, row.stream))

    @cached_property
    def _zones(self) -> frozenset[str]:
        """Zones of all policies that can be read."""
        zones = set(self._policy.zones_by_name)
        for version in {row.policy_version for row in self._stored}:
            try:
                zones.update(self._policies.version(version).zones_by_name)
            except InputError:
                continue
        return frozenset(zones)

    def zones(self) -> list[ListedZone]:
        """Zones of the policy, the highest rank first."""
        days = self._policy.vocabulary.retention_days
        return [
            ListedZone(
                zone.name,
                zone.rank,
                zone.mode,
                zone.owner or self._policy.owner.name or NOBODY,
                zone.restricted,
                zone.retention,
                days[zone.retention],
                sum(row.events for row in self._stored if row.zone == zone.name),
                _latest([row for row in self._stored if row.zone == zone.name]),
            )
            for zone in self._policy.zones
        ]

    def topics(self) -> list[ListedTopic]:
        """Topics that are declared, and those that stored events name beside them."""
        stray = sorted({row.topic for row in self._stored if row.topic} - self.known_topics)
        return [self._topic(topic) for topic in TOPICS] + [
            self._topic(Topic(name, "", "delete", "not declared", config={})) for name in stray
        ]

    def _topic(self, topic: Topic) -> ListedTopic:
        let = [row for row in self._decided if row.passed and row.sink == topic.name]
        if topic.name == CAPTURED or not let:
            let_in: Sequence[DecidedKind | StoredKind] = [
                row for row in self._stored if row.topic == topic.name
            ]
        else:
            let_in = let
        events, last_seen = sum(row.events for row in let_in), _latest(let_in)
        if topic.name == REJECTED:
            [(refused, latest_ns)] = self._store.shown("inventory_rejected").rows
            events, last_seen = refused or 0, rfc3339(latest_ns) if latest_ns else UNSET
        stages = [stage for stage in STAGES if topic.name in stage.writes]
        readers = [stage.name for stage in STAGES if topic.name in stage.reads]
        return ListedTopic(
            topic=topic.name,
            key=topic.key,
            holds=topic.holds,
            written_by=_writers(topic.name, [stage.name for stage in stages]),
            read_by=tuple(readers),
            retention_days=round(topic.kept_ms / _DAY_MS, 2) if topic.kept_ms else UNSET,
            kinds=tuple(sorted({row.kind for row in let_in})),
            events=events,
            last_seen=last_seen,
        )

    def tables(self) -> list[ListedTable]:
        """Tables and views of the catalog, with the comment of each."""
        held: Mapping[str, tuple[int, int]] = {}
        if self._is_told_of_files:
            held = {name: (rows, size) for name, rows, size in self._store.shown("inventory_segments").rows}
        return [
            ListedTable(
                table=name,
                says=says,
                columns=columns,
                shown_to=tuple(sorted(SHOWN_TO.get(name, get_args(RoleName)))),
                rows=held[name][0] if name in held else UNSET,
                bytes=held[name][1] if name in held else UNSET,
            )
            for name, says, columns in self._store.shown("inventory_tables").rows
        ]

    @cached_property
    def _models(self) -> list[ListedModel]:
        models = []
        for (
            model,
            zone,
            label,
            version,
            examples,
            wearers,
            accuracy,
            trained_ns,
            by_ns,
            size,
        ) in self._store.shown("inventory_models").rows:
            try:
                says = self._policies.version(version).vocabulary.says(bytes.fromhex(label))
                labelled, categories = True, says["categories"]
            except (InputError, ValueError):
                labelled, categories = False, ()
            models.append(
                ListedModel(
                    model,
                    zone,
                    version,
                    labelled,
                    categories,
                    sensitivity_of(categories),
                    examples,
                    wearers,
                    accuracy,
                    size,
                    rfc3339(trained_ns),
                    rfc3339(by_ns),
                )
            )
        return models

    def models(self) -> list[ListedModel]:
        """Model versions, the newest first."""
        return self._models

    def files(self) -> list[ListedFile]:
        """Files of the opened stores by sort, and those that lie elsewhere."""
        inside = [self._files(pattern, holds, kept) for pattern, holds, kept in _IN_STORE]
        return [*inside, _JOURNALS, self._exports()]

    def _files(self, pattern: str, holds: str, kept: str) -> ListedFile:
        if not self._is_told_of_files:
            return ListedFile(file=pattern, holds=holds, retention=kept)
        sizes, latest = [], 0
        for path in (path for part in self._store.parts for path in part.directory.glob(pattern)):
            try:
                status = path.stat()
            except FileNotFoundError:
                # The writer replaced it meanwhile.
                continue
            sizes.append(status.st_size)
            latest = max(latest, status.st_mtime_ns)
        return ListedFile(
            file=pattern,
            holds=holds,
            retention=kept,
            files=len(sizes),
            bytes=sum(sizes),
            last_seen=rfc3339(latest) if sizes else UNSET,
        )

    def _exports(self) -> ListedFile:
        """Exports, with how many the audit log has and when the last was written."""
        if not self._is_told_of_files:
            return _EXPORTS
        times = [read.t for read in logged_reads(self._store)[0] if read.exported]
        return replace(_EXPORTS, files=len(times), last_seen=max(times) if times else UNSET)

    def words(self) -> list[ListedWord]:
        """Words of the policy's vocabulary, with their terms in DPV."""
        vocabulary = self._policy.vocabulary
        return [
            ListedWord(
                word,
                name,
                TERMS[word].term if word in TERMS else "",
                word in TERMS and TERMS[word].exact,
                TERMS[word].address if word in TERMS else "",
                TERMS[word].sensitivity if word in TERMS else "",
                vocabulary.local.get(word, ""),
            )
            for name in LISTS
            for word in getattr(vocabulary, name)
            # Regions are the policy's own names of places.
            if name != "regions"
        ]


def _latest(rows: Iterable[StoredKind | DecidedKind]) -> str | UnsetType:
    latest_ns = max((row.latest_ns for row in rows), default=0)
    return rfc3339(latest_ns) if latest_ns else UNSET


def _writers(topic: str, stages: Sequence[str]) -> tuple[str, ...]:
    if topic == CAPTURED:
        return ("devices",)
    return ("every stage",) if topic in SIDE_TOPICS else tuple(stages) or ("operators",)
