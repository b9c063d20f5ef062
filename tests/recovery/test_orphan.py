"""A worker that is killed takes the child that fits its models with it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil

_WORKER = """
import multiprocessing, time
from concurrent.futures import ProcessPoolExecutor
from streams.fitting import _as_child

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_as_child)
    print(pool.submit(abs, -1).result(), flush=True)
    time.sleep(60)
"""


def test_no_child_outlives_a_killed_worker(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(_WORKER, encoding="utf-8")
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2],
                          env={"PYTHONPATH": str(Path(__file__).parents[2])}) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"1\n"
        children = psutil.Process(worker.pid).children(recursive=True)
        worker.kill()
    assert children
    deadline = time.monotonic() + 10
    while (left := _alive(children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


def _alive(processes: list[psutil.Process]) -> list[int]:
    found = []
    for process in processes:
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.NoSuchProcess:
            continue
    return found
