"""Run simulated devices in time: periods by the clock, answers, and a clean end."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from math import isinf
from pathlib import Path
from typing import Any

from device_sim import link as radio
from device_sim import scenarios
from device_sim.device import Captured, Clock, Device
from device_sim.files import read_answer, read_notice
from device_sim.gateway import FLUSH_WAIT_S, Gateway
from device_sim.playback import timeline
from device_sim.scenarios import PERIOD_NS, Scenario
from device_sim.wearer import Queries, Wearer
from streams import clock
from streams.ends import End, end_process
from streams.events.kinds import Kinds
from streams.events.shipped import SHIPPED
from streams.settings.kafka import Broker

ANSWER_WAIT_S = 6.0  #: wall time after the end in which outstanding answers may still arrive
INTERRUPTED_FLUSH_WAIT_S = 1.0
#: Captured data is at most this old at the start of a run that is faster than the clock.
BEGINS_BEFORE_MAX_NS = 20 * 86_400_000_000_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of a run of the glasses.

    `duration_s` is in scenario time, None plays the scenario once; `broker` None only writes journals;
    `faults` False: links and clocks have no errors. `speed` is scenario time against wall time; infinite: as
    fast as the connection allows. Without `start_ns`, capture times end now, or begin now if `speed` is at
    most 1. `first` is the number of the first device. `wall_s` ends the run after that much wall time. With
    `backlog_s` the devices first send, at full speed, what they captured in that much scenario time before
    the start. The truth in the journals is that under `policy`. `encoding` is one of `options.ENCODINGS`.
    `kinds` are those that the journals may have events of.
    """

    scenario: str
    devices: int
    speed: float
    seed: int
    duration_s: float | None
    journal: Path
    partitions: int
    broker: Broker | None
    start_ns: int | None = None
    faults: bool = True
    first: int = 1
    wall_s: float | None = None
    backlog_s: float = 0.0
    policy: str = scenarios.POLICY
    encoding: str = "json"
    kinds: Kinds = SHIPPED


@dataclass(slots=True)
class Summary:
    """Counts of a run; `unacknowledged` batches are in the journal and are sent again by the next run."""

    events_sent: int = 0
    batches_sent: int = 0
    queries: int = 0
    feedback: int = 0
    sessions: int = 0
    unacknowledged: int = 0

    def as_dict(self) -> dict[str, int]:
        """Field to value."""
        return asdict(self)


class Simulation:
    """One run of `device-sim`.

    Guarantees: those of `Gateway`, with a radio that may repeat, delay and swap batches but loses none. The
    last event of a device is the end of its session, even if the run is interrupted.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.summary = Summary()
        self._stop = asyncio.Event()
        self._started_s = 0.0
        self._doing = f"reaching Kafka at {options.broker}"
        scenario = scenarios.load(options.scenario, options.policy)
        self._duration_ns = (
            scenario.duration_ns if options.duration_s is None else round(options.duration_s * 1_000_000_000)
        )
        self._backlog_ns = round(options.backlog_s * 1_000_000_000)
        names = [f"g{i + options.first}" for i in range(options.devices)]
        faults = scenario.faults if options.faults else radio.NONE
        self._radios = {name: radio.Link(faults, options.seed, name) for name in names}
        self._gateway = Gateway(
            options.broker,
            options.partitions,
            options.journal,
            self._radios,
            self._answered,
            options.kinds,
            self._notified,
        )
        self.devices: dict[str, Device] = {}
        try:
            self._open(scenario, self._start_ns())
        except BaseException:
            self._gateway.close_journals()
            raise

    def _start_ns(self) -> int:
        """Capture time of the start: as requested, or early enough that capture times do not pass now.

        A run that is faster than the clock begins earlier, so that it ends now.
        """
        options = self.options
        if options.start_ns is not None:
            return options.start_ns - self._backlog_ns
        live_ns = self._duration_ns - self._backlog_ns
        ahead_ns = round(live_ns * (1 - 1 / options.speed)) if options.speed > 1 else 0
        return clock.now_ns() - self._backlog_ns - min(ahead_ns, BEGINS_BEFORE_MAX_NS)

    def _open(self, scenario: Scenario, start_ns: int) -> None:
        options = self.options
        count = options.first - 1 + options.devices
        for i in range(options.first - 1, count):
            name = f"g{i + 1}"
            queries = Queries(scenario.talk.query_recording, options.seed, i, count)
            wearer = Wearer(
                name, scenario.talk, queries, options.seed, hears_answers=options.broker is not None
            )
            link = self._radios[name]
            sampled = partial(timeline, scenario, i, options.seed)
            for stream in scenario.streams:
                sampled(
                    stream, 1
                )  # a recording that cannot be played is an error now, not in the middle of the session
            self.devices[name] = Device(
                name,
                f"w{i + 1}",
                scenario,
                sampled,
                wearer,
                past=self._gateway.past(name),
                clock=Clock(start_ns + link.clock_offset_ns, link.clock_drift_ppm, link.clock_shift_ns),
                seed=options.seed,
                packs=options.encoding == "binary" or (options.encoding == "mixed" and i % 2 == 1),
            )

    async def run(self) -> Summary:
        """Play to the end or until a signal.

        Errors of the broker are raised at the start; later the run waits for the broker.
        """
        try:
            with _signals(self._stop):
                if await self._stopped_in(self._reach()):
                    self.summary.unacknowledged = self._gateway.left
                    return self.summary
                self._resend()
                await self._play()
                await self._finish()
        finally:
            await self._gateway.close()
        return self.summary

    @property
    def progress(self) -> str:
        """Current activity, and the numbers of batches that were sent, acknowledged and held."""
        sent, held = self.summary.batches_sent, self._gateway.held
        if not sent:
            return self._doing
        acknowledged = max(0, sent - held - self._gateway.under_way)
        return f"{self._doing}: {sent:,} batches sent, {acknowledged:,} acknowledged, {held:,} held"

    async def _reach(self) -> None:
        for name, incarnation in (await self._gateway.start()).items():
            self.devices[name].begin_incarnation(incarnation)

    def _resend(self) -> None:
        for name in self.devices:
            for batch in self._gateway.resend(name):
                if batch.kind == "voice_query":
                    for number, utterance in zip(batch.run, batch.columns["text"], strict=True):
                        self.devices[name].wearer.asked(number, utterance)
            self._forward(self.devices[name])

    async def _play(self) -> None:
        self._doing = f"playing {self.options.scenario}"
        before = {name: device.sessions for name, device in self.devices.items()}
        began_s = clock.monotonic_s()
        # The backlog lies in the past, so it is sent without waiting.
        self._started_s = began_s - self._backlog_ns / 1e9 / self.options.speed
        for number in range(1, max(1, -(-self._duration_ns // PERIOD_NS)) + 1):
            live = number * PERIOD_NS > self._backlog_ns
            late = (
                live
                and self.options.wall_s is not None
                and clock.monotonic_s() - began_s >= self.options.wall_s
            )
            if late or await self._stopped_before(number):
                break
            for device in self.devices.values():
                self._emit(device, device.period())
        self.summary.sessions = sum(device.sessions - before[name] for name, device in self.devices.items())

    async def _finish(self) -> None:
        self._doing = "waiting for the last answers and acknowledgements"
        number = max(device.elapsed_ns for device in self.devices.values()) // PERIOD_NS
        deadline_s = clock.monotonic_s() + ANSWER_WAIT_S
        while (
            any(device.wearer.waits for device in self.devices.values()) and clock.monotonic_s() < deadline_s
        ):
            number += 1
            if await self._stopped_before(number):
                break
            for device in self.devices.values():
                self._emit(device, device.feedback_period())
        for name, device in self.devices.items():
            # First what the radio still holds, because the end of the session is the last event of a device.
            self._gateway.drain(name)
            self._emit(device, device.end())
        self.summary.unacknowledged = await self._gateway.flush(
            INTERRUPTED_FLUSH_WAIT_S if self._stop.is_set() else FLUSH_WAIT_S
        )
        if self.summary.unacknowledged:
            log.warning(
                "%d batches have no acknowledgement; they are in the journal and the next start resends them",
                self.summary.unacknowledged,
            )

    async def _stopped_before(self, number: int) -> bool:
        """Wait until period `number` (from 1) is over and there is room for it; True if the run must stop."""
        if not self._gateway.live:
            await asyncio.sleep(0)  # lets a signal through
            return self._stop.is_set()
        over_s = self._started_s + number * PERIOD_NS / 1e9 / self.options.speed
        return await self._stopped_in(
            asyncio.sleep(max(0.0, over_s - clock.monotonic_s()))
        ) or await self._stopped_in(self._gateway.room())

    async def _stopped_in(self, wait: Coroutine[Any, Any, None]) -> bool:
        """Wait for `wait` or a request to stop; True if the run must stop. Errors of `wait` are raised."""
        waited, stopped = asyncio.ensure_future(wait), asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((waited, stopped), return_when=asyncio.FIRST_COMPLETED)
        for task in (waited, stopped):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await waited
        return self._stop.is_set()

    def _emit(self, device: Device, captured: list[Captured]) -> None:
        for each in captured:
            count = each.batch.run.count
            self.summary.batches_sent += 1
            self.summary.events_sent += count
            self.summary.queries += count * (each.batch.kind == "voice_query")
            self.summary.feedback += count * (each.batch.kind == "feedback")
        sent_ns = clock.now_ns() if self._gateway.live else device.now_ns
        self._gateway.write(device.name, captured, sent_ns)
        self._forward(device)

    def _forward(self, device: Device) -> None:
        self._gateway.forward(device.name, device.elapsed_ns, device.now_ns)

    def _notified(self, value: bytes | None) -> None:
        notice = read_notice(value)
        device = None if notice is None else self.devices.get(notice.device)
        if notice is not None and device is not None and device.pseudonym == notice.wearer:
            device.notified(notice.version)

    def _answered(self, value: bytes | None) -> None:
        hurried = isinf(self.options.speed)
        elapsed_ns = (
            0 if hurried else round((clock.monotonic_s() - self._started_s) * 1e9 * self.options.speed)
        )
        for name, stream, number, intent in read_answer(value):
            device = self.devices.get(name)
            if device is not None and stream == device.wearer.answers:
                device.wearer.answered(number, intent, max(elapsed_ns, device.elapsed_ns))


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """The first SIGINT or SIGTERM sets `stop`, a second one ends the process at once."""
    loop = asyncio.get_running_loop()

    def hear() -> None:
        if stop.is_set():
            end_process(
                "stopped at once by a second signal; the journal holds what was sent", end=End.INTERRUPTED
            )
        stop.set()

    heard = (signal.SIGINT, signal.SIGTERM)
    for number in heard:
        loop.add_signal_handler(number, hear)
    try:
        yield
    finally:
        for number in heard:
            loop.remove_signal_handler(number)
