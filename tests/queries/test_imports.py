"""What a question waits for before it is asked: the packages that the command imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.snapshots.build import POLICY, derived, edge, store, stream

_MAIN = """
import sys
from streams.cli.main import main
main(sys.argv[1:], standalone_mode=False)
print(*sorted(sys.modules))
"""
#: Packages and modules that cost more than an answer.
NEVER = {"asyncio", "ssl", "difflib", "numpy", "pyarrow", "faust", "aiokafka", "cel"}
#: Rooms that a question has nothing to do with, and what statements of people run in.
OTHERS = {"streams.kafka", "streams.snapshots", "streams.lineage", "streams.queries.boundary"}
#: Each is needed to answer: the rest (numpy 65 ms, pyarrow 100 ms, a terminal 175 ms) is for others to wait
#: for.
MAY_IMPORT = {"typing_extensions", "click", "duckdb", "msgspec", "orjson", "xxhash", "cel", "streams"}


def test_a_question_imports_what_it_needs(tmp_path: Path) -> None:
    path = store(
        tmp_path / "s",
        {
            "policies": [POLICY],
            "streams": [stream("g1", "activity", "activity", captured=False)],
            "events": [derived("g1", "activity", 5)],
            "edges": [edge(("g1", "activity", 5), ("g1", "imu-right", 0))],
        },
    )
    asked = ["ask", "ancestors", "g1/activity/5", "--store", str(path), "--role", "analyst"]
    done = subprocess.run([sys.executable, "-c", _MAIN, *asked], capture_output=True, text=True, check=True)
    bare = [sys.executable, "-c", "import sys, sysconfig, duckdb; print(*sorted(sys.modules))"]
    others = subprocess.run(bare, capture_output=True, text=True, check=True).stdout.split()
    modules = set(done.stdout.splitlines()[-1].split())
    here = {name.partition(".")[0].lstrip("_") for name in modules}
    foreign = here - {name.partition(".")[0].lstrip("_") for name in (*others, *sys.stdlib_module_names)}
    assert foreign <= MAY_IMPORT
    assert not modules & (NEVER | OTHERS)
    assert "activity" in done.stdout
