"""The demo: broker, worker, snapshots and device as processes on one machine.

They are watched, drained and stopped in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import psutil

from streams import clock, files, settings
from streams.errors import SightlineError, UnavailableError
from streams.kafka.broker import EmbeddedBroker, free_port
from streams.kafka.reader import committed_offsets, end_offsets, read_all
from streams.kafka.topics import declare
from streams.moving import Show, nothing
from streams.queries.status import Status
from streams.queries.store import Store
from streams.readiness import Awaited
from streams.settings.kafka import Broker, KafkaSettings
from streams.topology import AGENTS, CAPTURED, LINEAGE, group

READY_WAIT_S = 60.0
DRAIN_WAIT_S = 60.0
STOP_WAIT_S = 10.0
#: Whoever runs a demo answers for all of its data.
ROLE = "privacy-officer"


@dataclass
class Part:
    """One process of the demo, its log, and its highest memory use so far (resident, children included).

    One that does not stay ends by itself.
    """

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    ready: Awaited | None
    rss_bytes_max: int = 0
    stays: bool = True

    @classmethod
    def spawn(
        cls, name: str, arguments: Sequence[str], log: Path, *, says_ready: bool = False, **options: Any
    ) -> Part:
        """Start `python -m ARGUMENTS` with its output in `log`; `options` are those of `subprocess.Popen`.

        With `says_ready` the process gets `--ready-fd`, and `ready` is the other end. If `options` have
        another `stdout`, only its standard error is in `log`.
        """
        ready = Awaited() if says_ready else None
        with files.written(log) as out, ready.given() if ready else contextlib.nullcontext():
            # It gets its own session, so that Ctrl-C reaches only this process, which then stops the parts in
            # order.
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments, *(ready.arguments if ready else ())],
                stderr=out,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=ready.descriptors if ready else (),
                **{"stdout": out, **options},
            )
        return cls(name, process, log, ready)

    def watch(self) -> None:
        """Note the memory in use; raise if the process has ended, quoting the last line of its log."""
        if self.process.poll() is not None:
            raise UnavailableError(
                f"the {self.name} ended with code {self.process.returncode}: "
                f"{self.last_line()} (all of it: {self.log})"
            )
        self.rss_bytes_max = max(self.rss_bytes_max, _rss_bytes(self.process.pid))

    def last_line(self) -> str:
        """The last line of the process's output."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def stop(self) -> None:
        """Ask it to stop as Ctrl-C does; kill it if it still runs after STOP_WAIT_S."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(STOP_WAIT_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """Kill it at once."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


def _rss_bytes(pid: int) -> int:
    try:
        process = psutil.Process(pid)
        return int(
            process.memory_info().rss
            + sum(child.memory_info().rss for child in process.children(recursive=True))
        )
    except psutil.NoSuchProcess:
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoStatus:
    """Counts of the newest epoch, in events; `zones` and `verdicts` are counts by name.

    `age_s` is the age of the epoch in seconds; `lag` is the number of batches that are on the broker but not
    in the epoch.
    """

    events: int
    derived: int
    answers: int
    examples: int
    rejected: int
    zones: Mapping[str, int]
    verdicts: Mapping[str, int]
    model: int
    accuracy: float
    epoch: int
    age_s: float
    lag: int


@dataclass
class Demo:
    """One demo on one store. Files in `<store>-run`, beside the store, let the next demo continue.

    The worker pairs glasses g1, g2, ... with wearers w1, w2, ..., as many as `devices`. Without a `broker`
    the demo starts one, where `topic_prefix` is the prefix of topics. `say` gets messages worth a line,
    `show` the current activity.
    """

    store: Path
    policy: str
    say: Callable[[str], None]
    broker: Broker = ""
    devices: int = 2
    topic_prefix: str = ""
    parts: list[Part] = field(default_factory=list)
    show: Show = nothing
    embedded: EmbeddedBroker | None = None
    broker_rss_bytes_max: int = 0
    page: Part | None = None

    def __post_init__(self) -> None:
        self.run = self.store.parent / f"{self.store.name}-run"
        self.journal, self.keys = self.run / "journal", self.run / "keys"
        self.held = Status(self.store)

    def start(self) -> None:
        """Start broker, worker and snapshots, and wait until the worker accepts batches.

        Raises
        ------
        UnavailableError
            One of them does not start; the message says which and why.
        """
        files.make_directory(self.run)
        files.make_directory(self.journal)
        if not self.broker:
            self.show("starting Apache Kafka")
            self.embedded = EmbeddedBroker()
            self.embedded.start(self.run / "kafka", free_port(), self.say)
            self.broker = replace(self.embedded.kafka, topic_prefix=self.topic_prefix)
        self.show(f"declaring the topics on {self.broker}")
        asyncio.run(declare(self.broker))
        self.say(f"Kafka answers at {self.broker}; starting worker and snapshots")
        pairs = [f"--pair=g{number}=w{number}" for number in range(1, self.devices + 1)]
        own = ("--keys", str(self.keys), "--policy", self.policy, *pairs)
        self._spawn("worker", "streams.cli", "worker", *self._where(), *own)
        where = ("--store", str(self.store), "--keys", str(self.keys))
        self._spawn("snapshots", "streams.cli", "snapshots", *self._where(), *where)
        self._await_ready(f"look into the logs in {self.run}")

    def _await_ready(self, advice: str) -> None:
        deadline_s = clock.monotonic_s() + READY_WAIT_S
        while late := [part.name for part in self._running() if part.ready and not part.ready.is_ready()]:
            names = " and ".join(late)
            self.show(f"starting {names}")
            self.watch()
            if clock.monotonic_s() > deadline_s:
                raise UnavailableError(f"{names}: not ready after {READY_WAIT_S:.0f} s; {advice}")
            clock.sleep(0.1)

    def show_page(self) -> str:
        """Start the page of the store for a privacy officer; return its link, which has a token.

        It reads published epochs only, so it outlives `stop`; `close_page` ends it.

        Raises
        ------
        UnavailableError
            It does not start; the message says why.
        """
        arguments = ["--store", str(self.store), "--role", ROLE, "--port", "0", *self._where()]
        # The link goes through a pipe and into no file, because its token opens the page.
        self.page = page = Part.spawn(
            "page",
            ["streams.cli", "page", *arguments],
            self.run / "page.log",
            says_ready=True,
            stdout=subprocess.PIPE,
        )
        self._await_ready(f"look into {page.log}, or leave it out with --no-page")
        lines = cast("IO[bytes]", page.process.stdout)
        return lines.readline().decode().partition(": ")[2].strip()

    def await_page(self) -> None:
        """Wait until the page ends, which it does at a signal only."""
        if self.page is not None:
            self.page.process.wait()

    def close_page(self) -> None:
        """Stop the page. It can be called without one, and more than once."""
        if self.page is not None:
            self.page.stop()
            if self.page.process.stdout is not None:
                self.page.process.stdout.close()
            self.page = None

    def play(self, arguments: Sequence[str]) -> Part:
        """Start the device; `arguments` are options of `device-sim run` in addition to broker and journal."""
        journal = ("--journal", str(self.journal), "--json")
        part = self._spawn(
            "device", "device_sim", "run", "--to", "kafka", *self._where(), *journal, *arguments
        )
        part.stays = False
        return part

    def erase(self, wearer: str, receipt: Path) -> Part:
        """Start `sightline rights erase`; its answer has the wearer's salt, so it goes through a pipe."""
        words = ["rights", "erase", "--wearer", wearer, "--receipt", str(receipt), "--json"]
        where = ["--store", str(self.store), "--keys", str(self.keys), *self._where()]
        part = Part.spawn(
            "eraser", ["streams.cli", *words, *where], self.run / "eraser.log", stdout=subprocess.PIPE
        )
        part.stays = False
        self.parts.append(part)
        return part

    def _spawn(self, name: str, module: str, *arguments: str) -> Part:
        part = Part.spawn(
            name, [module, *arguments], self.run / f"{name}.log", says_ready=module == "streams.cli"
        )
        self.parts.append(part)
        return part

    def _where(self) -> tuple[str, ...]:
        """Options that name the Kafka for a part; it reads all other settings where this process does."""
        return "--broker", str(self.broker), "--topic-prefix", KafkaSettings.of(self.broker).topic_prefix

    def watch(self) -> None:
        """Note the memory of every process; raise if one has ended that should run."""
        for part in self._running():
            if part.stays:
                part.watch()
        if self.embedded is not None:
            if self.embedded.pid is None:
                raise UnavailableError(
                    f"Apache Kafka ended by itself; look into {self.run / 'kafka' / 'kafka.log'}"
                )
            self.broker_rss_bytes_max = max(self.broker_rss_bytes_max, _rss_bytes(self.embedded.pid))

    def _running(self) -> list[Part]:
        return self.parts if self.page is None else [*self.parts, self.page]

    def status(self) -> DemoStatus | None:
        """Contents of the newest epoch and its lag behind the broker; None before the first epoch."""
        with contextlib.suppress(UnavailableError):
            self.held.read()
        held = self.held
        if not held.epoch:
            return None
        ends = asyncio.run(end_offsets(self.broker, [CAPTURED]))
        return DemoStatus(
            events=held.totals["events"],
            derived=held.totals["derived"],
            answers=held.totals["answers"],
            examples=held.totals["examples"],
            rejected=held.totals["rejected"],
            zones=dict(sorted(held.zones.items())),
            verdicts=dict(sorted(held.verdicts.items())),
            model=held.model,
            accuracy=held.accuracy,
            epoch=held.epoch,
            age_s=(clock.now_ns() - held.published_ns) / 1e9,
            lag=sum(end - held.seen.get(partition, 0) for (_, partition), end in ends.items()),
        )

    def drain(self) -> None:
        """Wait until agents and store hold everything that was sent.

        Raises
        ------
        SightlineError
            It did not happen within DRAIN_WAIT_S.
        """
        deadline_s = clock.monotonic_s() + DRAIN_WAIT_S
        for waiting_for, reached in self._stations():
            self.show(f"bringing what was sent into the store: waiting for {waiting_for}")
            while not reached():
                self.watch()
                if clock.monotonic_s() > deadline_s:
                    raise SightlineError(
                        f"{waiting_for} did not reach the end within {DRAIN_WAIT_S:.0f} s; "
                        f"look into the logs in {self.run}"
                    )
                clock.sleep(0.2)

    def _stations(self) -> Iterator[tuple[str, Callable[[], bool]]]:
        """Each place that must be drained, with its check, in the order of the flow.

        The order matters, because each place adds work for the next one.
        """
        for agent, topic in AGENTS.items():
            yield f"the agent {agent}", partial(self._agent_done, agent, topic)
        ends = {
            partition: end for (_, partition), end in asyncio.run(end_offsets(self.broker, [LINEAGE])).items()
        }
        yield "the store", lambda: self._store_at(ends)

    def _agent_done(self, agent: str, topic: str) -> bool:
        return asyncio.run(self._agent_at_end(agent, topic))

    async def _agent_at_end(self, agent: str, topic: str) -> bool:
        prefix = KafkaSettings.of(self.broker).group_prefix(settings.GROUP_PREFIX)
        offsets = await committed_offsets(self.broker, group(agent, prefix), [topic])
        committed = {partition: offset for (_, partition), offset in offsets.items()}
        # Transaction markers follow the last record, so offsets alone do not tell whether a record is unread.
        return not await read_all(self.broker, topic, from_offsets=committed)

    def _store_at(self, ends: dict[int, int]) -> bool:
        try:
            with Store.open(self.store) as store:
                stored = store.sql("SELECT offsets FROM epochs ORDER BY epoch DESC LIMIT 1").rows[0][0]
        except (UnavailableError, IndexError):
            return False
        offsets: dict[int, int] = dict(stored)
        return all(offsets.get(partition, 0) >= end for partition, end in ends.items())

    def stop(self) -> None:
        """Stop everything but the page, in the order of the flow. It can be called more than once."""
        for part in self.parts:
            self.show(f"stopping {part.name}")
            part.stop()
        self.parts.clear()
        if self.embedded is not None:
            self.show("stopping Apache Kafka")
            self.embedded.stop()
            self.embedded = None

    def kill(self) -> None:
        """Kill everything at once; the next demo continues from the files on disk."""
        for part in self._running():
            part.kill()
        if self.embedded is not None:
            self.embedded.stop()

    def rss_mb(self) -> dict[str, int]:
        """Highest resident memory of each part so far, in MB."""
        seen = {part.name: part.rss_bytes_max // 1_000_000 for part in self._running() if part.stays}
        return {**seen, "broker": self.broker_rss_bytes_max // 1_000_000}
