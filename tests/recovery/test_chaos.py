"""The short form of `make chaos`: six fixed faults, every record counted, nothing left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.patience import PATIENCE_S
from tests.recovery.rounds import Options, chaos
from tests.recovery.schedule import BROKER, SNAPSHOTS, Fault

pytestmark = pytest.mark.kafka
SEED = 20_261_125
#: The disk is full while both workers still write.
FAULTS = [
    Fault(1.0, "disk full", SNAPSHOTS, 4.0),
    Fault(3.0, "worker SIGKILL", "worker-1", 0.5),
    Fault(7.0, "snapshots SIGKILL", SNAPSHOTS, 0.5),
    Fault(8.0, "worker SIGSTOP", "worker-2", 8.0),
    Fault(18.0, "broker SIGKILL", BROKER, 0.5),
    Fault(23.0, "worker SIGTERM", "worker-1", 0.2),
]


def running(directory: Path) -> list[str]:
    """Command lines of processes that work in a directory."""
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    return [line for line in lines if str(directory) in line and "pytest" not in line]


async def test_nothing_is_missing_twice_or_out_of_order_whatever_is_killed(tmp_path: Path) -> None:
    said: list[str] = []
    result = await chaos(tmp_path, SEED, Options(27.0, 300.0, 8), said.append, FAULTS)
    assert len(result.struck) == len(FAULTS)
    assert result.counts() == {"missing": 0, "twice": 0, "disorder": 0}, result.findings
    # How long something took is for `make chaos` to judge, on a machine of its own.
    assert not [finding for finding in result.findings if "stood still" not in finding]
    assert result.ledger["batches_sent"] > 5000
    assert result.ledger["topics"]["repeated"] > 0
    assert result.lineage.differences == 0
    assert "cannot be written (File too large); nothing is lost, tried again" in (
        tmp_path / "snapshots.log"
    ).read_text(encoding="utf-8")
    assert not running(tmp_path)


def test_an_interrupt_leaves_no_process(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.recovery",
        "--rounds",
        "1",
        "--seed",
        str(SEED),
        "--directory",
        str(tmp_path),
    ]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, start_new_session=True, cwd=Path(__file__).parents[2]
    ) as harness:
        deadline = time.monotonic() + PATIENCE_S
        while (
            not any("streams.cli worker" in line for line in _below(harness.pid))
            and time.monotonic() < deadline
        ):
            time.sleep(0.1)
        assert any("streams.cli worker" in line for line in _below(harness.pid)), "it never started a worker"
        started = [child.pid for child in psutil.Process(harness.pid).children(recursive=True)]
        os.kill(harness.pid, signal.SIGINT)
        harness.communicate(timeout=PATIENCE_S)
    assert not [pid for pid in started if psutil.pid_exists(pid)]


def _below(pid: int) -> list[str]:
    return [
        " ".join(child.cmdline())
        for child in psutil.Process(pid).children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE
    ]
