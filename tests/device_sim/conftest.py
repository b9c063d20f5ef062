"""Links to a Kafka that answers as a test wants it."""

from __future__ import annotations

import pytest

from tests.device_sim.play import Kafka, kafka


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> list[Kafka]:
    return kafka(monkeypatch)
