"""Cost of a process: CPU seconds and resident memory, including its children."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

from streams.demo import Part

ROOT = Path(__file__).parents[1]


def start(name: str, arguments: Iterable[str], directory: Path, *, says_ready: bool = False) -> Part:
    """Start `python -m ARGUMENTS` in `directory`, which holds its files and its log."""
    # The bench is not part of the installed package, and the process has another current directory.
    return Part.spawn(
        name,
        list(arguments),
        directory / f"{name}.log",
        says_ready=says_ready,
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def _family(pid: int) -> list[Any]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_s(pid: int | None) -> float:
    """CPU seconds used so far, in user and in kernel mode, including children that have ended.

    0 if there is no such process.
    """
    total = 0.0
    for process in _family(pid) if pid is not None else ():
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def rss_mb(pid: int | None) -> float:
    """Resident memory in MB, plus the private memory of its children; 0 if there is no such process.

    Memory that a child shares (mainly libraries) is already counted for its parent.
    """
    total = 0
    for process in _family(pid) if pid is not None else ():
        try:
            total += process.memory_info().rss if process.pid == pid else process.memory_full_info().uss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6
