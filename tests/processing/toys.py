"""Operators of a stranger, with their kinds, a policy that names them, and a day in which they work.

`shake` counts jolts in windows of 50 samples of what `activity` reads, and all of a device's together;
`climate` makes one event of each batch, without anything left open.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streams.events import shipped as kinds
from streams.events.batch import Batch
from streams.events.codec import column
from streams.events.kinds import Kind, Kinds
from streams.pipeline.live import LiveGlasses
from streams.policy.load import parse
from streams.policy.policy import Policy
from streams.policy.step import Tagged
from streams.processing.operators import Memory, Operator, Operators
from streams.processing.shipped import SHIPPED_OPERATORS
from streams.processing.windows import ClosedWindow, Columns, Samples, by_batch
from tests import build

JOLT_MPS2 = 11.0
Jolts = tuple[int, int]  #: (jolts, windows) of a device so far


def _z(batches: Sequence[Tagged]) -> list[Samples]:
    return by_batch(column((tagged.batch for tagged in batches), "accel_z_mps2"), batches)


def _celsius(batches: Sequence[Tagged]) -> list[Samples]:
    return by_batch(column((tagged.batch for tagged in batches), "temperature_c"), batches)


def shake(so_far: Jolts, window: ClosedWindow) -> tuple[Columns | None, Jolts]:
    jolts = int((window.samples > JOLT_MPS2).sum())
    now = (so_far[0] + jolts, so_far[1] + 1)
    return ({"jolts": jolts, "total": now[0]} if jolts else None), now


def _climate(closed: Sequence[ClosedWindow]) -> list[Columns]:
    return [{"mean_c": round(float(window.samples.mean()), 2)} for window in closed]


KINDS = Kinds.of(
    *kinds.SHIPPED.values(),
    Kind("shake", False, {"jolts": "number", "total": "number"}),
    Kind("climate", False, {"mean_c": "number"}),
)
SHAKE = Operator(
    name="shake",
    version=3,
    reads="imu",
    primary="imu-right",
    sample=np.dtype("<f8"),
    samples=_z,
    length=50,
    makes=Memory(Jolts, (0, 0), 64, shake),
    cites="jolts",
)
CLIMATE = Operator(
    name="climate",
    version=1,
    reads="env",
    primary="env",
    sample=np.dtype("<f8"),
    samples=_celsius,
    length=None,
    makes=_climate,
)
OPERATORS = Operators.of(KINDS, *SHIPPED_OPERATORS.values(), SHAKE, CLIMATE)
CLIMATE_NAMED = 'climate = { categories = [], nature = "derived" }\n'
NAMED = 'shake = { categories = ["local:Gait"], nature = "derived" }\n' + CLIMATE_NAMED


def policy(named: str = NAMED, **replaced: str) -> Policy:
    text = build.policy().text.replace("\n[kinds]\n", f"\n[kinds]\n{named}")
    for before, after in replaced.items():
        text = text.replace(before, after)
    return parse(text, "toy.toml", kinds=KINDS)


def core_of(in_force: Policy | None = None, operators: Operators = OPERATORS) -> LiveGlasses:
    return LiveGlasses(build.followed(in_force or POLICY), operators=operators)


POLICY = policy()
CORE, OTHER = core_of(), core_of()
QUIET = build.core()


def day() -> list[Batch]:
    """Two devices that shake now and then, in two zones, with a hole, a query and the end of a session."""
    batches: list[Batch] = []
    for number in range(18):
        for source in ("g1", "g2"):
            place = "street" if number in {7, 8, 9} else "home"
            first = 20 * number + (20 if number > 12 else 0)
            spread = 2.0 if (number + (source == "g2")) % 4 == 0 else 0.1
            batches.append(build.imu(spread, first, 20, source=source, place=place))
        warmth = [20.0 + number] * 4
        batches.append(build.batch("env", None, 4 * number, 4, columns={"temperature_c": warmth}))
    batches.append(build.query(0, "wake me up at seven am", build.T0_NS + 10**10))
    return [*batches, build.ended(0, build.T0_NS + 2 * 10**10), build.ended(0, build.T0_NS, source="g2")]


DAY = day()
