"""Fixtures of several tests of the store."""

from __future__ import annotations

import pytest

from streams import limits


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is large happens to a few rows."""
    for name, value in {
        "FOLD_EPOCHS_MIN": 2, "RESIDUE_ROWS": 3, "TIER_ROWS": 8, "TIER_FACTOR": 2, "EPOCHS_AT_HAND_MAX": 4,
        "FOLD_CHUNK_ROWS": 5, "SUPERSEDED_GRACE_S": 0.0, "ROW_GROUP_ROWS": 4,
    }.items():  # fmt: skip
        monkeypatch.setattr(limits, name, value)
