"""Repeat what could fail seldom, on a machine that is busy: `python -m tests.soak`, or `make soak`.

Files with tests marked `kafka`, or with a clock, run TURNS times, the whole suite SUITES times, while every
processor has something else to do. A run belongs to a commit and takes hours: each file that has run stands
in the state, and the next call goes on behind it, on another day too. Exit code 1 when a complete run had
failures, which are listed; 3 while it is not complete.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from streams.printing import say

ROOT = Path(__file__).parents[1]
TURNS, SUITES, TIMEOUT_S, SUITE_TIMEOUT_S = 20, 3, 900.0, 7200.0
SUITE = "tests"
_CLOCK = re.compile(
    r"mark\.kafka|\bsleep\(|\btimeout\(|wait_for\(|monotonic|perf_counter|\bbroker: str|own_broker"
)
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Done:
    """One file, or the suite, run once: `turn` counts from 0, `failed` are tests, or how pytest ended."""

    run: str
    what: str
    turn: int
    seconds: float
    failed: tuple[str, ...]


def chosen(paths: Iterable[str]) -> list[str]:
    """Files with tests that need a broker or a clock, below some paths."""
    files = {
        file
        for path in paths
        for file in ([ROOT / path] if path.endswith(".py") else (ROOT / path).rglob("test_*.py"))
    }
    return sorted(
        str(file.relative_to(ROOT)) for file in files if _CLOCK.search(file.read_text(encoding="utf-8"))
    )


def plan(files: Iterable[str], turns: int, suites: int) -> list[tuple[str, int]]:
    """What a complete run consists of, in order: each file once, again and again, then the suites."""
    every = list(files)
    return [
        *((file, turn) for turn in range(turns) for file in every),
        *((SUITE, turn) for turn in range(suites)),
    ]


def read(state: Path) -> list[Done]:
    """What has run; a line that was not written to its end is left out."""
    found = []
    for line in state.read_text(encoding="utf-8").splitlines() if state.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):
            said = json.loads(line)
            found.append(Done(**{**said, "failed": tuple(said["failed"])}))
    return found


def run_of(commit: str, asked: Iterable[object]) -> str:
    """Name of a run: another commit, or other files and counts, are another one."""
    return " ".join(map(str, (commit, *asked)))


def failures(done: Iterable[Done], wanted: Iterable[tuple[str, int]], run: str) -> list[str] | None:
    """Failed tests of a run with how often each failed; None while it is not complete."""
    ran = {(one.what, one.turn): one for one in done if one.run == run}
    if any(place not in ran for place in wanted):
        return None
    names = [name for one in ran.values() for name in one.failed]
    return [f"{name} ({names.count(name)} times)" for name in sorted(set(names))]


@contextlib.contextmanager
def loaded() -> Iterator[None]:
    """Keep every processor busy meanwhile."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for one in busy:
            one.kill()
            one.wait()


def once(run: str, what: str, turn: int) -> Done:
    """Run a file, or the suite, once."""
    spread = ("--numprocesses", "2", "--dist", "loadfile") if what == SUITE else ()
    began_s = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", *spread, what]
    try:
        ended = subprocess.run(
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=SUITE_TIMEOUT_S if what == SUITE else TIMEOUT_S,
        )
        failed = tuple(_FAILED.findall(ended.stdout))
        if ended.returncode not in (0, 5) and not failed:
            failed = (f"{what}: pytest ended with code {ended.returncode}",)
    except subprocess.TimeoutExpired as late:
        failed = (f"{what}: no end after {late.timeout:.0f} s",)
    return Done(run, what, turn, round(time.monotonic() - began_s, 1), failed)


def main() -> int:
    """Go on with the run of this commit, for as long as asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("paths", nargs="*", default=[SUITE], help="Folders or files.  [default: tests]")
    parser.add_argument("--state", type=Path, default=ROOT / ".soak.jsonl", help="What has run.")
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--suites", type=int, default=SUITES)
    parser.add_argument("--hours", type=float, default=float("inf"), help="Stop after so long; call again.")
    asked = parser.parse_args()
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    wanted = plan(chosen(asked.paths), asked.turns, asked.suites)
    run = run_of(commit, (asked.turns, asked.suites, *asked.paths))
    until_s = time.monotonic() + asked.hours * 3600
    there = {(one.what, one.turn) for one in read(asked.state) if one.run == run}
    left = [place for place in wanted if place not in there]
    say(f"soak of {run}: {len(wanted) - len(left)} of {len(wanted)} have run")
    with loaded(), asked.state.open("a", encoding="utf-8") as state:
        for number, (what, turn) in enumerate(left, len(wanted) - len(left) + 1):
            if time.monotonic() > until_s:
                break
            done = once(run, what, turn)
            state.write(json.dumps(asdict(done)) + "\n")
            state.flush()
            said = ", ".join(done.failed) or "passed"
            say(f"{number} of {len(wanted)}: {what}, turn {turn + 1}, {done.seconds} s: {said}")
    found = failures(read(asked.state), wanted, run)
    if found is None:
        say("not complete: call it again, it goes on")
        return 3
    say(f"complete; failures: {len(found)}")
    for name in found:
        say(f"  {name}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
