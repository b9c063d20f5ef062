"""Everything on one machine: broker, worker, snapshots and device as processes.

They are watched, drained and stopped in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from streams import clock, files, settings
from streams.connection.settings import Broker
from streams.errors import SightlineError, UnavailableError
from streams.kafka.broker import EmbeddedBroker, free_port
from streams.kafka.reader import committed_offsets, end_offsets, read_all
from streams.kafka.topics import declare
from streams.moving import Show, nothing
from streams.queries.status import Status
from streams.queries.store import Store
from streams.readiness import Awaited
from streams.topology import AGENTS, CAPTURED, LINEAGE, group

READY_WAIT_S = 60.0
DRAIN_WAIT_S = 60.0
STOP_WAIT_S = 10.0


@dataclass
class Part:
    """One process of the demo, its log, and the most memory seen in use (resident, with its children)."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    ready: Awaited | None
    rss_bytes_max: int = 0

    @classmethod
    def spawn(
        cls, name: str, arguments: Sequence[str], log: Path, *, says_ready: bool = False, **options: Any
    ) -> Part:
        """Start `python -m ARGUMENTS`, its words into `log`; `options` are those of `subprocess.Popen`.

        One that `says_ready` is given `--ready-fd`; `ready` hears it.
        """
        ready = Awaited() if says_ready else None
        with files.written(log) as out, ready.given() if ready else contextlib.nullcontext():
            # A session of its own: Ctrl-C reaches whoever started it alone, who then stops the parts in
            # order.
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments, *(ready.arguments if ready else ())],
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=ready.descriptors if ready else (),
                **options,
            )
        return cls(name, process, log, ready)

    def watch(self) -> None:
        """Note the memory in use; an ended process is an error that quotes its own last sentence."""
        if self.process.poll() is not None:
            raise UnavailableError(
                f"the {self.name} ended with code {self.process.returncode}: "
                f"{self.last_line()} (all of it: {self.log})"
            )
        self.rss_bytes_max = max(self.rss_bytes_max, _rss_bytes(self.process.pid))

    def last_line(self) -> str:
        """What the process said last."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def stop(self) -> None:
        """Ask it to stop as Ctrl-C would; kill it when it does not within STOP_WAIT_S."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(STOP_WAIT_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it at once."""
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

    `age_s` is that of the epoch in seconds, `lag` the batches that the broker holds and the epoch does not.
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
    """One demo on one store. What it leaves beside the store, in `<store>-run`, lets the next one go on.

    The worker binds glasses g1, g2, ... to wearers w1, w2, ..., as many as `devices`. `say` hears what is
    worth a line, `show` what goes on at the moment.
    """

    store: Path
    policy: str
    say: Callable[[str], None]
    broker: Broker = ""
    devices: int = 2
    parts: list[Part] = field(default_factory=list)
    show: Show = nothing
    embedded: EmbeddedBroker | None = None
    broker_rss_bytes_max: int = 0

    def __post_init__(self) -> None:
        self.run = self.store.parent / f"{self.store.name}-run"
        self.journal = self.run / "journal"
        self.held = Status(self.store)

    def start(self) -> None:
        """Start broker, worker and snapshots and wait until the worker can take batches.

        Raises
        ------
        UnavailableError
            One of them does not start; the sentence says which and why.
        """
        files.make_directory(self.run)
        files.make_directory(self.journal)
        if not self.broker:
            self.show("starting Apache Kafka")
            self.embedded = EmbeddedBroker()
            self.embedded.start(self.run / "kafka", free_port(), self.say)
            self.broker = self.embedded.address
        self.show(f"declaring the topics on {self.broker}")
        asyncio.run(declare(self.broker))
        self.say(f"Kafka answers at {self.broker}; starting worker and snapshots")
        pairs = [f"--pair=g{number}=w{number}" for number in range(1, self.devices + 1)]
        self._spawn(
            "worker", "streams.cli", "worker", "--broker", str(self.broker), "--policy", self.policy, *pairs
        )
        self._spawn(
            "snapshots", "streams.cli", "snapshots", "--broker", str(self.broker), "--store", str(self.store)
        )
        deadline_s = clock.monotonic_s() + READY_WAIT_S
        while late := [part.name for part in self.parts if part.ready and not part.ready.is_ready()]:
            self.show(f"starting {' and '.join(late)}")
            self.watch()
            if clock.monotonic_s() > deadline_s:
                raise UnavailableError(
                    f"worker or snapshots were not ready after {READY_WAIT_S:.0f} s; look into the logs in "
                    f"{self.run}"
                )
            clock.sleep(0.1)

    def play(self, arguments: Sequence[str]) -> Part:
        """Start the device; `arguments` are those of `device-sim run` beside broker and journal."""
        return self._spawn(
            "device",
            "device_sim",
            "run",
            "--to",
            "kafka",
            "--broker",
            str(self.broker),
            "--journal",
            str(self.journal),
            "--json",
            *arguments,
        )

    def _spawn(self, name: str, module: str, *arguments: str) -> Part:
        part = Part.spawn(
            name, [module, *arguments], self.run / f"{name}.log", says_ready=module == "streams.cli"
        )
        self.parts.append(part)
        return part

    def watch(self) -> None:
        """Note every process's memory; raise when one that should run has ended."""
        for part in self.parts:
            if part.name != "device":
                part.watch()
        if self.embedded is not None:
            if self.embedded.pid is None:
                raise UnavailableError(
                    f"Apache Kafka ended by itself; look into {self.run / 'kafka' / 'kafka.log'}"
                )
            self.broker_rss_bytes_max = max(self.broker_rss_bytes_max, _rss_bytes(self.embedded.pid))

    def status(self) -> DemoStatus | None:
        """What the newest epoch shows, and how far behind the broker it is; None before the first epoch."""
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
        """Each place that must reach its end, in the order of the flow.

        So what one place adds is waited for in the next.
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
        offsets = await committed_offsets(self.broker, group(agent, settings.GROUP_PREFIX), [topic])
        committed = {partition: offset for (_, partition), offset in offsets.items()}
        # Transaction markers stand behind the last record, so offsets alone do not tell; whether a record is
        # left does.
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
        """Stop everything in the order of the flow. Safe to call again."""
        for part in self.parts:
            self.show(f"stopping {part.name}")
            part.stop()
        self.parts.clear()
        if self.embedded is not None:
            self.show("stopping Apache Kafka")
            self.embedded.stop()
            self.embedded = None

    def kill(self) -> None:
        """End everything at once; the next demo goes on from what is on disk."""
        for part in self.parts:
            part.kill()
        if self.embedded is not None:
            self.embedded.stop()

    def rss_mb(self) -> dict[str, int]:
        """Most resident memory seen by part, in MB."""
        seen = {part.name: part.rss_bytes_max // 1_000_000 for part in self.parts if part.name != "device"}
        return {**seen, "broker": self.broker_rss_bytes_max // 1_000_000}
