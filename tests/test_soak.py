"""A soak continues where it stopped, names failures only of complete runs, and keeps their output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from tests.soak import (
    CHOSEN,
    RESULTS,
    SUITE,
    Turn,
    chosen,
    commit,
    failures,
    once,
    plan,
    pytest_of,
    read,
    run_of,
    waits,
)

pytest_plugins = "pytester"
#: A turn that starts something and waits for it.
SLEEPS = ["sh", "-c", "sleep 600 & echo $!; wait"]


def test_files_with_a_broker_or_a_clock_are_chosen() -> None:
    files = set(chosen(["tests"]))
    assert {"tests/kafka/test_groups.py", "tests/e2e/test_demo.py", "tests/queries/test_prompt.py"} <= files
    # A replaced clock and `sleep(0)` take no time.
    assert not {"tests/policy/test_bounds.py", "tests/queries/test_scarcity.py", "tests/test_logs.py"} & files


@pytest.mark.parametrize(
    ("line", "waited"),
    [
        ("await asyncio.sleep(0.1)", True),
        ("await sleep(wait_s)", True),
        ("await asyncio.sleep(0)", False),
        ("async with asyncio.timeout(5): pass", True),
        ("began_s = time.monotonic()", True),
        ('patch.setattr(clock, "monotonic_s", now)', False),
    ],
)
def test_what_passes_real_time_is_a_wait(line: str, waited: bool, tmp_path: Path) -> None:
    text = f"""
async def until():
    {line}
@pytest.fixture
def ready(): return until()
def test_that_asks_for_it(ready): pass
def test_that_does_not(): pass
"""
    (tmp_path / "test_it.py").write_text(text, encoding="utf-8")
    expected = {"until", "ready", "test_that_asks_for_it"} if waited else set()
    assert waits(tmp_path / "test_it.py") == expected


def test_only_tests_that_ask_for_a_broker_or_wait_are_run(pytester: pytest.Pytester) -> None:
    root = Path(__file__).parents[1]
    pytester.makeini("[pytest]\nmarkers = kafka\n")
    pytester.makeconftest(
        "from tests.conftest import pytest_addoption, pytest_collection_modifyitems\nimport pytest\n"
        "@pytest.fixture\ndef broker(): return 'nowhere'\n"
    )
    pytester.makepyfile(
        test_of_both="def test_asks(broker): pass\ndef test_asks_for_nothing(): pass\n",
        test_of_clocks="import time\ndef test_waits(): time.sleep(0.001)\ndef test_does_not(): pass\n",
    )
    pytester.syspathinsert(root)
    for arguments, passed, left in ((["--soak"], 2, 2), (["-m", "kafka"], 1, 3), ([], 4, 0)):
        result = pytester.runpytest("-q", "-p", "no:asyncio", *arguments)
        result.assert_outcomes(passed=passed, deselected=left)


def test_a_shared_broker_is_stopped_after_the_last_file_that_uses_it(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    class Node:
        address = "nowhere"

        def start(self, _directory: Path, _port: int) -> None:
            events.append("start")

        def stop(self) -> None:
            events.append("stop")

    monkeypatch.setattr("tests.conftest.EmbeddedBroker", Node)
    monkeypatch.setattr("builtins.ran", events.append, raising=False)
    pytester.makeini("[pytest]\nmarkers = kafka\n")
    pytester.makeconftest(
        "from tests.conftest import broker, pytest_addoption, pytest_collection_modifyitems\n"
        "from tests.conftest import pytest_runtest_teardown\n"
    )
    asks = "def test_asks(broker): ran(broker)\ndef test_asks_for_nothing(): ran('nothing')\n"
    pytester.makepyfile(test_a="def test_a(): ran('a')", test_b=asks, test_c=asks)
    pytester.syspathinsert(Path(__file__).parents[1])
    pytester.runpytest("-q", "-p", "no:asyncio").assert_outcomes(passed=5)
    # The last stop is the cleanup of the run, which finds the broker stopped.
    assert events == ["start", "nowhere", "nothing", "nowhere", "nothing", "stop", "a", "stop"]


def test_a_run_goes_on_at_commits_that_add_results_alone(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        as_somebody = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", *as_somebody, *arguments], cwd=tmp_path, check=True, capture_output=True)

    def change(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
        git("add", name)

    git("init")
    code, results = ("code.py", f"{RESULTS}/soak.jsonl")
    change(code, "1")
    git("commit", "-m", "code")
    first = commit(tmp_path)
    change(results, "1")
    assert commit(tmp_path) == first
    git("commit", "-m", "results")
    assert commit(tmp_path) == first
    change(code, "2")
    assert commit(tmp_path) == f"{first}-dirty"
    git("commit", "-m", "more code")
    assert commit(tmp_path) not in (first, f"{first}-dirty")


def test_a_run_is_complete_when_each_turn_has_run_and_belongs_to_a_commit(tmp_path: Path) -> None:
    wanted = plan(2, 1)
    assert wanted == [(SUITE, 0), (CHOSEN, 0), (CHOSEN, 1)]
    run, other = run_of("c1", (2, 1)), run_of("c2", (2, 1))
    state = tmp_path / "turns.jsonl"
    turns = [Turn(run, what, number, 1.0, ("a.py::t",) if what == CHOSEN else ()) for what, number in wanted]
    lines = [json.dumps(asdict(turn)) for turn in turns]
    state.write_text("\n".join([*lines[:-1], lines[-1][:20]]), encoding="utf-8")
    assert failures(read(state), wanted, run) is None, "the last line was torn"
    state.write_text("\n".join(lines), encoding="utf-8")
    assert failures(read(state), wanted, run) == ["a.py::t (2 times)"]
    assert failures(read(state), wanted, other) is None
    assert read(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("written", "code", "failed"),
    [
        ("3 passed", 0, ()),
        ("no tests ran", 5, ()),
        ("FAILED a.py::t[a b - c] - KeyError\nERROR b.py::u", 1, ("a.py::t[a b - c]", "b.py::u")),
        ("INTERNALERROR", 3, ("pytest ended with code 3",)),
    ],
)
def test_what_a_failed_turn_wrote_is_kept(
    written: str, code: int, failed: tuple[str, ...], tmp_path: Path
) -> None:
    log = tmp_path / "turn.txt"
    assert once([sys.executable, "-c", f"print({written!r}); raise SystemExit({code})"], log) == failed
    assert log.exists() == bool(failed)


def test_folders_of_tests_that_failed_are_kept(
    pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile("""
        import pytest
        @pytest.mark.parametrize("code", [0, 1])
        def test_of(code, tmp_path):
            (tmp_path / "process.log").touch()
            assert not code
    """)
    monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", str(tmp_path))
    monkeypatch.setattr("tests.soak.ROOT", pytester.path)
    turns = [once(pytest_of(SUITE, [], 1), tmp_path / "turn.txt") for _ in range(4)]
    assert turns == [("test_folders_of_tests_that_failed_are_kept.py::test_of[1]",)] * 4
    kept = [*tmp_path.rglob("process.log")]
    assert len(kept) == 4
    assert all("test_of_1" in str(log) for log in kept)


def test_a_turn_without_an_end_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.soak.TIMEOUT_S", 1.0)
    log = tmp_path / "turn.txt"
    assert once(SLEEPS, log) == ("no end after 1 s",)
    assert _ends(log)


def test_a_terminated_soak_ends_its_turn(tmp_path: Path) -> None:
    program = f"""
import pathlib, signal, subprocess
from tests import soak
class Started(subprocess.Popen):
    def wait(self, timeout=None):
        print("waits", flush=True)
        return super().wait(timeout)
subprocess.Popen = Started
signal.signal(signal.SIGTERM, soak.end)
soak.once({SLEEPS!r}, pathlib.Path("turn.txt"))
"""
    log, root = tmp_path / "turn.txt", str(Path(__file__).parents[1])
    given = {**os.environ, "PYTHONPATH": root}
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, env=given, stdout=subprocess.PIPE
    ) as soak:
        assert soak.stdout
        assert soak.stdout.readline() == b"waits\n"
        until_s = time.monotonic() + PATIENCE_S
        while not log.read_bytes() and time.monotonic() < until_s:
            time.sleep(0.01)
        soak.terminate()
        assert soak.wait(PATIENCE_S) == 128 + signal.SIGTERM
    assert _ends(log)


def _ends(log: Path) -> bool:
    """Whether the process ends whose number is in the output of a turn."""
    status = Path(f"/proc/{log.read_text(encoding='utf-8').strip()}/stat")
    until_s = time.monotonic() + PATIENCE_S
    while _runs(status) and time.monotonic() < until_s:  # SIGKILL was sent and takes effect soon
        time.sleep(0.01)
    return not _runs(status)


def _runs(status: Path) -> bool:
    try:
        return status.read_text(encoding="utf-8").split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
