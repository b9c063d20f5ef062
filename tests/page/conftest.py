"""What all tests of the page share."""

from __future__ import annotations

import pytest

from streams import limits


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the time of a 404, which a test of its own looks at."""
    monkeypatch.setattr(limits, "PAGE_ABSENT_STEP_S", 0.001)
