"""Repeat tests that could fail rarely, on a busy machine: `python -m tests.soak`, or `make soak`.

Tests marked `kafka`, and those that wait in real time, run twenty times: TURNS times by themselves (pytest's
`--soak`), and SUITES times with the whole suite. More files run at once than there are processors. A run
belongs to the last commit that changed more than kept results, and takes hours: completed turns are recorded
in the state, and the next call continues after them, even on another day, or on another machine that has the
state. pytest's output of a failed turn is kept beside the state. Exit code 1 if a complete run had failures,
which are listed; 3 if it is not complete.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import TypeGuard

from streams.printing import say

ROOT = Path(__file__).parents[1]
TURNS, SUITES, TIMEOUT_S, STACKS_AFTER_S = 17, 3, 7200.0, 600
JOBS = 2 * (os.cpu_count() or 1)
#: Results of measurements: they say nothing of the code that is checked out, so a run goes on with new ones.
RESULTS = "bench/results"
#: Selections of a turn: the chosen tests, or all of them.
CHOSEN, SUITE = "chosen", "suite"
#: Waits in real time. A clock that a test replaces is none, and neither is `sleep(0)`.
_WAITS = re.compile(
    r"(?<!def )\bsleep\((?!0[,)])|\btimeout\(|\bwait_for\(|\btime\.(?:monotonic|perf_counter)\("
)
#: pytest keeps the folders of tests that failed, with the logs of their processes, and no others.
_KEPT = ("-o", "tmp_path_retention_policy=failed", "-o", "tmp_path_retention_count=100")
#: Text in every file with tests that need a broker; pytest need not read the others.
_BROKER = re.compile(r"\bmark\.kafka\b|\b(?:own_)?broker: str")
#: A test's parameters may have spaces.
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+?\.py(?:::\w+)*(?:\[.*?\](?= - |$))?)", re.MULTILINE)


@dataclass(frozen=True)
class Turn:
    """One completed turn: `number` counts from 0; `failed` are tests, or how pytest ended."""

    run: str
    what: str
    number: int
    seconds: float
    failed: tuple[str, ...]


@functools.cache
def waits(path: Path) -> frozenset[str]:
    """Names in a file of tests and of what else waits in real time, so that a busy machine could change it.

    What names something that waits waits too: a test with a fixture, or with what another file of the tests
    makes.
    """
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    made = {name: each for each in tree.body for name in _names(each)}
    waiting = {name for name, each in made.items() if _WAITS.search(ast.get_source_segment(text, each) or "")}
    waiting |= {name for each in tree.body if isinstance(each, ast.ImportFrom) for name in _imported(each)}
    uses = {name: {*_used(each)} for name, each in made.items()}
    while more := {name for name, used in uses.items() if used & waiting} - waiting:
        waiting |= more
    return frozenset(waiting)


def _names(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement of a module gives."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield statement.name
    else:
        yield from (each.id for each in ast.walk(statement) if _is_given(each))


def _imported(statement: ast.ImportFrom) -> Iterator[str]:
    """Names that a statement imports from other files of the tests and that wait there."""
    path = (ROOT / (statement.module or "").replace(".", "/")).with_suffix(".py")
    if path.is_relative_to(ROOT / "tests") and path.is_file():
        there = waits(path)
        yield from (each.asname or each.name for each in statement.names if each.name in there)


def _is_given(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def _used(statement: ast.stmt) -> Iterator[str]:
    for each in ast.walk(statement):
        if isinstance(each, ast.Name):
            yield each.id
        elif isinstance(each, ast.arg):
            yield each.arg


def chosen(paths: Iterable[str]) -> list[str]:
    """Files below some paths with tests that a turn needs."""
    files = {
        file
        for path in paths
        for file in ([ROOT / path] if path.endswith(".py") else (ROOT / path).rglob("test_*.py"))
    }
    return sorted(
        str(file.relative_to(ROOT))
        for file in files
        if waits(file) or _BROKER.search(file.read_text(encoding="utf-8"))
    )


def plan(turns: int, suites: int) -> list[tuple[str, int]]:
    """The turns of a complete run, in order: the whole suite first, which finds most."""
    return [*((SUITE, number) for number in range(suites)), *((CHOSEN, number) for number in range(turns))]


def read(state: Path) -> list[Turn]:
    """Completed turns; an incomplete last line is ignored."""
    turns = []
    for line in state.read_text(encoding="utf-8").splitlines() if state.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):
            fields = json.loads(line)
            turns.append(Turn(**{**fields, "failed": tuple(fields["failed"])}))
    return turns


def run_of(commit: str, choice: Iterable[object]) -> str:
    """Name of a run; it depends on the commit, the files and the counts."""
    return " ".join(map(str, (commit, *choice)))


def failures(turns: Iterable[Turn], wanted: Iterable[tuple[str, int]], run: str) -> list[str] | None:
    """Failed tests of a run with their number of failures; None if the run is not complete."""
    ran = {(turn.what, turn.number): turn for turn in turns if turn.run == run}
    if any(place not in ran for place in wanted):
        return None
    names = [name for turn in ran.values() for name in turn.failed]
    return [f"{name} ({names.count(name)} times)" for name in sorted(set(names))]


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep the processors busy during the block."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def pytest_of(what: str, paths: Sequence[str], jobs: int) -> list[str]:
    """The command of one turn; a test that does not end prints its stack after a while."""
    spread = ("--numprocesses", str(jobs), "--dist", "loadfile", "--no-loadscope-reorder")
    shown = ("-q", "-rfE", "-o", f"faulthandler_timeout={STACKS_AFTER_S}", *_KEPT)
    choice = ("--soak", *chosen(paths)) if what == CHOSEN else paths
    return [sys.executable, "-m", "pytest", *shown, *spread, *choice]


def once(command: Sequence[str], log: Path) -> tuple[str, ...]:
    """Run pytest once and return what failed; its output stays in `log` if anything did."""
    with log.open("w", encoding="utf-8") as output:
        # It gets its own session, so that brokers and workers of a turn that hangs are killed with it.
        pytest = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, start_new_session=True)
        try:
            code = pytest.wait(TIMEOUT_S)
        except BaseException as error:
            os.killpg(pytest.pid, signal.SIGKILL)
            pytest.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return (f"no end after {TIMEOUT_S:.0f} s",)
    failed = tuple(_FAILED.findall(log.read_text(encoding="utf-8")))
    if code not in (0, 5) and not failed:
        return (f"pytest ended with code {code}",)
    if not failed:
        log.unlink()
    return failed


def end(number: int, _frame: FrameType | None) -> None:
    """Handle a signal: end the turn under way with all that it started, which Ctrl-C does by itself."""
    sys.exit(128 + number)


def commit(root: Path) -> str:
    """The last commit that changed more than kept results, with `-dirty` if files were changed since."""

    def git(*arguments: str) -> str:
        command = ["git", *arguments, "--", ".", f":!{RESULTS}"]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    dirty = git("status", "--porcelain", "--untracked-files=no")
    return git("log", "-1", "--format=%h", "--abbrev=12") + ("-dirty" if dirty else "")


def main() -> int:
    """Continue the run of this commit, for as long as requested."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("paths", nargs="*", default=["tests"], help="Folders or files.  [default: tests]")
    parser.add_argument("--state", type=Path, default=ROOT / ".soak", help="Folder of what has run.")
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--suites", type=int, default=SUITES)
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"Files at once.  [default: {JOBS}]")
    parser.add_argument("--busy", type=int, default=0, help="Processes beside it that do nothing but work.")
    parser.add_argument("--hours", type=float, default=float("inf"), help="Stop after so long; call again.")
    asked = parser.parse_args()
    head = commit(ROOT)
    if head.endswith("-dirty"):
        say("a soak is of a commit, and files were changed here: commit them, or use a worktree")
        return 2
    wanted, run = plan(asked.turns, asked.suites), run_of(head, (asked.turns, asked.suites, *asked.paths))
    until_s = time.monotonic() + asked.hours * 3600
    signal.signal(signal.SIGTERM, end)
    asked.state.mkdir(exist_ok=True)
    turns = asked.state / "turns.jsonl"
    ran = {(turn.what, turn.number) for turn in read(turns) if turn.run == run}
    left = [place for place in wanted if place not in ran]
    say(f"soak of {run}: {len(wanted) - len(left)} of {len(wanted)} turns have run")
    with busy(asked.busy), turns.open("a", encoding="utf-8") as state:
        for what, number in left:
            if time.monotonic() > until_s or commit(ROOT) != head:
                break
            began_s = time.monotonic()
            log = asked.state / f"{head}-{what}-{number + 1}.txt"
            failed = once(pytest_of(what, asked.paths, asked.jobs), log)
            turn = Turn(run, what, number, round(time.monotonic() - began_s, 1), failed)
            state.write(json.dumps(asdict(turn)) + "\n")
            state.flush()
            say(f"{what}, turn {number + 1}, {turn.seconds:.0f} s: {', '.join(failed) or 'passed'}")
    result = failures(read(turns), wanted, run)
    if result is None:
        say("not complete: call it again, it goes on")
        return 3
    say(f"complete; failures: {len(result)}")
    for failure in result:
        say(f"  {failure}")
    return 1 if result else 0


if __name__ == "__main__":
    sys.exit(main())
