"""Stores that several modules ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams import limits
from tests.queries.golden import SECRET, imu_batches, played


@pytest.fixture(scope="session")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden journal, two batches of which nobody could read."""
    (name, first, _), (_, second, _) = imu_batches()
    return played(
        tmp_path_factory.mktemp("spoilt"),
        {
            # Readable, with a column of somebody else's; and what is no JSON at all, known by its headers.
            f"g1/{name}/{first}": lambda value: value.replace('"accel_x_mps2"', f'"{SECRET}"'),
            f"g1/{name}/{second}": lambda value: SECRET + value,
        },
    )


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folds of few rows, and an erasure whose readers have left at once."""
    for name, value in {"FOLD_EPOCHS_MIN": 2, "TIER_ROWS": 8, "SUPERSEDED_GRACE_S": 0.0}.items():
        monkeypatch.setattr(limits, name, value)
