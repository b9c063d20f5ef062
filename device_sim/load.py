"""Load tests: many devices at a given rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from device_sim import scenarios
from device_sim.device import Clock, Device, Past
from device_sim.own_consent import OwnConsent
from device_sim.playback import timeline
from device_sim.runner import Options
from device_sim.scenarios import PERIOD_NS
from device_sim.wearer import Queries, Wearer
from streams.events.kinds import Kinds
from streams.events.shipped import SHIPPED
from streams.settings.kafka import Broker

_NS_PER_S = 1_000_000_000


@cache
def batches_per_s(scenario_name: str) -> float:
    """Mean number of batches that one device sends per second of scenario time, in its second session."""
    scenario = scenarios.load(scenario_name)
    wearer = Wearer(
        "g1", scenario.talk, Queries(scenario.talk.query_recording, 1, 0, 1), 1, hears_answers=False
    )
    device = Device(
        "g1",
        "w1",
        scenario,
        partial(timeline, scenario, 0, 1),
        wearer,
        past=Past(sessions=1, consents={"w1": OwnConsent(1, ("ai:ModelTraining",))}),
        clock=Clock(0),
        seed=1,
    )
    sent = sum(len(device.period()) for _ in range(scenario.duration_ns // PERIOD_NS))
    return sent / (scenario.duration_ns / _NS_PER_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Arguments of `device-sim load`.

    `devices` of a scenario together send `rate` batches/s (0: as many as the broker accepts) for `duration_s`
    of wall time; `first` is the number of the first device. Before that they send what they captured in
    `backlog_s` of scenario time. `faults` False: links and clocks have no errors. `kinds` are those that the
    journals may have events of.
    """

    scenario: str
    devices: int
    rate: float
    seed: int
    duration_s: float
    journal: Path
    partitions: int
    broker: Broker
    first: int = 1
    backlog_s: float = 0.0
    faults: bool = True
    encoding: str = "json"
    kinds: Kinds = SHIPPED

    def options(self) -> Options:
        """Options of the run; the speed of the scenario follows from the rate and the number of devices."""
        speed = self.rate / (self.devices * batches_per_s(self.scenario)) if self.rate else math.inf
        return Options(
            scenario=self.scenario,
            devices=self.devices,
            speed=speed,
            seed=self.seed,
            duration_s=1e9 if math.isinf(speed) else self.duration_s * speed + self.backlog_s,
            journal=self.journal,
            partitions=self.partitions,
            broker=self.broker,
            faults=self.faults,
            first=self.first,
            wall_s=self.duration_s,
            backlog_s=self.backlog_s,
            encoding=self.encoding,
            kinds=self.kinds,
        )
