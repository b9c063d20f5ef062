"""A batch that is split at a zone's border does not hide the hole before it, wherever the fetch ends.

Found by a round of chaos (seed 35): the fetch ended right behind the split batch, and what was kept for the
late samples before it was let go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests import build
from tests.build import context, imu

STREET: Mapping[str, Any] = {"place": "street"}
CROWD: Mapping[str, Any] = {**STREET, "people_near": "strangers"}
SPLIT = build.batch(
    "imu",
    None,
    4000,
    20,
    columns={"accel_z_mps2": [9.8] * 20},
    changes=[(7, context(**CROWD))],
    **STREET,
)
BATCHES = [
    *(imu(0.5, first, 20, **STREET) for first in range(3800, 3980, 20)),
    SPLIT,
    *(imu(0.5, first, 20, **CROWD) for first in (4020, 4040)),
    imu(0.5, 3980, 20, **STREET),
    *(imu(0.5, first, 20, **CROWD) for first in (4060, 4080)),
]


def made(cut: int) -> list[tuple[int, int]]:
    """(number, revision) of activities, if a fetch ends after `cut` batches."""
    records, _ = build.process(build.core(), [build.fetch(BATCHES[:cut]), build.fetch(BATCHES[cut:], cut)])
    rows = build.lineage(records)["events"]
    return sorted((row["first"], row["revision"]) for row in rows if row["stream"] == "activity")


@pytest.mark.parametrize("cut", range(1, len(BATCHES)))
def test_late_samples_revise_wherever_the_fetch_ends(cut: int) -> None:
    assert made(cut) == [(3800, 0), (3900, 0), (3900, 1), (4000, 0), (4007, 0)]
