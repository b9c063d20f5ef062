"""A worker takes the child that fits its models with it, whether it ends in order or is killed.

It leaves nothing that anybody would complain of.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]


@pytest.mark.kafka
def test_no_child_outlives_a_worker(own_broker: str) -> None:
    """The child fits the seed model where there is none, and then waits a while for another fit."""
    for kind in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        with started(own_broker) as worker:
            end(worker, fitting(worker.pid), kind)
    with started(own_broker) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == f"worker ready on {own_broker}\n"
        end(worker, fitting(worker.pid), signal.SIGTERM)


@contextmanager
def started(broker: str) -> Iterator[subprocess.Popen[str]]:
    """A worker in a session of its own; killed if it still runs at the end."""
    command = [sys.executable, "-m", "streams.cli", "worker", "--broker", broker]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
    ) as worker:
        try:
            yield worker
        finally:
            worker.kill()


def end(worker: subprocess.Popen[str], children: list[psutil.Process], kind: signal.Signals) -> None:
    """Send a signal to the worker and its children, as a service manager does it.

    All end in order and leave nothing behind.
    """
    for process in [psutil.Process(worker.pid), *(children if kind is not signal.SIGKILL else ())]:
        # The child that checks a policy's text ends by itself.
        with suppress(psutil.NoSuchProcess):
            process.send_signal(kind)
    # The children inherited the pipes: they end when the last of them has ended.
    said, complained = worker.communicate(timeout=PATIENCE_S)
    assert (said, worker.returncode) == ("", -kind if kind is signal.SIGKILL else 0)
    assert "resource_tracker" not in complained
    assert "did not stop within" not in complained, "its patience was over: it was not in order"


def fitting(worker: int) -> list[psutil.Process]:
    """The worker's children, once one fits and one watches what processes leave behind."""
    deadline = time.monotonic() + PATIENCE_S
    found: list[psutil.Process] = []
    while len(found := psutil.Process(worker).children(recursive=True)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found
