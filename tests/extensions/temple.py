"""An extension as a stranger writes one: a thermometer at the temple, and how warm five samples are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streams.events.batch import Batch
from streams.events.codec import column
from streams.events.kinds import Kind
from streams.processing.operators import Operator
from streams.processing.windows import ClosedWindow, Columns, Samples

TEMPLE = Kind(
    "temple",
    captured=True,
    columns={"skin_c": "number"},
    wire={"skin_c": "f4"},
    says={"about": "A thermometer at the temple.", "skin_c": "Temperature of the skin."},
)
WARMTH = Kind("warmth", captured=False, columns={"warmth": "cool|warm", "mean_c": "number"})
WINDOW_SAMPLES = 5


def celsius(batches: Sequence[Batch]) -> Samples:
    return column(batches, "skin_c")


def warmth(closed: Sequence[ClosedWindow]) -> list[Columns]:
    means_c = [round(float(window.samples.mean()), 2) for window in closed]
    return [{"warmth": "warm" if mean_c >= 35 else "cool", "mean_c": mean_c} for mean_c in means_c]


KINDS = [TEMPLE, WARMTH]
OPERATORS = [
    Operator(
        name="warmth",
        version=1,
        reads="temple",
        primary="temple",
        sample=np.dtype("<f8"),
        samples=celsius,
        length=WINDOW_SAMPLES,
        makes=warmth,
        cites="mean_c",
    )
]
