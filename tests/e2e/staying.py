"""Commands that stay, for as long as a test needs them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from streams.consent.record import pairing_record
from streams.kafka.publish import publish_now
from streams.kafka.topics import declare
from streams.readiness import Awaited
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
T = TypeVar("T")


@contextmanager
def running(*words: str, log: Path) -> Iterator[None]:
    """A command of `sightline` that has said that it is ready, until the block ends."""
    ready = Awaited()
    with log.open("w", encoding="utf-8") as out, ready.given():
        child = subprocess.Popen(
            [sys.executable, "-m", "streams.cli", *words, *ready.arguments],
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            pass_fds=ready.descriptors,
        )
    try:
        for _ in range(int(10 * PATIENCE_S)):
            if ready.is_ready():
                break
            assert child.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.1)
        yield
    finally:
        child.terminate()
        child.wait(PATIENCE_S)


@contextmanager
def followed(broker: str, directory: Path, pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Path]]:
    """A worker under `household` that believes some (device, wearer), and `store` in a directory after it."""
    asyncio.run(declare(broker))
    asyncio.run(publish_now(broker, [pairing_record(*pair, bound=True) for pair in pairs]))
    with ExitStack() as stack:
        for name, words in {
            "worker": ("worker", "--policy", "household"),
            "snapshots": ("snapshots", "--store", str(directory / "store")),
        }.items():
            stack.enter_context(running(*words, "--broker", broker, log=directory / f"{name}.txt"))
        until((directory / "store" / "catalog.duckdb").exists)
        yield broker, directory


def until(said: Callable[[], T | None]) -> T:
    """What is said in the end."""
    for _ in range(int(PATIENCE_S)):
        if heard := said():
            return heard
        time.sleep(1)
    raise AssertionError("it never came")
