"""The commands of the simulated glasses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import reduce
from typing import Any

import click
import orjson

from device_sim import consent as consents
from device_sim import options, recordings, scenarios
from device_sim.load import Load
from device_sim.runner import Options, Simulation, Summary
from streams.moving import Show, moving
from streams.printing import say, say_json
from streams.settings.kafka import Broker

SHOWN_INTERVAL_S = 0.25


@click.group()
def commands() -> None:
    """Hold the commands for `device_sim/__main__.py`."""


@commands.command()
@options.scenario("smoke", f"One of: {', '.join(scenarios.names())}.")
@options.devices(2, "Named g1, g2, ... from --first on.")
@options.first()
@options.speed(1)
@options.seed("Draws the order of the queries, the forms of feedback and the faults of the link.")
@options.duration_s(None, "Scenario time; at --speed 10, 60 s pass in 6.  [default: the scenario once]")
@options.faults(
    "Whether the link repeats, delays and swaps batches and goes away for a while, and clocks are off."
)
@options.encoding()
@click.option(
    "--to",
    "target",
    type=click.Choice(["kafka", "file"]),
    default="kafka",
    show_default=True,
    help="file: the journal only, as fast as possible.",
)
@options.broker()
@options.journal("Directory; a run goes on where its journals end.")
@options.partitions()
@options.kinds()
@click.option(
    "--start-ns",
    type=click.IntRange(0),
    default=None,
    help="Capture time of the start, ns since the epoch.  [default: such that capture ends now]",
)
@click.option(
    "--policy",
    default=scenarios.POLICY,
    show_default=True,
    help="Under which policy the journal says the true zones; unknown where the scenario does not.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object at the end.")
def run(*, target: str, broker: Broker, as_json: bool, **asked: Any) -> None:
    """Play a scenario, session after session, until the duration ends."""
    _play(Options(**asked, broker=broker if target == "kafka" else None), as_json=as_json)


def _play(asked: Options, *, as_json: bool) -> None:
    async def run() -> Summary:
        playing = Simulation(asked)
        with moving(playing.progress) as show:
            showing = asyncio.create_task(_show(playing, show))
            try:
                return await playing.run()
            finally:
                showing.cancel()

    summary = asyncio.run(run()).as_dict()
    if as_json:
        say_json(orjson.dumps(summary).decode())
    else:
        say(", ".join(f"{name} {value}" for name, value in summary.items()))


async def _show(playing: Simulation, show: Show) -> None:
    while True:
        show(playing.progress)
        await asyncio.sleep(SHOWN_INTERVAL_S)


@commands.command()
@options.devices(24, "Named g1, g2, ... from --first on.")
@options.first()
@click.option(
    "--rate",
    type=click.FloatRange(0),
    default=2000.0,
    show_default=True,
    help="Batches a second of all devices together; 0: as fast as the broker takes them.",
)
@options.duration_s(60.0, "Wall time.")
@click.option(
    "--backlog-s",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help=(
        "Scenario time that the devices were away before the start; what they captured in it is sent first,"
        " at full speed."
    ),
)
@options.scenario("load", f"One of: {', '.join(scenarios.names())}.")
@options.seed("Draws queries, feedback and the faults of the link.")
@options.faults("Whether the link and the clocks have the scenario's faults.")
@options.encoding()
@options.broker()
@options.journal("Directory; a run goes on where its journals end.")
@options.partitions()
@options.kinds()
@click.option("--json", "as_json", is_flag=True, help="One JSON object at the end.")
def load(*, as_json: bool, **asked: Any) -> None:
    """Send a given number of batches a second, journalled as every run is."""
    _play(Load(**asked).options(), as_json=as_json)


@commands.group()
def consent() -> None:
    """Change a wearer's consent on a device of which there is a journal."""


_SHARED = (
    click.option("--wearer", required=True, help="Pseudonym of who says it, such as w1."),
    click.option("--device", default=None, help="On which device.  [default: the one that the wearer wears]"),
    options.journal("Directory with the device's journal; no other device-sim may be writing it."),
    options.broker(),
    options.partitions(),
    options.kinds(),
    click.option("--json", "as_json", is_flag=True, help="One JSON object."),
)
_EXPIRES = click.option(
    "--expires", default=None, help="Time with its zone, such as 2027-01-31T12:00:00Z.  [default: never]"
)


def _shared(command: Callable[..., None]) -> Callable[..., None]:
    return reduce(lambda made, option: option(made), reversed(_SHARED), command)


@consent.command()
@click.option("--purposes", default=" ".join(consents.PURPOSES), show_default=True, help="Words in quotes.")
@_EXPIRES
@_shared
def give(*, purposes: str, expires: str | None, **asked: Any) -> None:
    """Record a consent to the given purposes, whatever was said before."""
    _say(consents.GIVE, purposes, expires, **asked)


@consent.command()
@click.option("--purposes", required=True, help="Words in quotes, fewer than are given now.")
@_EXPIRES
@_shared
def narrow(*, purposes: str, expires: str | None, **asked: Any) -> None:
    """Record a consent to fewer purposes than now."""
    _say(consents.NARROW, purposes, expires, **asked)


@consent.command()
@_shared
def withdraw(**asked: Any) -> None:
    """Withdraw what was given; with --device also what was given on another."""
    _say(consents.WITHDRAW, "", None, **asked)


def _say(act: str, purposes: str, expires: str | None, *, as_json: bool, **asked: Any) -> None:
    change = consents.Change(
        act=act,
        purposes=tuple(dict.fromkeys(purposes.split())),
        expires_ns=None if expires is None else consents.expiry_ns(expires),
        **asked,
    )
    batch = asyncio.run(consents.say(change))
    row = {"event": batch.first_id, "wearer": batch.wearer_id}
    row |= {name: values[0] for name, values in batch.columns.items() if name != "principal"}
    say(
        orjson.dumps(row).decode()
        if as_json
        else f"{batch.first_id}: consent {row['consent']}, {row['status']} {row['purposes']}".rstrip()
    )


@commands.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a recording or scenario.")
def list_playable(*, as_json: bool) -> None:
    """List the recordings (length, rate, licence, origin) and the scenarios (length, kinds of event)."""
    for each in recordings.about().values():
        row = {
            "recording": each.name,
            "kind": each.kind,
            "rows": each.rows,
            "length_s": each.length_s,
            "rate_hz": each.rate_hz,
            "licence": each.licence,
            "origin": each.origin,
            "source": each.source,
        }
        length = (
            f"{each.rows} rows" if each.length_s is None else f"{each.length_s:g} s at {each.rate_hz:g} Hz"
        )
        if as_json:
            say_json(orjson.dumps(row).decode())
        else:
            say(f"{each.name:28} {each.kind:12} {length:22} {each.licence:12} {each.origin:38} {each.source}")
    for scenario in map(scenarios.load, scenarios.names()):
        kinds = scenario.kinds
        length_s = scenario.duration_ns / 1e9
        row = {"scenario": scenario.name, "length_s": length_s, "kinds": kinds, "about": scenario.about}
        if as_json:
            say_json(orjson.dumps(row).decode())
        else:
            say()
            say(f"scenario {scenario.name}, {length_s:g} s: {scenario.about}")
            say(f"  {', '.join(kinds)}")
