"""The process around the agents."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaConnectionError

from streams.errors import UnavailableError
from streams.worker.run import _started


async def test_a_broker_that_goes_while_an_agent_starts_is_a_sentence() -> None:
    async def start() -> None:
        raise KafkaConnectionError("127.0.0.1 refused")

    app = SimpleNamespace(start=start, conf=SimpleNamespace(id="glasses"))
    with pytest.raises(
        UnavailableError, match=r"The broker nowhere:1 went away while the agent glasses started\. Start"
    ):
        await _started(cast("Any", app), "nowhere:1")
