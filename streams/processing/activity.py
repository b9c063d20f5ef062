"""Activity from a head-worn IMU: still, walking, stairs, running.

Method: spread of the acceleration norm over one second, against fixed bounds. The bounds lie between the
medians that the labelled ClassyGlass recordings give (walking 0.10-0.15 g, stairs 0.19-0.30 g, running
0.41-0.85 g, below 0.05 g sitting or standing); the idea is Bouten et al., "A triaxial accelerometer and
portable data processing unit for the assessment of daily physical activity", IEEE TBME 44(3), 1997.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streams.events.batch import Batch
from streams.events.codec import column
from streams.processing.operators import Operator
from streams.processing.windows import ClosedWindow, Columns, Samples

WINDOW_SAMPLES = 100
STANDARD_GRAVITY_MPS2 = 9.80665
#: Upper bound of the spread of the acceleration norm, m/s², and the activity below it.
BOUNDS = (
    (0.060 * STANDARD_GRAVITY_MPS2, "still"),
    (0.172 * STANDARD_GRAVITY_MPS2, "walking"),
    (0.350 * STANDARD_GRAVITY_MPS2, "stairs"),
)
FASTEST = "running"


def samples(batches: Sequence[Batch]) -> Samples:
    """Acceleration norm in m/s² of every event."""
    x, y, z = (column(batches, f"accel_{axis}_mps2") for axis in "xyz")
    norm: Samples = np.sqrt(x * x + y * y + z * z).round(6)
    return norm


def classify(spread_mps2: float) -> str:
    """Activity by the spread of the acceleration norm (standard deviation, m/s²)."""
    return next((name for bound, name in BOUNDS if spread_mps2 < bound), FASTEST)


def values(closed: Sequence[ClosedWindow]) -> list[Columns]:
    """Columns of the activity event for each window.

    Windows of equal length are computed as the rows of one array. NumPy sums a row in the same order however
    many rows there are, so results do not depend on how records were divided into fetches.
    """
    spreads = [0.0] * len(closed)
    by_count: dict[int, list[int]] = {}
    for index, window in enumerate(closed):
        by_count.setdefault(window.count, []).append(index)
    for indices in by_count.values():
        rows = np.array([closed[index].samples for index in indices])
        for index, spread in zip(indices, rows.std(axis=1).round(6).tolist(), strict=True):
            spreads[index] = spread
    return [
        {"activity": classify(spread), "accel_norm_std_mps2": spread, "samples": window.count}
        for window, spread in zip(closed, spreads, strict=True)
    ]


ACTIVITY = Operator(
    name="activity",
    version=1,
    reads="imu",
    primary="imu-right",
    sample=np.dtype("<f8"),
    samples=samples,
    length=WINDOW_SAMPLES,
    makes=values,
    cites="activity",
)
