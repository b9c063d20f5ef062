"""`sightline status`: how everything stands, as far as it can be reached."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from streams import clock, limits, settings
from streams.address import ADDRESS
from streams.cli.output import (
    emit_facts,
    emit_hidden,
    emit_json,
    emit_left_out,
    emit_table,
    json_option,
    role_option,
    store_option,
)
from streams.ends import End
from streams.errors import DamagedError, UnavailableError
from streams.events.headers import rfc3339
from streams.printing import say
from streams.queries import grants
from streams.queries.overview import overview
from streams.queries.role import Role
from streams.queries.store import Store
from streams.topology import AGENTS, LINEAGE, POLICIES, group

#: What follows glasses.lineage into the store; it has no consumer group.
_WRITER = "snapshots"
#: Commands that stay, by what their processes are called.
_STAYING = ("worker", "snapshots", "broker", "demo")
_TABLES: Mapping[str, Sequence[str]] = {
    "lag": ("agent", "partition", "next_offset", "end_offset", "records", "seconds"),
    "members": ("agent", "client", "host"),
    "rejected": ("stage", "outcome", "rule", "batches", "events"),
    "processes": ("pid", "command", "since", "memory_mb"),
}


@click.command("status")
@click.option(
    "--broker",
    type=ADDRESS,
    default=settings.BROKER,
    show_default=True,
    help="HOST:PORT of the Kafka.",
)
@store_option
@role_option
@json_option
@click.pass_context
def command(context: click.Context, broker: str, store: Path, role: Role, *, as_json: bool) -> None:
    """Say how broker, agents and store stand: who lags by how much, what is in force, what was refused.

    Where the broker or the store is away it says so, tells what it can, and ends with exit code 3; 0 where
    both are there. What stands in the store is told as far as the role is shown it.
    """
    held = _held(store, role)
    answer = {
        **asyncio.run(_live(broker, held.get("offsets"))),
        **held,
        "roles": _roles(store),
        "processes": list(_processes()),
        "role": str(role),
    }
    if not answer["policies"]:
        # The topic knows better what is in force; without it the store says what was.
        answer["policies"] = {"decided last, by the store": _named(held["policy"])} if held["policy"] else {}
    if as_json:
        emit_json(answer)
    else:
        _say(answer)
    context.exit(0 if answer["broker"]["there"] and answer["store"]["there"] else End.UNAVAILABLE.code)


def _held(directory: Path, role: Role) -> dict[str, Any]:
    """What the newest epoch says; InputError where the role is not granted."""
    try:
        with Store.open(directory, role) as opened:
            found = overview(opened)
            emit_left_out(opened.left_out)
            opened.record("status")
            hidden = opened.hidden
    except (UnavailableError, DamagedError) as error:
        there: dict[str, Any] = {"there": False, "directory": str(directory), "says": str(error)}
        return {"store": there, "model": None, "policy": None, "rejected": [], "hidden": {}}
    age_s = (clock.now_ns() - found.pop("published_ns")) / 1e9
    about = {name: found.pop(name) for name in ("epoch", "published")}
    return {
        "store": {"there": True, "directory": str(directory), **about, "age_s": round(age_s, 3)},
        **found,
        "hidden": hidden,
    }


async def _live(broker: str, stored: Mapping[int, int] | None) -> dict[str, Any]:
    """What the broker says: how far agents and store are behind, who they are, which policies hold."""
    # Kafka's client is for this command alone.
    from streams.kafka.lag import members  # noqa: PLC0415

    groups = {group(agent, settings.GROUP_PREFIX): agent for agent in AGENTS}
    behind = [_behind(broker, agent, topic, None) for agent, topic in AGENTS.items()]
    if stored is not None:
        behind.insert(0, _behind(broker, _WRITER, LINEAGE, stored))
    try:
        policies, there, *lag = await asyncio.gather(
            _policies(broker), members(broker, groups, wait_s=limits.STATUS_WAIT_S), *behind
        )
    except UnavailableError as error:
        away = {"there": False, "address": broker, "says": str(error)}
        return {"broker": away, "lag": [], "members": [], "policies": {}}
    return {
        "broker": {"there": True, "address": broker},
        "lag": [row for rows in lag for row in rows],
        "members": [{"agent": groups[one.group], "client": one.client, "host": one.host} for one in there],
        "policies": policies,
    }


async def _behind(
    broker: str, reader: str, topic: str, next_offsets: Mapping[int, int] | None
) -> list[dict[str, Any]]:
    """How far a reader is behind by partition; without `next_offsets`, by what its group committed."""
    from streams.kafka.lag import lags  # noqa: PLC0415 - as above
    from streams.kafka.reader import committed_offsets  # noqa: PLC0415

    wait_s = limits.STATUS_WAIT_S
    if next_offsets is None:
        committed = await committed_offsets(
            broker, group(reader, settings.GROUP_PREFIX), [topic], wait_s=wait_s
        )
        next_offsets = {partition: offset for (_, partition), offset in committed.items()}
    now_ms = clock.now_ns() / 1e6
    rows = []
    for one in await lags(broker, topic, next_offsets, wait_s=wait_s):
        row = asdict(one)
        oldest_ms = row.pop("oldest_ms")
        seconds = 0.0 if oldest_ms is None else max(now_ms - oldest_ms, 0.0) / 1e3
        rows.append({"agent": reader, "topic": topic, **row, "seconds": round(seconds, 3)})
    return rows


async def _policies(broker: str) -> dict[str, str]:
    """Name and version of the policy in force and of the one that may come next."""
    from streams.kafka.reader import read_all  # noqa: PLC0415
    from streams.policy.source import bundle, find, shipped_names  # noqa: PLC0415
    from streams.worker.bootstrap import policies_of  # noqa: PLC0415
    from streams.worker.checking import Checker  # noqa: PLC0415 - as above

    shipped = [bundle(find(name)) for name in shipped_names()]
    with contextlib.closing(Checker(*shipped)) as checker:
        records = await read_all(broker, POLICIES, wait_s=limits.STATUS_WAIT_S)
        known = (await policies_of(records, checker)).now
    return {
        what: _named({"name": known.version(version).name, "version": version})
        for what, version in (("in force", known.current), ("next", known.next))
        if version
    }


def _named(policy: Mapping[str, str]) -> str:
    return f"{policy['name']} {policy['version']}"


def _roles(store: Path) -> str:
    return grants.described(store.resolve()) if store.is_dir() else "no store, so none"


def _processes() -> Iterator[dict[str, Any]]:
    """Processes of ours on this machine that stay, of whoever may be seen."""
    import psutil  # noqa: PLC0415 - questions do without it

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = _command_of(process.cmdline())
            if command:
                since_ns = int(process.create_time() * 1e9)
                yield {
                    "pid": process.pid,
                    "command": command,
                    "since": rfc3339(since_ns),
                    "memory_mb": process.memory_info().rss // 1_000_000,
                }


def _command_of(arguments: Sequence[str]) -> str:
    """Which command of ours a process runs; empty for none that stays."""
    for at, argument in enumerate(arguments[:4]):
        name = Path(argument).name
        following = arguments[at + 1] if at + 1 < len(arguments) else ""
        if name in ("device-sim", "device_sim") and following == "run":
            return "device-sim run"
        if name in ("sightline", "streams.cli") and following in _STAYING:
            return following
    return ""


def _say(answer: Mapping[str, Any]) -> None:
    emit_hidden(answer["role"], answer["hidden"])
    broker, store, model = answer["broker"], answer["store"], answer["model"]
    emit_facts(
        {
            "broker": broker["address"] if broker["there"] else broker["says"],
            "store": store["directory"] if store["there"] else store["says"],
            "epoch": f"{store['epoch']}, published {store['age_s']:,.1f} s ago" if store["there"] else "",
            "roles": answer["roles"],
            **{f"policy {what}": named for what, named in answer["policies"].items()},
            "newest model": ""
            if model is None
            else f"{model['id']}, accuracy {model['accuracy']:.1%}, trained {model['trained']}",
        }
    )
    for name, columns in _TABLES.items():
        if answer[name]:
            say()
            say(name)
            emit_table(columns, [[row[column] for column in columns] for row in answer[name]])
