"""`sightline demo`: everything on this machine for a while, then the ledger and four questions."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live

from device_sim import options, scenarios
from device_sim.files import Journal, path_of
from streams import clock, settings
from streams.cli.demo_rights import Rights, Told, check, erased_devices, findings_of, say_told
from streams.cli.live import View
from streams.cli.output import emit_json
from streams.connection.address import broker_option, topic_prefix
from streams.demo import ROLE, Demo, Part
from streams.ends import TerminatedError
from streams.errors import SightlineError
from streams.events.extensions import extended
from streams.extras import installed, require
from streams.ledger import lines, run_ledger
from streams.ledger.result import Ledger
from streams.moving import moving
from streams.policy.load import load
from streams.printing import say
from streams.queries.store import Store
from streams.sealing.key_store import KeyStore
from streams.sealing.keys import Keys
from streams.settings.kafka import Broker
from streams.snapshots.files.directory import claim

STATUS_INTERVAL_S = 1.0
#: An answer that a model learned from, so that every question has a result.
_ANSWER = """
SELECT example.parent_source || '/' || example.parent_stream || '/' || example.parent_first AS id
FROM edges AS example JOIN edges AS run ON run.operator = 'training'
    AND run.parent_source = example.child_source AND run.parent_stream = example.child_stream
    AND example.child_first BETWEEN run.parent_first AND run.parent_first + run.parent_width - 1
WHERE example.operator = 'example' AND example.parent_stream LIKE 'answer%'
ORDER BY example.epoch, id LIMIT 1"""
_LATEST = """
SELECT source || '/' || stream || '/' || "first" AS id FROM events
WHERE kind = 'answer' ORDER BY t_first_ns DESC, id LIMIT 1"""


@click.command("demo")
@options.scenario("commute", "What the glasses live through; `device-sim list` names them.")
@options.speed(10)
@options.duration_s(None, "Scenario time.  [default: the scenario once]")
@options.devices(2, "How many glasses.")
@options.seed("Draws queries, forms of feedback and faults of the link.")
@options.faults("Whether the glasses' link and clocks have faults.")
@click.option(
    "--rights",
    "with_rights",
    is_flag=True,
    help="Also withdraw, erase one of the wearers while the others play, and let her glasses come back.",
)
@click.option("--policy", default=settings.POLICY, show_default=True, help="Policy name or TOML file.")
@broker_option("A Kafka that is already there.  [default: an embedded one]", default=None)
@click.option(
    "--store",
    default=settings.STORE,
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of the store; a later demo on the same one goes on.",
)
@click.option(
    "--page/--no-page",
    "with_page",
    default=True,
    show_default=True,
    help="Whether to show the store in a browser meanwhile, and on a terminal until Ctrl-C; not with --json.",
)
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object.")
@click.pass_context
def command(
    context: click.Context,
    scenario: str,
    speed: int,
    duration_s: float | None,
    devices: int,
    seed: int,
    faults: bool,
    with_rights: bool,
    policy: str,
    broker: Broker | None,
    store: Path,
    with_page: bool,
    as_json: bool,
) -> None:
    """Run broker, glasses, worker and snapshots on this machine, check every record, ask four questions.

    It prints a link to the page that shows the store in a browser. Broker data, journals and logs lie in
    STORE-run. Ctrl-C ends the glasses' session and brings what was sent into the store; a second Ctrl-C stops
    at once, and the next demo on the same store goes on from there.
    """
    require("worker", *(() if broker else ("broker",)))
    began_ns = clock.now_ns()
    named = load(policy, clock.date_today(), extended(settings.EXTEND)).name
    demo = Demo(
        store.absolute(),
        policy,
        lambda sentence: say(sentence, err=True),
        broker or "",
        devices,
        topic_prefix(),
    )
    link, told = "", None
    shared = ["--scenario", scenario, "--speed", str(speed), "--seed", str(seed), "--policy", named]
    shared.append("--faults" if faults else "--no-faults")
    context.call_on_close(demo.close_page)
    with _interruptible(demo) as interrupts:
        try:
            _check(demo, scenario, named)
            if with_rights:
                check(demo)
            with moving("starting") as demo.show:
                demo.start()
                if with_page and not as_json:
                    link = _link(demo)
            play = partial(_play, demo, interrupts=interrupts, view=None if as_json else View(scenario))
            whole_s = duration_s or scenarios.load(scenario).duration_ns / 1e9
            if with_rights:
                told = Rights(demo, play).session(shared, whole_s)
            else:
                play([*shared, "--devices", str(devices), "--duration-s", str(whole_s)])
            if not any(demo.journal.iterdir()):
                raise click.Abort
            if not as_json:
                say("the glasses are off; bringing what they sent into the store", err=True)
            with moving("bringing what was sent into the store") as demo.show:
                demo.drain()
                demo.show("comparing what was sent with every topic and the store")
                result = _compared(demo, began_ns)
            rss_mb = demo.rss_mb()
        finally:
            with moving("stopping") as demo.show:
                demo.stop()
    first_epoch_s = _first_epoch_s(demo.store, began_ns)
    if told is not None:
        result["findings"] = [*result["findings"], *findings_of(told)]
        result["clean"] = not result["findings"]
    session = _Session(**result, rss_mb=rss_mb, first_epoch_s=first_epoch_s, rights=told)
    _report(demo.store, session, as_json=as_json)
    if link and sys.stdout.isatty():
        say()
        say(f"the page stays until Ctrl-C: {link}", err=True)
        with contextlib.suppress(KeyboardInterrupt):
            demo.await_page()
    context.exit(0 if result["clean"] else 1)


def _compared(demo: Demo, began_ns: int) -> Ledger:
    """What the ledger makes of a demo, with its keys."""
    with contextlib.closing(KeyStore(demo.keys)) as store:
        return run_ledger(
            demo.journal, demo.broker, demo.store, began_ns, erased_devices(demo), keyring=Keys(store)
        )


def _link(demo: Demo) -> str:
    """Start the page if its packages are installed, and say its link, or what to install; return the link."""
    if not installed("page"):
        say("without a page, which needs: pip install 'sightline[page]'", err=True)
        return ""
    link = demo.show_page()
    say(f"look at it in a browser: {link}", err=True)
    return link


def _check(demo: Demo, scenario: str, policy: str) -> None:
    """Check, before anything is started, that the glasses and the store's writer can run.

    InputError if the scenario, a journal or the store is invalid; UnavailableError if another process writes
    to them.
    """
    scenarios.load(scenario, policy)
    for number in range(1, demo.devices + 1):
        if path_of(demo.journal, f"g{number}").exists():
            Journal(demo.journal, f"g{number}").close()
    claim(demo.store).close()


@contextlib.contextmanager
def _interruptible(demo: Demo) -> Iterator[list[int]]:
    """Handle Ctrl-C and SIGTERM: the first ends the session, the second ends everything at once."""
    interrupts: list[int] = []

    def interrupt(number: int, _frame: object) -> None:
        interrupts.append(number)
        if len(interrupts) > 1:
            demo.kill()
            raise KeyboardInterrupt if number == signal.SIGINT else TerminatedError
        say(err=True)
        say(
            "ending the session and bringing what was sent into the store; Ctrl-C again stops at once",
            err=True,
        )

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _play(demo: Demo, arguments: Sequence[str], interrupts: Sequence[int], view: View | None) -> Part | None:
    """Run the device to its end, and show the newest epoch every second; None if that was interrupted before.

    On a terminal this is a live view, otherwise a line.
    """
    if interrupts:
        return None
    device = demo.play(arguments)
    began_s = clock.monotonic_s()
    console = Console(stderr=True)
    shown = (
        Live(view, console=console, auto_refresh=False)
        if view and console.is_terminal
        else contextlib.nullcontext()
    )
    asked_to_stop = False
    with shown:
        while device.process.poll() is None:
            if interrupts and not asked_to_stop:
                device.process.send_signal(signal.SIGINT)
                asked_to_stop = True
            demo.watch()
            if view:
                view.update(clock.monotonic_s() - began_s, demo.status())
                if isinstance(shown, Live):
                    shown.refresh()
                else:
                    say(view.line(), err=True)
            clock.sleep(STATUS_INTERVAL_S)
    # If the device was just ending, the signal may have killed it; all that it sent is in its journal.
    fine = (0, -signal.SIGINT) if asked_to_stop else (0,)
    if device.process.returncode not in fine:
        raise SightlineError(
            f"the glasses ended with code {device.process.returncode}: "
            f"{device.last_line()} (all of it: {device.log})"
        )
    return device


def _first_epoch_s(store: Path, began_ns: int) -> float:
    """Seconds from the start of the command to its first epoch."""
    with Store.open(store) as opened:
        later = f"SELECT min(published_ns) FROM epochs WHERE published_ns >= {began_ns:d}"  # noqa: S608 - a number
        published_ns = opened.sql(later).rows[0][0]
    return round((published_ns - began_ns) / 1e9, 2) if published_ns else -1.0


class _Session(Ledger):
    """Measurements of a demo: memory by process in MB, and seconds from its start to its first epoch.

    `rights` is what happened to who was erased, if anybody was.
    """

    rss_mb: Mapping[str, int]
    first_epoch_s: float
    rights: Told | None


def _report(store: Path, result: _Session, *, as_json: bool) -> None:
    """Print the ledger, and the answers to four questions with real ids; or one JSON object."""
    if as_json:
        emit_json(result)
        return
    for line in lines(result):
        say(line)
    if result["rights"] is not None:
        say_told(result["rights"])
        say()
    memory = ", ".join(f"{name} {size} MB" for name, size in result["rss_mb"].items())
    say(f"memory    {memory}; first epoch after {result['first_epoch_s']} s")
    with Store.open(store) as opened:
        learned, latest = opened.sql(_ANSWER).rows, opened.sql(_LATEST).rows
    questions = [["ask", "ancestors", latest[0][0]], ["ask", "why", latest[0][0]]] if latest else []
    questions += [["ask", "loop", learned[0][0]]] if learned else []
    for question in [*questions, ["ask", "missing"]]:
        shown = [*question, "--role", ROLE, "--store", str(store)]
        say()
        say(f"$ sightline {' '.join(shown)}")
        sys.stdout.flush()
        subprocess.run([sys.executable, "-m", "streams.cli", *shown], check=False)
