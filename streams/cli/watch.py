"""`sightline watch`: alerts as they begin and end, from a store, a broker and a disk."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streams.cli.output import cell, emit_hidden, emit_json, role_option, store_option
from streams.cli.staying import stays
from streams.connection.address import broker_option
from streams.errors import InputError
from streams.printing import say
from streams.queries.newest import newest_catalog
from streams.queries.role import SHOWN_TO, Role
from streams.readiness import Ready
from streams.settings.kafka import Broker
from streams.watching.alert import Change
from streams.watching.sending import Sender, Target
from streams.watching.thresholds import Thresholds, read_thresholds
from streams.watching.watcher import Turn, Watcher

if TYPE_CHECKING:
    from streams.cli.watch_broker import BrokerWatch


@click.command("watch")
@store_option
@broker_option("A Kafka that is asked for lag and refusals too.  [default: none]", default=None)
@role_option
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(0.1, 3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two looks.",
)
@click.option(
    "--rules",
    "rules",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="A TOML file with other thresholds (docs/operations.md).",
)
@click.option("--post", "url", metavar="URL", default=None, help="Also send each alert there, as JSON.")
@click.option("--allow-remote", is_flag=True, help="Let --post name another machine.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object for each alert that begins or ends."
)
@click.option("--once", is_flag=True, help="Look once, and end with exit code 1 if an alert stands.")
@stays
@click.pass_context
def command(
    context: click.Context,
    store: Path,
    broker: Broker | None,
    role: Role,
    interval_s: float,
    rules: Path | None,
    url: str | None,
    *,
    allow_remote: bool,
    as_json: bool,
    once: bool,
    ready_fd: int | None,
    ready_file: Path | None,
) -> None:
    """Print each alert once, as it begins and as it ends: leaks, refusals, lag, stopped devices and others.

    It follows the epochs of a store, as far as the role is shown them, until Ctrl-C. A privacy officer sees
    all alerts.
    """
    if allow_remote and url is None:
        raise InputError("--allow-remote: found no --post, expected one whose target may be another machine")
    target = None if url is None else Target.of(url, remote=allow_remote)
    thresholds = Thresholds() if rules is None else read_thresholds(rules)
    # A single look sees no lag grow.
    watching = _Watching(store, role, thresholds, None if once else broker, interval_s, target, as_json)
    with Ready(ready_fd, ready_file) as ready:
        standing = asyncio.run(watching.once() if once else watching.run(ready))
    context.exit(1 if once and standing else 0)


class _Watching:
    """The loop around a `Watcher`, and what it asks of Kafka and sends away."""

    def __init__(
        self,
        store: Path,
        role: Role,
        thresholds: Thresholds,
        broker: Broker | None,
        interval_s: float,
        target: Target | None,
        as_json: bool,
    ) -> None:
        self._store, self._role, self._thresholds = store, role, thresholds
        self._broker, self._interval_s, self._as_json = broker, interval_s, as_json
        self._sender = None if target is None else Sender(target)
        self._watcher = Watcher(store, role, thresholds)
        #: Records of glasses.rejected have no class by which a role could be shown some of them.
        self._sees_all = role.name in SHOWN_TO["inputs"]
        self._left_out = 0

    async def once(self) -> bool:
        """Look once; True if an alert stands."""
        self._say_lacks("a single look cannot tell")
        newest_catalog(self._store.resolve())
        turn = await asyncio.to_thread(self._watcher.look)
        async with self._beside():
            self._tell(turn)
        emit_hidden(str(self._role), self._watcher.hidden)
        return bool(turn.standing)

    async def run(self, ready: Ready) -> bool:
        """Look again and again until a signal comes."""
        stop = asyncio.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
        self._say_lacks("" if self._broker else "no --broker was named")
        is_ready = False
        async with self._beside() as kafka:
            while not stop.is_set():
                positions, arrived = (None, None) if kafka is None else kafka.taken()
                turn = await asyncio.to_thread(self._watcher.look, positions, arrived)
                if kafka is not None:
                    kafka.offsets = self._watcher.offsets
                self._tell(turn)
                if not is_ready:
                    is_ready = True
                    emit_hidden(str(self._role), self._watcher.hidden)
                    ready.say()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), self._interval_s)
        return False

    def _say_lacks(self, lacking_broker: str) -> None:
        for sentence in self._watcher.not_judged(lacking_broker):
            say(f"not judged: {sentence}", err=True)
        if self._broker is not None and not self._sees_all:
            say(
                f"not followed: glasses.rejected (its records do not say what {self._role} may be shown)",
                err=True,
            )

    @contextlib.asynccontextmanager
    async def _beside(self) -> AsyncIterator[BrokerWatch | None]:
        """Send alerts, and follow the broker, during the block."""
        async with contextlib.AsyncExitStack() as beside:
            if self._sender is not None:
                await beside.enter_async_context(self._sender.running())
            if self._broker is None:
                yield None
                return
            # Without a named broker, no client of Kafka is loaded.
            from streams.cli.watch_broker import BrokerWatch  # noqa: PLC0415

            yield await beside.enter_async_context(BrokerWatch(self._broker, refusals=self._sees_all))

    def _tell(self, turn: Turn) -> None:
        """Print and send what begins and ends."""
        for change in turn.changes:
            if self._sender is not None:
                self._sender.put(change)
            if self._as_json:
                emit_json(change.to_dict())
            else:
                _say(change)
        if turn.left_out != self._left_out:
            self._left_out = turn.left_out
            say(f"left out: {turn.left_out:,} more alerts stand than are told", err=True)


def _say(change: Change) -> None:
    alert = change.alert
    say(f"{cell(change.t)}  {change.state.ljust(6)}  {alert.rule}: {alert.says}")
    if change.state == "ends":
        say(f"    since     {cell(alert.since)}")
        return
    if alert.evidence:
        say(f"    evidence  {', '.join(alert.evidence)}")
    say(f"    since     {cell(alert.since)}, epoch {alert.epoch:,}")
    say(f"    do        {alert.advice}")
    say(f"    ask       {alert.ask}")
