"""`sightline status`: the state of broker, agents, store and processes, as far as they can be reached."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
from msgspec import UNSET, Struct, UnsetType

from streams import clock, limits, settings
from streams.cli.output import (
    Stores,
    emit_facts,
    emit_hidden,
    emit_json,
    emit_left_out,
    emit_table,
    json_option,
    role_option,
    stores_option,
)
from streams.connection.address import broker_option
from streams.ends import End
from streams.errors import DamagedError, UnavailableError
from streams.events.headers import rfc3339
from streams.printing import say
from streams.queries import grants
from streams.queries.answers import Answer, ModelVersion
from streams.queries.overview import PolicyName, RuleRefusals, overview
from streams.queries.role import Role
from streams.queries.store import Store
from streams.settings.kafka import Broker, KafkaSettings
from streams.topology import AGENTS, LINEAGE, POLICIES, group

#: Name shown for the store's writer, which reads glasses.lineage without a consumer group.
_WRITER = "snapshots"
#: Commands that run until they are stopped.
_STAYING = ("worker", "snapshots", "broker", "demo")
#: Purpose of helper processes, by the last two parts of the path of their file.
_HELPERS = {
    ("kafka", "watchdog.py"): "watchdog of a broker",
    ("kafka", "leaving.py"): "last will of a worker",
}
_TABLES: Mapping[str, Sequence[str]] = {
    "lag": ("agent", "partition", "next_offset", "end_offset", "records", "seconds"),
    "members": ("agent", "client", "host"),
    "rejected": ("stage", "outcome", "rule", "batches", "events"),
    "processes": ("pid", "command", "since", "memory_mb"),
}


@click.command("status")
@broker_option()
@stores_option
@role_option
@json_option
@click.pass_context
def command(context: click.Context, broker: Broker, stores: Stores, role: Role, *, as_json: bool) -> None:
    """Say how broker, agents and store stand: who lags by how much, what is in force, what was refused.

    Where the broker or the store is away it says so, tells what it can, and ends with exit code 3; 0 where
    both are there. What stands in the store is told as far as the role is shown it.
    """
    held = _held(stores, role)
    live = asyncio.run(_live(broker, None if held.offsets is UNSET else held.offsets, held.share))
    policies = live.policies
    if not policies and held.policy is not None:
        # The topic has the policy in force now; without a broker, show the one in the store.
        policies = {"decided last, by the store": _named(held.policy)}
    answer = _Standing(
        broker=live.broker,
        lag=live.lag,
        members=live.members,
        policies=policies,
        store=held.store,
        offsets=held.offsets,
        model=held.model,
        policy=held.policy,
        rejected=held.rejected,
        hidden=held.hidden,
        roles=_roles(stores),
        processes=tuple(_processes()),
        role=str(role),
    )
    if as_json:
        emit_json(answer.to_dict())
    else:
        _say(answer)
    context.exit(0 if answer.broker.present and answer.store.present else End.UNAVAILABLE.code)


class _BrokerState(Struct, frozen=True):
    """Whether the broker is available; if not, `says` explains why."""

    present: bool
    address: str
    says: str | UnsetType = UNSET


class _StoreState(Struct, frozen=True, kw_only=True):
    """Whether the store is available, and the age of its newest epoch; if not, `says` explains why.

    Several stores are read as one: `epochs` has the epoch of each, and the age is that of the oldest.
    """

    present: bool
    directory: str
    says: str | UnsetType = UNSET
    epoch: int | UnsetType = UNSET
    epochs: Mapping[str, int] | UnsetType = UNSET
    published: str | UnsetType = UNSET
    age_s: float | UnsetType = UNSET


class LagRow(Struct, frozen=True):
    """Lag of a reader of a partition, in records, and the age of the first unread record in seconds."""

    agent: str
    topic: str
    partition: int
    next_offset: int
    end_offset: int
    records: int
    seconds: float


class _MemberRow(Struct, frozen=True):
    """A client that reads for an agent."""

    agent: str
    client: str
    host: str


class _ProcessRow(Struct, frozen=True):
    """A process of Sightline on this machine."""

    pid: int
    command: str
    since: str
    memory_mb: int


class _Live(Struct, frozen=True, kw_only=True):
    """Data from the broker; `policies` has name and version of the current and the next policy."""

    broker: _BrokerState
    lag: tuple[LagRow, ...] = ()
    members: tuple[_MemberRow, ...] = ()
    policies: Mapping[str, str] = {}


class _Held(Struct, frozen=True, kw_only=True):
    """Data from the newest epoch, as far as the role may see it; `offsets` are UNSET if there is none.

    `share`: the partitions that the open stores hold; empty if they hold all.
    """

    store: _StoreState
    offsets: Mapping[int, int] | UnsetType = UNSET
    share: frozenset[int] = frozenset()
    model: ModelVersion | None = None
    policy: PolicyName | None = None
    rejected: tuple[RuleRefusals, ...] = ()
    hidden: Mapping[str, str] = {}


class _Standing(Answer, frozen=True, kw_only=True):
    """The complete status."""

    broker: _BrokerState
    lag: tuple[LagRow, ...]
    members: tuple[_MemberRow, ...]
    policies: Mapping[str, str]
    store: _StoreState
    offsets: Mapping[int, int] | UnsetType
    model: ModelVersion | None
    policy: PolicyName | None
    rejected: tuple[RuleRefusals, ...]
    hidden: Mapping[str, str]
    roles: str
    processes: tuple[_ProcessRow, ...]
    role: str


def _held(stores: Stores, role: Role) -> _Held:
    """Read the newest epoch; InputError if the role is not granted."""
    directory = ", ".join(map(str, stores))
    try:
        with Store.open(stores, role) as opened:
            seen = overview(opened)
            emit_left_out(opened.left_out)
            opened.record("status")
            hidden, epochs = opened.hidden, opened.epochs
            held = frozenset[int]().union(*(part.partitions or () for part in opened.parts))
    except (UnavailableError, DamagedError) as error:
        return _Held(store=_StoreState(present=False, directory=directory, says=str(error)))
    return _Held(
        store=_StoreState(
            present=True,
            directory=directory,
            epoch=UNSET if len(epochs) > 1 else seen.epoch,
            epochs=epochs if len(epochs) > 1 else UNSET,
            published=seen.published,
            age_s=round((clock.now_ns() - seen.published_ns) / 1e9, 3),
        ),
        offsets=seen.offsets,
        share=held,
        model=seen.model,
        policy=seen.policy,
        rejected=seen.rejected,
        hidden=hidden,
    )


async def _live(broker: Broker, stored: Mapping[int, int] | None, share: frozenset[int]) -> _Live:
    """Ask the broker for the lag of agents and store, the members of groups, and the policies."""
    # Imported here, because only this command needs Kafka's client.
    from streams.kafka.lag import members  # noqa: PLC0415

    groups = {_group(broker, agent): agent for agent in AGENTS}
    try:
        policies, reading, lag = await asyncio.gather(
            _policies(broker),
            members(broker, groups, wait_s=limits.STATUS_WAIT_S),
            lag_of(broker, stored),
        )
    except UnavailableError as error:
        return _Live(broker=_BrokerState(present=False, address=str(broker), says=str(error)))
    return _Live(
        broker=_BrokerState(present=True, address=str(broker)),
        # Other partitions are read by the writers of other stores.
        lag=tuple(row for row in lag if row.agent != _WRITER or not share or row.partition in share),
        members=tuple(_MemberRow(groups[each.group], each.client, each.host) for each in reading),
        policies=policies,
    )


async def lag_of(broker: Broker, stored: Mapping[int, int] | None) -> tuple[LagRow, ...]:
    """Lag of the agents; and of the store, if its next offsets of glasses.lineage are given, by partition.

    UnavailableError if the broker does not answer in time.
    """
    behind = [_behind(broker, agent, topic, None) for agent, topic in AGENTS.items()]
    if stored is not None:
        behind.insert(0, _behind(broker, _WRITER, LINEAGE, stored))
    return tuple(row for rows in await asyncio.gather(*behind) for row in rows)


async def _behind(
    broker: Broker, reader: str, topic: str, next_offsets: Mapping[int, int] | None
) -> list[LagRow]:
    """Lag of a reader by partition; without `next_offsets`, from the commits of its group."""
    from streams.kafka.lag import lags  # noqa: PLC0415 - as above
    from streams.kafka.reader import committed_offsets  # noqa: PLC0415

    wait_s = limits.STATUS_WAIT_S
    if next_offsets is None:
        committed = await committed_offsets(broker, _group(broker, reader), [topic], wait_s=wait_s)
        next_offsets = {partition: offset for (_, partition), offset in committed.items()}
    now_ms = clock.now_ns() / 1e6
    return [
        LagRow(
            reader,
            topic,
            lag.partition,
            lag.next_offset,
            lag.end_offset,
            lag.records,
            round(0.0 if lag.oldest_ms is None else max(now_ms - lag.oldest_ms, 0.0) / 1e3, 3),
        )
        for lag in await lags(broker, topic, next_offsets, wait_s=wait_s)
    ]


def _group(broker: Broker, agent: str) -> str:
    return group(agent, KafkaSettings.of(broker).group_prefix(settings.GROUP_PREFIX))


async def _policies(broker: Broker) -> dict[str, str]:
    """Name and version of the policy in force and of the one that may come next."""
    from streams.kafka.reader import read_all  # noqa: PLC0415
    from streams.policy.source import bundle, find, shipped_names  # noqa: PLC0415
    from streams.worker.checking import Checker  # noqa: PLC0415 - as above
    from streams.worker.on_topics import policies_of  # noqa: PLC0415

    shipped = [bundle(find(name)) for name in shipped_names()]
    with contextlib.closing(Checker(*shipped)) as checker:
        records = await read_all(broker, POLICIES, wait_s=limits.STATUS_WAIT_S)
        known = (await policies_of(records, checker)).now
    return {
        name: _named(PolicyName(version, known.version(version).name))
        for name, version in (("in force", known.current), ("next", known.next))
        if version
    }


def _named(policy: PolicyName) -> str:
    return f"{policy.name} {policy.version}"


def _roles(stores: Stores) -> str:
    described = (grants.described(store.resolve()) for store in stores if store.is_dir())
    return "; ".join(dict.fromkeys(described)) or "no store, so none"


def _processes() -> Iterator[_ProcessRow]:
    """Long-running processes of Sightline on this machine, with children, as far as the user may see them."""
    import psutil  # noqa: PLC0415 - questions do without it

    seen: dict[psutil.Process, str] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            seen[process] = _command_of(process.cmdline())
    commands = {process.pid: command for process, command in seen.items() if command}
    for process, own in seen.items():
        with contextlib.suppress(psutil.Error):
            parent = commands.get(process.ppid(), "")
            command = own or (f"child of {parent}" if parent else "")
            if command:
                since_ns = int(process.create_time() * 1e9)
                memory_mb = process.memory_info().rss // 1_000_000
                yield _ProcessRow(process.pid, command, rfc3339(since_ns), memory_mb)


def _command_of(arguments: Sequence[str]) -> str:
    """Command of Sightline that a process runs, or its purpose as a helper; empty if it is neither."""
    for at, argument in enumerate(arguments[:4]):
        name = Path(argument).name
        following = arguments[at + 1] if at + 1 < len(arguments) else ""
        if name in ("device-sim", "device_sim") and following == "run":
            return "device-sim run"
        if name in ("sightline", "streams.cli") and following in _STAYING:
            return following
        if helps := _HELPERS.get((Path(argument).parent.name, name)):
            return helps
    return ""


def _epochs(store: _StoreState) -> str:
    if isinstance(store.epochs, Mapping):
        return " and ".join(f"{epoch} of {directory}" for directory, epoch in store.epochs.items())
    return str(store.epoch)


def _say(answer: _Standing) -> None:
    emit_hidden(answer.role, answer.hidden)
    broker, store, model = answer.broker, answer.store, answer.model
    emit_facts(
        {
            "broker": broker.address if broker.present else broker.says,
            "store": store.directory if store.present else store.says,
            "epoch": f"{_epochs(store)}, published {store.age_s:,.1f} s ago" if store.present else "",
            "roles": answer.roles,
            **{f"policy {name}": named for name, named in answer.policies.items()},
            "newest model": ""
            if model is None
            else f"{model.id}, accuracy {model.accuracy:.1%}, trained {model.trained}",
        }
    )
    for name, columns in _TABLES.items():
        rows = getattr(answer, name)
        if rows:
            say()
            say(name)
            emit_table(columns, [[getattr(row, column) for column in columns] for row in rows])
