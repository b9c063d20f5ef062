"""The soak goes on where it stopped, and names what failed in a complete run only."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from tests.soak import SUITE, Done, chosen, failures, plan, read, run_of


def test_what_has_a_broker_or_a_clock_is_chosen() -> None:
    found = chosen(["tests"])
    assert {"tests/kafka/test_groups.py", "tests/test_waiting.py", "tests/e2e/test_demo.py"} <= set(found)
    assert "tests/policy/test_bounds.py" not in found


def test_a_run_is_complete_when_each_turn_has_run_and_belongs_to_a_commit(tmp_path: Path) -> None:
    wanted = plan(["a.py", "b.py"], 2, 1)
    assert wanted == [("a.py", 0), ("b.py", 0), ("a.py", 1), ("b.py", 1), (SUITE, 0)]
    run, other = run_of("c1", (2, 1)), run_of("c2", (2, 1))
    state = tmp_path / "state.jsonl"
    done = [Done(run, what, turn, 1.0, ("a.py::t",) if what == "a.py" else ()) for what, turn in wanted]
    lines = [json.dumps(asdict(one)) for one in done]
    state.write_text("\n".join([*lines[:-1], lines[-1][:20]]), encoding="utf-8")
    assert failures(read(state), wanted, run) is None, "the last line was torn"
    state.write_text("\n".join(lines), encoding="utf-8")
    assert failures(read(state), wanted, run) == ["a.py::t (2 times)"]
    assert failures(read(state), wanted, other) is None
    assert read(tmp_path / "none") == []
