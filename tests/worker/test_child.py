"""A child process answers one function after another, and leaves nothing behind however its worker ends."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from streams.errors import UnavailableError
from streams.training import seed
from streams.training.lesson import Lesson
from streams.training.promotion import apart
from streams.training.run import fit_and_measure
from streams.worker.child import Child
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parent.parent
#: A worker whose child has answered once and is busy again; it ends as its argument says.
WORKER = """
import asyncio, os, sys, time
from streams.worker.child import Child

async def main():
    child = Child()
    await child.run(abs, -1)
    busy = asyncio.create_task(child.run(time.sleep, 60))
    await asyncio.sleep(0.2)
    print("busy", flush=True)
    if sys.argv[1] == "wait":
        await busy
    if sys.argv[1] == "at once":
        os._exit(0)
    if sys.argv[1] == "closed":
        child.close()

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest_asyncio.fixture
async def child() -> AsyncIterator[Child]:
    made = Child()
    yield made
    made.close()


async def test_functions_are_answered_in_turn_by_one_process(child: Child) -> None:
    assert await asyncio.gather(*(child.run(math.factorial, number) for number in range(5))) == [
        1,
        1,
        2,
        6,
        24,
    ]
    assert await child.run(int, "ff", base=16) == 255
    assert len({await child.run(os.getpid) for _ in range(3)} - {os.getpid()}) == 1


@pytest.mark.parametrize(
    ("function", "argument", "error"),
    [
        (math.sqrt, -1, ValueError),
        (open, "/nowhere", FileNotFoundError),
        (exec, "raise EOFError", EOFError),
        (exec, "raise SystemError", SystemError),
    ],
)
async def test_what_a_function_raises_is_raised_here_and_the_child_goes_on(
    child: Child, function: object, argument: object, error: type[Exception]
) -> None:
    before = await child.run(os.getpid)
    with pytest.raises(error) as raised:
        await child.run(function, argument)  # type: ignore[arg-type]
    assert "in _answer" in raised.value.__notes__[0], "where it failed is not lost"
    assert await child.run(os.getpid) == before


async def test_a_child_that_dies_is_unavailable_and_there_is_another(child: Child) -> None:
    with pytest.raises(UnavailableError):
        await child.run(os._exit, 1)
    assert await child.run(abs, -2) == 2


async def test_a_run_that_is_given_up_ends_the_child_and_its_answer_is_not_mistaken_for_the_next(
    child: Child,
) -> None:
    before = await child.run(os.getpid)
    running = asyncio.create_task(child.run(time.sleep, 60))
    await asyncio.sleep(0.2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not psutil.pid_exists(before)
    assert await child.run(abs, -3) == 3


async def test_signals_to_the_group_of_the_worker_are_left_to_the_worker(child: Child) -> None:
    process = await child.run(os.getpid)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(process, number)
    assert await child.run(os.getpid) == process


async def test_a_child_with_nothing_to_do_ends() -> None:
    child = Child(idle_s=0.1)
    process = await child.run(os.getpid)
    async with asyncio.timeout(PATIENCE_S):
        while psutil.pid_exists(process):
            await asyncio.sleep(0.05)
    assert await child.run(os.getpid) != process
    child.close()


async def test_a_child_that_fits_a_model_does_not_import_what_talks_to_brokers_or_seals(child: Child) -> None:
    """A worker has it beside itself for as long as there are examples, so its memory counts."""
    utterances = seed.licensed()
    lesson = Lesson.of_nobody(utterances.seed.pairs)
    fitted = await child.run(fit_and_measure, lesson, apart(utterances), None)
    assert fitted.right
    imported = set(await child.run(eval, "list(__import__('sys').modules)"))
    assert "streams.training.run" in imported
    assert not imported & {"aiokafka", "faust", "cryptography", "streams.worker.bootstrap"}


@pytest.mark.parametrize("end", ["closed", "left open", "at once", "killed"])
def test_however_a_worker_ends_its_child_ends_and_nobody_complains(tmp_path: Path, end: str) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER, encoding="utf-8")
    command = [sys.executable, str(script), "wait" if end == "killed" else end]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"busy\n"
        if end == "killed":
            children = psutil.Process(worker.pid).children(recursive=True)
            assert children
            worker.kill()
        # Everybody who inherited the pipes has ended when they end: the child, and the tracker that complains
        # of what was leaked.
        _, said = worker.communicate(timeout=PATIENCE_S)
        gone = "sightline: The worker is gone; its child process ends\n"
        assert said.decode() == (gone if end in {"at once", "killed"} else "")
        assert worker.returncode == (-signal.SIGKILL if end == "killed" else 0)
