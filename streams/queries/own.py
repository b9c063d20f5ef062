"""What a store holds of a person, told to that person (GDPR, Article 15), of the rows of `own_rows`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import duckdb
import orjson
from msgspec import UNSET, Struct, UnsetType, convert

from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.lineage.tables import CONSENT_TAKEUP
from streams.policy.policy import DAY_NS, Policy
from streams.policy.recheck import StoredPolicies
from streams.queries.answers import Answer, Bounded
from streams.queries.due import DueEvents, day_on
from streams.queries.inventory import newest_policy
from streams.queries.listed import NOBODY
from streams.queries.own_rows import OTHER, OwnRows, Tables
from streams.queries.role import Role, RowClass
from streams.queries.ropa import Place, known, label_of
from streams.queries.rows import DueModelRow
from streams.queries.store import Store
from streams.queries.wearer import WearerRefusal, nothing_of, pseudonym
from streams.topology import TRAINING_SOURCE

#: The law by which it is handed out.
ACCESS = "GDPR, Article 15: access"


class OwnTable(Struct, frozen=True, kw_only=True):
    """How many rows of a table are told, and how many more are the person's.

    Of these `not_shown` are hidden from the role, and `expired` are over, whole or in part.
    """

    table: str
    rows: int
    not_shown: int
    expired: int = 0


class OwnStream(Struct, frozen=True, kw_only=True):
    """Events of a stream; `captured`: the device captured them, all others were derived."""

    source: str
    stream: str
    kind: str
    captured: bool
    events: int
    since: str
    until: str


class OwnZone(Struct, frozen=True, kw_only=True):
    """Events in a zone of a policy: why the zone is as it is, and what its data may be used for how long."""

    zone: str
    policy: str
    reason: str
    purposes: tuple[str, ...]
    retention_days: tuple[int, ...]
    events: int


class Recipient(Struct, frozen=True, kw_only=True):
    """A sink that events went to, or were kept from (`stopped`), as the policy described it that decided."""

    sink: str
    about: str
    purpose: str
    region: str
    run_by: str
    events: int
    stopped: int
    latest: str | UnsetType = UNSET


class OwnModel(Struct, frozen=True, kw_only=True):
    """A model version that learned from examples of the person; it serves no longer than `retrain_by`."""

    model: str
    examples: int
    retrain_by: str | UnsetType = UNSET


class OwnStatement(Struct, frozen=True, kw_only=True):
    """A word about the person's consent, or that a device was `paired` or `unpaired`; `at` by the broker."""

    at: str
    device: str
    status: str
    number: int | UnsetType = UNSET
    purposes: tuple[str, ...] = ()
    expires: str | UnsetType = UNSET
    notice: str | UnsetType = UNSET


class Withheld(Struct, frozen=True, kw_only=True):
    """Events that are not handed out, and the rule of the policy by which they are not."""

    zone: str
    policy: str
    rule: str
    events: int


class Own(Answer, frozen=True, kw_only=True):
    """What a store holds of a wearer, as far as the role may see it.

    `controller` answers for the newest policy. `consents` are the statements of the wearer that partitions
    took up. `masked` counts rows in which somebody else stands as OTHER.
    """

    wearer: str
    epoch: int
    law: str
    policy: str
    controller: str
    devices: tuple[str, ...]
    held: Bounded[OwnTable]
    masked: int
    streams: Bounded[OwnStream]
    zones: Bounded[OwnZone]
    recipients: Bounded[Recipient]
    due: Bounded[DueEvents]
    models: Bounded[OwnModel]
    consents: Bounded[OwnStatement]
    refusals: Bounded[WearerRefusal]
    withheld: Bounded[Withheld]


def may_ask(role: Role | None, wearer: str) -> None:
    """InputError unless a role may ask about all that is held of a wearer."""
    pseudonym(wearer)
    if role is not None and role.name != "privacy-officer" and role.wearer != wearer:
        raise InputError(
            f"{wearer}: the role {role} may not ask about all that is held of this wearer, expected "
            f"privacy-officer or wearer:{wearer}; name it with --role"
        )


def own(store: Store, wearer: str) -> Own:
    """Return what a store holds of a wearer.

    InputError if it holds nothing, or the role may not ask about this wearer.
    """
    may_ask(None if store.role_filter is None else store.role_filter.role, wearer)
    rows = OwnRows(store, wearer)
    if not rows:
        raise nothing_of(store, wearer)
    return told(store, wearer, rows)


def told(store: Store, wearer: str, rows: OwnRows) -> Own:
    """The answer about rows that were read."""
    policies, newest = StoredPolicies(store.policies), newest_policy(store)
    # A connection of its own: nothing that it reads is more than what the role is shown.
    with duckdb.connect() as connection:
        for table, some in rows.shown.items():
            connection.register(table, some)
        zones, due = _by_label(connection, policies)
        return Own(
            wearer=wearer,
            epoch=store.epoch,
            law=ACCESS,
            policy=f"{newest.name} {newest.version}",
            controller=newest.owner.says or NOBODY,
            devices=tuple(
                source
                for (source,) in connection.execute(
                    "SELECT DISTINCT source FROM events ORDER BY 1"
                ).fetchall()
            ),
            held=Bounded.of(list(_held(rows))),
            masked=_masked(rows.shown),
            streams=Bounded.of(_streams(connection)),
            zones=Bounded.of(zones),
            recipients=Bounded.of(_recipients(connection, policies)),
            due=Bounded.of(due),
            models=Bounded.of(_models(store, connection)),
            consents=Bounded.of(_consents(connection)),
            refusals=Bounded.of(_refusals(connection)),
            withheld=Bounded.of([_withheld(store, of, count) for of, count in rows.hidden.items()]),
        )


def _held(rows: OwnRows) -> Iterator[OwnTable]:
    for table, lasting in rows.lasting.items():
        count = len(rows.shown[table])
        yield OwnTable(
            table=table,
            rows=count,
            not_shown=max(len(lasting) - count, 0),
            expired=rows.over.get(table, 0),
        )


def _masked(tables: Tables) -> int:
    columns = {"edges": ("child_source", "parent_source")}
    return sum(
        any(row[name] == OTHER for name in row)
        for table, rows in tables.items()
        if (names := columns.get(table, ("wearer",))) and set(names) <= set(rows.column_names)
        for row in rows.select(list(names)).to_pylist()
    )


def _streams(connection: duckdb.DuckDBPyConnection) -> list[OwnStream]:
    rows = connection.execute(
        'SELECT source, stream, e.kind, coalesce(any_value(captured), false), sum("count")::BIGINT, '
        "min(t_first_ns), max(t_last_ns) FROM events e LEFT JOIN streams s USING (source, stream) "
        "GROUP BY ALL ORDER BY source, stream, e.kind"
    ).fetchall()
    return [
        OwnStream(
            source=source,
            stream=stream,
            kind=kind,
            captured=captured,
            events=count,
            since=rfc3339(since_ns),
            until=rfc3339(until_ns),
        )
        for source, stream, kind, captured, count, since_ns, until_ns in rows
    ]


def _by_label(
    connection: duckdb.DuckDBPyConnection, policies: StoredPolicies
) -> tuple[list[OwnZone], list[DueEvents]]:
    """Events by zone, and by the day after which they may not be used any more."""
    cells = connection.execute(
        "SELECT policy_version, zone, label, coalesce(nullif(appended_ns, 0), t_last_ns) // "  # noqa: S608 - a number
        f'{DAY_NS} AS day, sum("count")::BIGINT FROM events GROUP BY ALL ORDER BY ALL'
    ).fetchall()
    zones: dict[tuple[str, str], tuple[Policy, set[str], set[int], list[int]]] = {}
    due = Counter[tuple[int, str, int]]()
    for version, zone, text, day, count in cells:
        policy, label = known(policies, version), label_of(text)
        if policy is None or not label:
            continue
        days = policy.retention_days(label)
        due[day + days, zone, days] += count
        _, purposes, every, counts = zones.setdefault((zone, version), (policy, set(), set(), []))
        purposes.update(policy.vocabulary.says(label)["purposes"])
        every.add(days)
        counts.append(count)
    return [
        OwnZone(
            zone=zone,
            policy=f"{policy.name} {version}",
            reason=policy.zones_by_name[zone].reason if zone in policy.zones_by_name else "",
            purposes=tuple(sorted(purposes)),
            retention_days=tuple(sorted(every)),
            events=sum(counts),
        )
        for (zone, version), (policy, purposes, every, counts) in sorted(
            zones.items(), key=lambda each: each[0]
        )
    ], [DueEvents(day_on(day), zone, days, count) for (day, zone, days), count in sorted(due.items())]


def _recipients(connection: duckdb.DuckDBPyConnection, policies: StoredPolicies) -> list[Recipient]:
    went: dict[tuple[Place, str], tuple[list[int], list[int], list[int]]] = {}
    for version, sink, purpose, passed, count, latest_ns in connection.execute(
        'SELECT policy_version, sink, purpose, passed, sum("count")::BIGINT, max(t_ns) FROM decisions '
        "GROUP BY ALL ORDER BY ALL"
    ).fetchall():
        policy = known(policies, version)
        declared = None if policy is None else policy.sinks.get(sink)
        key = Place.of(policy, sink, purpose), "" if declared is None else declared.about
        events, stopped, times = went.setdefault(key, ([], [], []))
        (events if passed else stopped).append(count)
        times += [latest_ns] if passed else []
    return [
        Recipient(
            sink=place.sink,
            about=about,
            purpose=place.purpose,
            region=place.region,
            run_by=place.run_by,
            events=sum(events),
            stopped=sum(stopped),
            latest=rfc3339(max(times)) if times else UNSET,
        )
        for (place, about), (events, stopped, times) in sorted(went.items())
    ]


def _models(store: Store, connection: duckdb.DuckDBPyConnection) -> list[OwnModel]:
    days = {row.model: row.day for row in store.shown("due_models").of(DueModelRow)}
    rows = connection.execute(
        "SELECT child_stream, child_first + child_step * i, sum(parent_width)::BIGINT FROM "  # noqa: S608 - ours
        "(SELECT *, unnest(range(child_count)) AS i FROM edges "
        f"WHERE child_source = '{TRAINING_SOURCE}') GROUP BY ALL ORDER BY 1, 2"
    ).fetchall()
    models = ((f"{TRAINING_SOURCE}/{stream}/{number}", count) for stream, number, count in rows)
    return [
        OwnModel(model=model, examples=count, retrain_by=day_on(days[model]) if model in days else UNSET)
        for model, count in models
    ]


class _TakenUp(Struct, frozen=True):
    """A statement as partitions take it up; `bound` is of pairings alone."""

    device: str
    at_ns: int = 0
    bound: bool | UnsetType = UNSET
    number: int | UnsetType = UNSET
    status: str = ""
    purposes: tuple[str, ...] = ()
    expires_ns: int = 0
    notice: str = ""


def _consents(connection: duckdb.DuckDBPyConnection) -> list[OwnStatement]:
    """Statements that partitions took up, each once, in order."""
    values = connection.execute(f"SELECT value FROM inputs WHERE kind = '{CONSENT_TAKEUP}'").fetchall()  # noqa: S608
    taken = {
        convert(row[1], _TakenUp)
        for (value,) in values
        for row in orjson.loads(value)
        if isinstance(row, list) and isinstance(row[1], dict) and "device" in row[1]
    }
    return [_stated(each) for each in sorted(taken, key=lambda each: (each.at_ns, each.device, repr(each)))]


def _stated(taken: _TakenUp) -> OwnStatement:
    return OwnStatement(
        at=rfc3339(taken.at_ns),
        device=taken.device,
        status=taken.status if taken.bound is UNSET else "paired" if taken.bound else "unpaired",
        number=taken.number,
        purposes=taken.purposes,
        expires=rfc3339(taken.expires_ns) if taken.expires_ns else UNSET,
        notice=taken.notice or UNSET,
    )


def _refusals(connection: duckdb.DuckDBPyConnection) -> list[WearerRefusal]:
    rows: Iterable[tuple[Any, ...]] = connection.execute(
        'SELECT stage, outcome, rule, zone, count(*), sum("count")::BIGINT FROM rejected '
        "WHERE outcome <> 'repeated' GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return [WearerRefusal(*row) for row in rows]


def _withheld(store: Store, of: RowClass, count: int) -> Withheld:
    """Events of a class that the role is not shown, with the rule of the sink that may not take them."""
    policy = known(StoredPolicies(store.policies), of.policy_version)
    role = None if store.role_filter is None else store.role_filter.role
    sinks = () if role is None else (f"ask:{role.name}", *((role.into,) if role.exporting else ()))
    rule = "the store has no text of its policy"
    if policy is not None:
        flows = (policy.flow(of.zone, label_of(of.label), sink) for sink in sinks)
        rule = next((flow.rule for flow in flows if flow.verdict != "allow"), "")
    return Withheld(zone=of.zone, policy=of.policy_version, rule=rule, events=count)
