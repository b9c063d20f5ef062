"""The whole pipeline as processes under a supervisor, and the faults that strike it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streams import clock
from streams.errors import UnavailableError
from streams.kafka.broker import EmbeddedBroker, free_port
from streams.kafka.topics import declare
from tests.patience import PATIENCE_S
from tests.recovery.processes import Child
from tests.recovery.schedule import BACKLOG_S, JOINER, RECOVERY_S, SNAPSHOTS, WORKERS, Fault

_LOOK_S = 0.2
#: What a writer says whose disk is full, and how much longer than it should a disk is full until it does.
_DISK_FULL, _DISK_FULL_MORE_S = "cannot be written", 10.0
#: Ours and the process's own in front of a line of its log.
_TIMES = re.compile(r"^\d+\.\d{3} (?:\S+Z )?")
#: The device that comes back, beside those of the load.
RETURNED = "returned"


@dataclass
class Struck:
    """What a fault did: when it began and when what it struck was back (seconds on the monotonic clock)."""

    fault: Fault
    began_s: float
    back_s: float = 0.0


@dataclass
class Pipeline:
    """Broker, workers, snapshots and devices in one directory.

    Whoever is `kept` and has ended without being struck is started again, as a supervisor would.
    """

    directory: Path
    seed: int
    devices: int
    say: Callable[[str], None]
    struck: list[Struck] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)
    """Ends of processes that nobody struck, by name, exit code and last words."""
    findings: list[str] = field(default_factory=list)
    encoding: str = "mixed"
    """What devices send: half of them MessagePack, half JSON."""

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.broker, self.address = EmbeddedBroker(), ""
        self.store, self.journal = self.directory / "store", self.directory / "journal"
        self.keys = self.directory / "keys"
        self.children: dict[str, Child] = {}
        self.kept: set[str] = set()
        self._busy: set[str] = set()
        self._free_s: dict[str, float] = {}
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the broker, two workers and snapshots; return when they are ready."""
        await _in_thread(self.broker.start, self.directory / "kafka", free_port(), self.say)
        self.address = self.broker.address
        await declare(self.address)
        self.add_children()
        self.keep(*WORKERS, SNAPSHOTS)
        self._keeper = asyncio.create_task(self._keep())
        await self.ready(*WORKERS, SNAPSHOTS)

    async def ready(self, *names: str) -> None:
        """Wait until these are ready; raise a TimeoutError that names those that are not."""
        waited, until_s = [*names], clock.monotonic_s() + PATIENCE_S
        while waited := [name for name in waited if not self.children[name].ready]:
            if clock.monotonic_s() > until_s:
                last = {name: self.children[name].last_line() for name in waited}
                raise TimeoutError(
                    f"not ready in {PATIENCE_S:.0f} s: {last}; ended before: {dict(self.ended)}"
                )
            await asyncio.sleep(_LOOK_S)

    def add_children(self) -> None:
        """Make workers and snapshots, which are started later."""
        # The one that comes back is one more.
        pairs = [f"--pair=g{number}=w{number}" for number in range(1, self.devices + 2)]
        for name in (*WORKERS, JOINER):
            worker = self._add(name, "streams.cli", "worker", "--broker", self.address, *pairs)
            # Not as an option: workers of a version before sealing have none.
            worker.environment["SIGHTLINE_KEYS"] = str(self.keys)
        where = ("--broker", self.address, "--store", str(self.store), "--keys", str(self.keys))
        self._add(SNAPSHOTS, "streams.cli", "snapshots", *where)

    def keep(self, *names: str) -> None:
        """Start these and start them again whenever they end."""
        self.kept.update(names)
        for name in names:
            self.children[name].start()

    def load(self, rate: float, duration_s: float) -> Child:
        """Start the devices for `duration_s` seconds, with `rate` batches/s of all together.

        A rate of 0 is as many as the broker takes.
        """
        return self._play(
            "devices",
            rate=rate,
            duration_s=duration_s,
            first=1,
            devices=self.devices,
            scenario="load",
            backlog_s=0.0,
        )

    def come_back(self) -> Child:
        """Start one more device that brings a backlog of two hours."""
        return self._play(
            RETURNED,
            rate=7.0,
            duration_s=10.0,
            first=self.devices + 1,
            devices=1,
            scenario="hike",
            backlog_s=BACKLOG_S,
        )

    def _play(self, name: str, *, scenario: str, journal: Path | None = None, **options: float) -> Child:
        said = [
            word
            for option, value in options.items()
            for word in (f"--{option.replace('_', '-')}", str(value))
        ]
        child = self._add(
            name,
            "device_sim",
            "load",
            "--broker",
            self.address,
            "--journal",
            str(journal or self.journal),
            "--seed",
            str(self.seed),
            "--scenario",
            scenario,
            "--encoding",
            self.encoding,
            "--json",
            *said,
        )
        child.start()
        return child

    async def played(self, child: Child) -> None:
        """Wait until devices have ended with everything acknowledged.

        They are started again while the broker was away at their start, and once more for a moment to send
        again what it did not acknowledge before they ended.
        """
        while True:
            while child.pid is not None:
                await asyncio.sleep(_LOOK_S)
            if not child.code and '"unacknowledged":0}' in child.last_line():
                break
            if not child.code:
                child.add("--duration-s", "0.5", "--backlog-s", "0")
            elif child.code != UnavailableError.exit_code:
                break
            await asyncio.sleep(1.0)
            child.start()
        if child.code:
            self.findings.append(f"{child.name} ended with code {child.code}: {child.last_line()}")

    async def strike(self, faults: Sequence[Fault], began_s: float) -> None:
        """Let the faults happen, each at its time; return when all are over.

        Raises UnavailableError when a broker does not come back.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for fault in faults:
                    await asyncio.sleep(max(0.0, began_s + fault.at_s - clock.monotonic_s()))
                    tasks.create_task(self._strike(fault))
        except* UnavailableError as errors:
            raise errors.exceptions[0] from None

    async def _strike(self, fault: Fault) -> None:
        # On a slow machine a broker may take longer to come back than the schedule thought: the next fault of
        # its own waits.
        async with self._turns[fault.target]:
            await asyncio.sleep(max(0.0, self._free_s.get(fault.target, 0.0) - clock.monotonic_s()))
            done = Struck(fault, clock.monotonic_s())
            self.struck.append(done)
            self._busy.add(fault.target)
            try:
                await _ACTS[fault.kind](self, fault)
            finally:
                self._busy.discard(fault.target)
                done.back_s = clock.monotonic_s()
                self._free_s[fault.target] = done.back_s + RECOVERY_S

    async def kill(self, fault: Fault) -> None:
        """End the target at once and start it again a while later."""
        child = self.children[fault.target]
        child.kill()
        await asyncio.sleep(fault.for_s)
        child.start()

    async def freeze(self, fault: Fault) -> None:
        """Let the target stand still."""
        child = self.children[fault.target]
        child.send(signal.SIGSTOP)
        await asyncio.sleep(fault.for_s)
        child.send(signal.SIGCONT)

    async def stop_and_start(self, fault: Fault) -> None:
        """Ask the target to stop and start it again a while later."""
        child = self.children[fault.target]
        await self._stopped(child)
        await asyncio.sleep(fault.for_s)
        child.start()

    async def join(self, fault: Fault) -> None:
        """Let one more worker join, and leave in order."""
        child = self.children[fault.target]
        child.start()
        await asyncio.sleep(fault.for_s)
        await self._stopped(child)

    async def kill_broker(self, fault: Fault) -> None:
        """End the broker at once; the same directory and port come back."""
        port = int(self.address.rpartition(":")[2])
        await _in_thread(self.broker.kill)
        await asyncio.sleep(fault.for_s)
        await _in_thread(self.broker.start, self.directory / "kafka", port)

    async def freeze_broker(self, fault: Fault) -> None:
        """Let the broker stand still."""
        pid = self.broker.pid
        if pid is not None:
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(fault.for_s)
            os.kill(pid, signal.SIGCONT)

    async def fill_disk(self, fault: Fault) -> None:
        """Let the target's writes fail, until one has where the machine is slow."""
        child = self.children[fault.target]
        before = child.times_said(_DISK_FULL)
        child.fill_disk(full=True)
        await asyncio.sleep(fault.for_s)
        over_s = clock.monotonic_s() + _DISK_FULL_MORE_S
        while child.times_said(_DISK_FULL) == before and clock.monotonic_s() < over_s:
            await asyncio.sleep(_LOOK_S)
        child.fill_disk(full=False)

    async def bring_backlog(self, _fault: Fault) -> None:
        """Let a device come back after two hours, with batches as fast as the broker takes them.

        It is over when all of them are sent.
        """
        child = self.come_back()
        while child.pid is not None:
            await asyncio.sleep(_LOOK_S)

    async def _stopped(self, child: Child) -> None:
        if child.pid is not None and not await asyncio.to_thread(child.stop):
            self.findings.append(f"{child.name} did not stop within 10 s of SIGTERM")

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            for name in sorted(self.kept - self._busy):
                child = self.children[name]
                if child.pid is None:
                    # Who is struck later must find it running; a second's pause keeps a hopeless start from
                    # spinning.
                    self.ended[
                        f"{name} ended with code {child.code}: {_TIMES.sub('', child.last_line())}"
                    ] += 1
                    await asyncio.sleep(1.0)
                    if name in self.kept and name not in self._busy:
                        child.start()

    def _add(self, name: str, *arguments: str) -> Child:
        self.children[name] = Child(
            name,
            arguments,
            self.directory / f"{name}.log",
            says_ready=arguments[0] == "streams.cli",
        )
        return self.children[name]

    async def stop(self) -> None:
        """Stop everything but the broker, in the order of the flow."""
        if self._keeper is not None:
            self._keeper.cancel()
        self.kept.clear()
        for child in self.children.values():
            await self._stopped(child)

    def sweep(self) -> int:
        """End all that is left, the broker too; return how many processes had left something behind."""
        if self._keeper is not None:
            self._keeper.cancel()
        left = sum(child.sweep() for child in self.children.values())
        if self.broker.pid is not None:
            os.kill(self.broker.pid, signal.SIGCONT)
        self.broker.kill()
        return left


async def _in_thread(work: Callable[..., object], *arguments: object) -> None:
    """Do blocking work, to its end also when nobody waits any more.

    A broker that starts later than the sweep would stay.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise


_ACTS = {
    "worker SIGKILL": Pipeline.kill,
    "worker SIGSTOP": Pipeline.freeze,
    "worker SIGTERM": Pipeline.stop_and_start,
    "worker joins": Pipeline.join,
    "snapshots SIGKILL": Pipeline.kill,
    "snapshots SIGSTOP": Pipeline.freeze,
    "broker SIGKILL": Pipeline.kill_broker,
    "broker SIGSTOP": Pipeline.freeze_broker,
    "disk full": Pipeline.fill_disk,
    "backlog": Pipeline.bring_backlog,
}
