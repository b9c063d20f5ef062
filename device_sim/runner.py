"""Devices against the clock: periods in time, answers heard, journal before send, a clean end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from device_sim import scenarios
from device_sim.device import Captured, Device
from device_sim.files import Journal, read_answer
from device_sim.kafka import KafkaLink
from device_sim.playback import Motion, Queries, Track
from device_sim.scenarios import PERIOD_NS, Scenario
from streams import clock
from streams.events import codec
from streams.events.journal import Sent

ANSWER_WAIT_S = 6.0            #: wall time after the end in which outstanding answers may still arrive
FLUSH_WAIT_S = 10.0
INTERRUPTED_FLUSH_WAIT_S = 1.0


@dataclass(frozen=True, slots=True)
class Options:
    """What `device-sim run` was asked for. `duration_s` is scenario time; `broker` None plays into journals only."""

    scenario: str
    devices: int
    speed: int
    seed: int
    duration_s: float
    journal: Path
    partitions: int
    broker: str | None
    start_ns: int | None = None


@dataclass(slots=True)
class Summary:
    """What was done in this run; `unacknowledged` batches are in the journal and are resent by the next."""

    events_sent: int = 0
    batches_sent: int = 0
    queries: int = 0
    feedback: int = 0
    sessions: int = 0
    unacknowledged: int = 0

    def as_dict(self) -> dict[str, int]:
        """Field to value."""
        return asdict(self)


class Run:
    """One run of `device-sim`.

    Guarantees: a batch is in the journal before it is sent; batches of a device go out in the order of the journal, those
    that an earlier run left unacknowledged first; the last event of a device is its session's end, also when interrupted.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.summary = Summary()
        self._stop = asyncio.Event()
        self._link: KafkaLink | None = None
        self._started_s = 0.0
        scenario = scenarios.load(options.scenario)
        names = [f"g{i}" for i in range(1, options.devices + 1)]
        start_ns = clock.now_ns() if options.start_ns is None else options.start_ns
        self._journals: dict[str, Journal] = {}
        self.devices: dict[str, Device] = {}
        try:
            self._open(scenario, names, start_ns)
        except BaseException:
            self._close_journals()
            raise

    def _open(self, scenario: Scenario, names: list[str], start_ns: int) -> None:
        options = self.options
        for i, name in enumerate(names):
            queries = Queries(scenario.query_recording, options.seed, i, options.devices)
            motion = Motion(scenario.imu_recordings[i % len(scenario.imu_recordings)], scenario.imu_story, scenario.duration_ns)
            journal = self._journals[name] = Journal(options.journal, name)
            self.devices[name] = Device(
                name, f"w{i + 1}", scenario, motion, Track(scenario.location_recording), queries,
                past=journal.found.past, start_ns=start_ns, seed=options.seed, hears_answers=options.broker is not None)

    async def run(self) -> Summary:
        """Play to the end or to a signal; errors of the broker at the start are raised, later ones are waited out."""
        try:
            with _signals(self._stop):
                if self.options.broker is not None:
                    self._link = KafkaLink(self.options.broker, self.options.partitions, self.devices, self._acknowledged, self._answered)
                    if await self._stopped_in(self._link.start()):
                        self.summary.unacknowledged = sum(len(journal.found.unacknowledged) for journal in self._journals.values())
                        return self.summary
                    self._resend(self._link)
                await self._play()
                await self._finish()
        finally:
            if self._link is not None:
                await self._link.close()
            self._close_journals()
        return self.summary

    def _close_journals(self) -> None:
        for journal in self._journals.values():
            journal.close()

    def _resend(self, link: KafkaLink) -> None:
        for name, journal in self._journals.items():
            for sent in journal.found.unacknowledged:
                link.send(sent)
                batch = codec.decode(sent.value, 0)
                if batch.kind == "voice_query":
                    for number, utterance in zip(batch.run, batch.columns["text"], strict=True):
                        self.devices[name].asked(number, utterance)

    async def _play(self) -> None:
        before = {name: device.sessions for name, device in self.devices.items()}
        self._started_s = clock.monotonic_s()
        for number in range(1, self._periods(self.options.duration_s) + 1):
            if await self._stopped_before(number):
                break
            for device in self.devices.values():
                self._emit(device, device.period())
        self.summary.sessions = sum(device.sessions - before[name] for name, device in self.devices.items())

    async def _finish(self) -> None:
        number = max(device.elapsed_ns for device in self.devices.values()) // PERIOD_NS
        deadline_s = clock.monotonic_s() + ANSWER_WAIT_S
        while any(device.waits for device in self.devices.values()) and clock.monotonic_s() < deadline_s:
            number += 1
            if await self._stopped_before(number):
                break
            for device in self.devices.values():
                self._emit(device, device.feedback_period())
        for device in self.devices.values():
            self._emit(device, device.end())
        if self._link is not None:
            self.summary.unacknowledged = await self._link.flush(INTERRUPTED_FLUSH_WAIT_S if self._stop.is_set() else FLUSH_WAIT_S)

    @staticmethod
    def _periods(duration_s: float) -> int:
        return max(1, -(-round(duration_s * 1_000_000_000) // PERIOD_NS))

    async def _stopped_before(self, number: int) -> bool:
        """Wait until period `number` (from 1) is over and there is room for it; True when the run shall stop instead."""
        if self._link is None:
            await asyncio.sleep(0)  # lets a signal through
            return self._stop.is_set()
        over_s = self._started_s + number * PERIOD_NS / 1e9 / self.options.speed
        return await self._stopped_in(asyncio.sleep(max(0.0, over_s - clock.monotonic_s()))) or await self._stopped_in(self._link.room())

    async def _stopped_in(self, wait: Coroutine[Any, Any, None]) -> bool:
        """Wait, but no longer than until the run shall stop; True when it shall. Errors of `wait` are raised."""
        waited, stopped = asyncio.ensure_future(wait), asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((waited, stopped), return_when=asyncio.FIRST_COMPLETED)
        for task in (waited, stopped):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await waited
        return self._stop.is_set()

    def _emit(self, device: Device, captured: list[Captured]) -> None:
        for each in captured:
            sent = self._journals[device.name].write(each, device.now_ns if self._link is None else clock.now_ns())
            self.summary.batches_sent += 1
            self.summary.events_sent += sent.count
            self.summary.queries += sent.count * (each.batch.kind == "voice_query")
            self.summary.feedback += sent.count * (each.batch.kind == "feedback")
            if self._link is not None:
                self._link.send(sent)

    def _acknowledged(self, sent: Sent, partition: int, offset: int) -> None:
        self._journals[sent.key.decode()].acknowledged(sent.id, partition, offset, clock.now_ns())

    def _answered(self, value: bytes | None) -> None:
        elapsed_ns = round((clock.monotonic_s() - self._started_s) * 1e9 * self.options.speed)
        for name, number, intent in read_answer(value):
            if name in self.devices:
                self.devices[name].answered(number, intent, elapsed_ns)


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """The first SIGINT or SIGTERM sets `stop`, a second one ends the process at once."""
    loop = asyncio.get_running_loop()

    def hear() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    heard = (signal.SIGINT, signal.SIGTERM)
    for number in heard:
        loop.add_signal_handler(number, hear)
    try:
        yield
    finally:
        for number in heard:
            loop.remove_signal_handler(number)
