"""What more than one test folder needs: one embedded Apache Kafka for the whole run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.kafka.broker import EmbeddedBroker, free_port


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of an Apache Kafka that is started once; tests share it, so they name topics and groups of their own."""
    directory: Path = tmp_path_factory.mktemp("kafka")
    node = EmbeddedBroker()
    node.start(directory, free_port())
    yield node.address
    node.stop()
