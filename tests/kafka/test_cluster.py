"""Three nodes: one is lost for good, one is away for a while in the middle of a demo; nothing is missing."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.errors import InputError
from streams.kafka import topics
from streams.kafka.broker import free_port
from streams.kafka.cluster import EmbeddedCluster
from streams.kafka.reader import log_bounds
from streams.topology import CAPTURED
from tests.patience import PATIENCE_S


@pytest.mark.parametrize("count", [0, 2, 8])
def test_two_nodes_are_worse_than_one(count: int) -> None:
    with pytest.raises(InputError, match=f"--nodes {count}: expected 1, or 3 to 7"):
        EmbeddedCluster(count)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[EmbeddedCluster]:
    made = EmbeddedCluster(3)
    made.start(tmp_path / "kafka", free_port(), lambda _: None)
    yield made
    made.stop()


def _captured(cluster: EmbeddedCluster) -> int:
    return sum(end for _, end in asyncio.run(log_bounds(cluster.kafka, CAPTURED)).values())


def _wait_for_more(cluster: EmbeddedCluster, than: int, demo: subprocess.Popen[str]) -> int:
    """Wait until more batches are captured than so many; return how many are."""
    deadline_s = time.monotonic() + PATIENCE_S
    while (count := _captured(cluster)) <= than:
        assert demo.poll() is None, demo.communicate()
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
    return count


@pytest.mark.kafka
@pytest.mark.slow
def test_a_node_lost_for_good_and_one_restarted_lose_no_record(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    asyncio.run(topics.declare(cluster.kafka))
    # The node is lost that every client asks first.
    lost, restarted = cluster.nodes[0], 1
    demo = subprocess.Popen(
        [
            *(sys.executable, "-m", "streams.cli", "demo", "--speed", "20", "--json"),
            *("--broker", str(cluster.kafka), "--store", str(tmp_path / "store")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        before = _wait_for_more(cluster, 20, demo)
        lost.kill()
        before = _wait_for_more(cluster, before + 20, demo)
        cluster.nodes[restarted].stop()
        cluster.restart(restarted)
        _wait_for_more(cluster, before, demo)
        answer, words = demo.communicate(timeout=400)
    finally:
        demo.kill()
        demo.communicate()
    assert demo.returncode == 0, words
    assert json.loads(answer.splitlines()[-1])["clean"]
