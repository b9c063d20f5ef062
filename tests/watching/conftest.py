"""What all tests of alert rules share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.watching.growing import Growing, Time, growing_store


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The clocks."""
    return Time(monkeypatch)


@pytest.fixture
def store(tmp_path: Path, time: Time) -> Iterator[Growing]:
    """A store that grows."""
    with growing_store(tmp_path / "store", time) as growing:
        yield growing
