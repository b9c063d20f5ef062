"""What a version before left on disks and topics, made by its own code, is gone on with by ours.

All of it at once, as docs/operations.md says under *Upgrading*: store, state of devices, topics with their
configurations, consents. What old parts look like one by one is in `test_upgrade.py`, in
`tests/kafka/test_pairing.py` (topics and consents) and in `tests/snapshots/test_migrations.py` (store);
two versions beside each other are a step of the pauses (`pauses.py`).
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from streams.consent.words import Pairing, Word
from streams.kafka.broker import EmbeddedBroker, free_port
from streams.kafka.checkpoint import load
from streams.queries.store import Store
from streams.topology import AGENTS
from streams.worker.on_topics import consents_of_topic
from tests.recovery.pauses import LAST_VERSION, ROOT

#: The last commit whose stores have version 3.
STORE_V3 = "440ac9f"
_DEMO = ("demo", "--speed", "20", "--duration-s", "120", "--json")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    made = EmbeddedBroker()
    made.start(tmp_path / "kafka", free_port())
    yield made
    made.stop()


def _run(tree: Path, *arguments: str, codes: Sequence[int] = (0,)) -> str:
    """What a command of the code in a directory prints."""
    ended = subprocess.run(
        [sys.executable, "-m", "streams.cli", *arguments],
        env={**os.environ, "PYTHONPATH": str(tree)},
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert ended.returncode in codes, ended.stdout + ended.stderr
    return ended.stdout


def _ledger(printed: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(printed.splitlines()[-1])
    assert result["clean"]
    return result


def _states(broker: str) -> int:
    """How many partitions of agents have a checkpoint that we read whole."""
    read = [
        asyncio.run(load(broker, agent, partition, wait_s=10.0))
        for agent, partitions in ((agent, range(4 if agent == "glasses" else 1)) for agent in AGENTS)
        for partition in partitions
    ]
    assert not [stored.lost for stored in read if stored.lost]
    return sum(stored.offset is not None for stored in read)


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.parametrize("commit", [STORE_V3, LAST_VERSION])
def test_all_that_a_version_before_left_is_gone_on_with(
    commit: str, node: EmbeddedBroker, tmp_path: Path
) -> None:
    before, store = tmp_path / "before", tmp_path / "store"
    packed = subprocess.run(["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(before, filter="data")
    broker, at = node.address, ("--broker", node.address)
    first = _ledger(_run(before, *_DEMO, *at, "--store", str(store)))

    # Topics and their configurations.
    _run(ROOT, "topics", "--plan", *at, codes=(0, 1))
    _run(ROOT, "topics", "--migrate", *at)
    assert "every topic is as declared" in _run(ROOT, "topics", "--plan", *at)
    # Consents: what devices said and whom operators bound them to.
    consents = asyncio.run(consents_of_topic(broker))
    words = [word for _, _, word in consents.between(0, consents.offset)]
    assert {type(word) for word in words} == {Pairing, Word}
    # State of devices.
    assert _states(broker) > 1
    # Store.
    if commit == STORE_V3:
        _run(ROOT, "ask", "missing", "--store", str(store), codes=(2,))
    _run(ROOT, "snapshots", "--migrate", "--store", str(store))
    with Store.open(store) as opened:
        ((stored,),) = opened.sql("SELECT sum(\"count\") FROM events WHERE topic = 'glasses.captured'").rows
    assert stored == first["events_stored"]

    # The same devices, wearers and journals go on over it, and nothing is lost or doubled at the seam.
    second = _ledger(_run(ROOT, *_DEMO, *at, "--store", str(store)))
    # States were taken over: what cannot be read is made again from the log, which a ledger would not show.
    assert "cannot be read" not in (tmp_path / "store-run" / "worker.log").read_text(encoding="utf-8")
    assert second["events_sent"] > first["events_sent"]
    assert second["events_stored"] > first["events_stored"]
    assert second["derived"] > first["derived"]
    assert len(second["models"]) >= len(first["models"])
    after = asyncio.run(consents_of_topic(broker))
    assert [word for _, _, word in after.between(0, consents.offset)] == words
