"""Load: many devices at a given rate, for whoever wants to know what a set-up takes."""

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
from streams.connection.settings import Broker

_NS_PER_S = 1_000_000_000


@cache
def batches_per_s(scenario_name: str) -> float:
    """Batches that one device of a scenario sends in a second of scenario time.

    The mean over its second session.
    """
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
    """What `device-sim load` was asked for.

    `devices` of a scenario together send `rate` batches/s for `duration_s` of wall time, at 0 as many as the
    broker takes; `first` is the number of the first device. Before that they send what they captured in
    `backlog_s` of scenario time. `faults` False: the link and the clocks are perfect.
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

    def options(self) -> Options:
        """Options of the run: the pace of the scenario follows from the rate.

        With more devices, each lives more slowly.
        """
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
        )
