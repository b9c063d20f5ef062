"""A published store is read by DuckDB of several versions, by plain SQL and by questions; so is an export.

It is read in place, moved, mounted elsewhere, and from inside another store, folded and with what came since.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest
from click.testing import CliRunner

from streams.cli.main import main
from streams.snapshots.writer import Writer
from tests.snapshots.build import POLICY, T0_NS, Row, edge, event, row, store, stream, tables, tagged

pytestmark = pytest.mark.matrix
VERSIONS = ("1.5.0", "1.5.6", "2.0.0")
ROOT = Path(__file__).parents[2]
READER, ASKER = Path(__file__).with_name("read_store.py"), Path(__file__).with_name("ask_store.py")
#: More than a fold waits for, and some beyond.
EPOCHS = 20
ANSWERS = {"home-private": 6, "voice-assistant": EPOCHS}


class Places(NamedTuple):
    """A store's directory, and the working directory of who reads it."""

    directory: Path
    inside: Path


@pytest.fixture(scope="module", params=VERSIONS)
def packages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with this DuckDB and nothing else."""
    directory = tmp_path_factory.mktemp(f"duckdb-{request.param}")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    made = subprocess.run(
        [*pip, "--target", directory, f"duckdb=={request.param}"],
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
    return directory


def epoch(number: int) -> dict[str, list[Row]]:
    """An answer, what it was made of, and one that an analyst is not shown, now and then."""
    events = [
        event("g1", "imu", 20 * number, 20, **tagged("imu", "public", wearer="w1")),
        event("g1", "voice-query", number, **tagged("voice_query", "voice-assistant", wearer="w1")),
        event("g1", "answer", number, **tagged("voice_query", "voice-assistant") | {"kind": "answer"}),
        event("g1", "ppg", number, **tagged("ppg", "health", wearer="w1")),
    ]
    if number < ANSWERS["home-private"]:
        events.append(event("g2", "answer", number, **tagged("imu", "home-private") | {"kind": "answer"}))
    edges = [
        edge(("g1", "answer", number), ("g1", "voice-query", number), operator="answer"),
        edge(("g1", "voice-query", number), ("g1", "imu", 20 * number), parent_width=20),
    ]
    return {
        "events": events,
        "edges": edges,
        "streams": [stream(one["source"], one["stream"]) for one in events],
    }


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Places]:
    """The same store in place, moved, mounted, and read from inside another store."""
    directory = tmp_path_factory.mktemp("stores")
    ours = directory / "lineage-store"
    writer = Writer.open(ours, fold="inline")
    made = {
        "policies": [POLICY],
        "models": [row("models", source="training", stream="intent-model", version=1)],
    }
    for rows in (made, *map(epoch, range(EPOCHS))):
        writer.ingest_tables(tables(rows), T0_NS)
        writer.publish(T0_NS)
    writer.close()
    with duckdb.connect(str((ours / "catalog.duckdb").resolve()), read_only=True) as connection:
        ages = connection.sql("SELECT DISTINCT fresh FROM segments WHERE table_name = 'edges'").fetchall()
        assert len(ages) == 2, "some are folded, and some came since"
        assert connection.sql("FROM indexes").fetchall()
    other = store(directory / "other", {"events": [event("g9", "answer", 0, kind="answer", zone="health")]})
    moved, mounted = directory / "elsewhere" / "moved", directory / "mnt"
    shutil.copytree(ours, moved, symlinks=True)
    mounted.symlink_to(ours)
    return {
        "in place": Places(ours, ours),
        "moved": Places(moved, directory),
        "mounted": Places(mounted, directory),
        "inside another store": Places(ours, other),
        "moved, inside another store": Places(moved, other),
    }


def said(packages: Path, script: Path, places: Sequence[tuple[Path, ...]], *arguments: str) -> list[Any]:
    """What a script prints about each of some places with this DuckDB."""
    result = subprocess.run(
        [sys.executable, script, json.dumps(places, default=str), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(packages), str(ROOT)))},
    )
    assert result.returncode == 0, result.stderr
    found: list[Any] = json.loads(result.stdout)
    assert all(one["version"] in packages.name for one in found)
    return found


def test_every_version_reads_it_wherever_it_stands(packages: Path, places: dict[str, Places]) -> None:
    catalogs = [((each / "catalog.duckdb").resolve(), each, inside) for each, inside in places.values()]
    for place, found in zip(places, said(packages, READER, catalogs), strict=True):
        assert dict(found["answers"]) == ANSWERS, place
        counts = found["counts"]
        assert counts["event_records"] == 23 * EPOCHS + ANSWERS["home-private"]
        assert (counts["edge_records"], counts["models"], counts["streams"]) == (21 * EPOCHS, 1, 5)
        assert counts["epochs"] == EPOCHS + 1
        assert {"decisions", "rejected", "inputs", "policies", "shadow", "zone_runs"} <= counts.keys()


def test_every_version_answers_questions_wherever_it_stands(
    packages: Path, places: dict[str, Places]
) -> None:
    asked = {
        f"g1/answer/{number}": [
            [1, f"g1/voice-query/{number}", 1, ["voice-assistant"]],
            [2, f"g1/imu/{20 * number}", 20, ["public"]],
        ]
        for number in (0, EPOCHS - 1)
    }
    shown = {"home-private": ANSWERS["home-private"], "public": 20 * EPOCHS, "voice-assistant": 2 * EPOCHS}
    for place, found in zip(places, said(packages, ASKER, [*places.values()], *asked), strict=True):
        assert found["ancestors"] == asked, place
        assert dict(found["counted"]) == shown, place


def test_every_version_opens_an_export(packages: Path, places: dict[str, Places], tmp_path: Path) -> None:
    out = tmp_path / "exported.duckdb"
    arguments = ["--store", str(places["in place"].directory), "--role", "analyst", "--out", str(out)]
    result = CliRunner().invoke(main, ["snapshots", "export", *arguments])
    assert result.exit_code == 0, result.stderr
    [found] = said(packages, READER, [(out, tmp_path, tmp_path)])
    assert dict(found["answers"]) == {"voice-assistant": EPOCHS}
    # The Parquet of the store says what an export may hold: what is public or was asked aloud.
    with duckdb.connect() as connection:
        listed = str(places["in place"].directory / "segments" / "events-*.parquet")
        shown = "zone IN ('public', 'voice-assistant')"
        whole = connection.execute(
            f'SELECT sum("count") FROM (SELECT DISTINCT * FROM read_parquet(?)) WHERE {shown}', [listed]
        ).fetchall()[0][0]
    assert found["counts"]["event_records"] == whole
