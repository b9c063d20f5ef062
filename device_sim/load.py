"""Load: many devices at a given rate, for whoever wants to know what a set-up takes."""

from __future__ import annotations

import math
from functools import cache, partial
from pathlib import Path

from device_sim import scenarios
from device_sim.device import Clock, Device, Past
from device_sim.playback import timeline
from device_sim.runner import Options
from device_sim.said import Said
from device_sim.scenarios import PERIOD_NS
from device_sim.wearer import Queries, Wearer

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
        past=Past(sessions=1, said={"w1": Said(1, ("ai:ModelTraining",))}),
        clock=Clock(0),
        seed=1,
    )
    sent = sum(len(device.period()) for _ in range(scenario.duration_ns // PERIOD_NS))
    return sent / (scenario.duration_ns / _NS_PER_S)


def options(
    scenario: str,
    devices: int,
    rate: float,
    seed: int,
    duration_s: float,
    journal: Path,
    partitions: int,
    broker: str,
    *,
    first: int = 1,
    backlog_s: float = 0.0,
    faults: bool = True,
) -> Options:
    """Options of a run that sends `rate` batches/s for `duration_s` of wall time.

    A rate of 0 is as fast as the broker takes them.

    The pace of the scenario follows from the rate: with more devices, each lives more slowly.
    """
    speed = rate / (devices * batches_per_s(scenario)) if rate else math.inf
    scenario_s = 1e9 if math.isinf(speed) else duration_s * speed + backlog_s
    return Options(
        scenario,
        devices,
        speed,
        seed,
        scenario_s,
        journal,
        partitions,
        broker,
        None,
        faults,
        first,
        duration_s,
        backlog_s,
    )
