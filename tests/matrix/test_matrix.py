"""A published store is read by plain DuckDB of several versions.

It is read in place, moved, mounted elsewhere, and from inside another store.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.snapshots.build import event, row, store, stream

pytestmark = pytest.mark.matrix
VERSIONS = ("1.5.0", "1.5.6", "2.0.0")
READER = Path(__file__).with_name("read_store.py")
ANSWERS = {"home-private": 2, "public": 3}


@pytest.fixture(scope="module", params=VERSIONS)
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has this DuckDB and nothing else."""
    directory = tmp_path_factory.mktemp(f"duckdb-{request.param}")
    subprocess.run([sys.executable, "-m", "venv", directory], check=True)
    made = subprocess.run(
        [
            directory / "bin" / "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            f"duckdb=={request.param}",
        ],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    if made.returncode:
        pytest.skip(
            f"DuckDB {request.param} cannot be installed here:"
            f" {(made.stderr.strip().splitlines() or ['no message'])[-1]}"
        )
    return directory / "bin" / "python"


def read(python: Path, directory: Path, inside: Path) -> dict[str, Any]:
    catalog = (directory / "catalog.duckdb").resolve()
    result = subprocess.run(
        [python, READER, catalog, directory],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=inside,
    )
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_every_version_reads_it_wherever_it_stands(python: Path, tmp_path: Path) -> None:
    streams = [stream("g1", "answer", "answer", captured=False), stream("g1", "imu")]
    answers = [
        event("g1", "answer", i, kind="answer", zone="home-private" if i < 2 else "public") for i in range(5)
    ]
    ours = store(
        tmp_path / "lineage-store",
        {"streams": streams, "events": [*answers, event("g1", "imu", 0, 20)]},
        {
            "models": [
                row("models", source="training", stream="intent-model", version=1, examples=3, accuracy=0.5)
            ]
        },
    )
    other = store(
        tmp_path / "other-store",
        {"streams": streams[:1], "events": [event("g9", "answer", 0, kind="answer", zone="health")]},
    )
    moved = tmp_path / "elsewhere" / "moved"
    shutil.copytree(ours, moved, symlinks=True)
    mounted = tmp_path / "mnt"
    mounted.symlink_to(ours)
    for directory, inside in (
        (ours, ours),
        (moved, tmp_path),
        (mounted, tmp_path),
        (ours, other),
        (moved, other),
    ):
        found = read(python, directory, inside)
        assert dict(found["answers"]) == ANSWERS
        assert (found["counts"]["event_records"], found["counts"]["models"], found["counts"]["streams"]) == (
            25,
            1,
            2,
        )
        assert {"edges", "edge_records", "decisions", "rejected", "epochs", "inputs", "policies"} <= found[
            "counts"
        ].keys()
