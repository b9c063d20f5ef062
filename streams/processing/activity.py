"""Activity from a head-worn IMU: still, walking, stairs, running.

Method: spread of the acceleration norm over one second, against fixed bounds. The bounds lie between the medians that
the labelled ClassyGlass recordings give (walking 0.10-0.15 g, stairs 0.19-0.30 g, running 0.41-0.85 g, below 0.05 g
sitting or standing); the idea is Bouten et al., "A triaxial accelerometer and portable data processing unit for the
assessment of daily physical activity", IEEE TBME 44(3), 1997.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from streams.events.codec import column
from streams.events.step import Tagged
from streams.processing.windows import Anchors, ClosedWindow

WINDOW_SAMPLES = 100
STANDARD_GRAVITY_MPS2 = 9.80665
#: Upper bound of the spread of the acceleration norm, m/s², and the activity below it.
BOUNDS = ((0.060 * STANDARD_GRAVITY_MPS2, "still"), (0.172 * STANDARD_GRAVITY_MPS2, "walking"), (0.350 * STANDARD_GRAVITY_MPS2, "stairs"))
FASTEST = "running"


def samples(batches: Sequence[Tagged]) -> list[list[float]]:
    """Acceleration norm in m/s² of every event, one list a batch, from one array over all batches."""
    plain = [tagged.batch for tagged in batches]
    x, y, z = (column(plain, f"accel_{axis}_mps2") for axis in "xyz")
    norms = np.sqrt(x * x + y * y + z * z).round(6).tolist()
    lists, at = [], 0
    for batch in plain:
        lists.append(norms[at:at + batch.run.count])
        at += batch.run.count
    return lists


def classify(spread_mps2: float) -> str:
    """Activity by the spread of the acceleration norm (standard deviation, m/s²)."""
    return next((name for bound, name in BOUNDS if spread_mps2 < bound), FASTEST)


def values(closed: ClosedWindow, places: Anchors) -> tuple[dict[str, Any], Anchors]:
    """Columns of the activity event that a window makes; the device's places stay as they are."""
    spread = round(float(np.std(np.array(closed.window.samples))), 6)
    return {"activity": classify(spread), "accel_norm_std_mps2": spread, "samples": closed.count}, places
