"""A store grows at a small limit of memory: no fold fails, files stay few, and the writer's memory level."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from streams import limits
from tests.snapshots.contents import ask


@pytest.mark.parametrize(
    ("rows", "epochs", "fold_memory_mb", "chunk_rows"),
    [
        pytest.param(60_000, 20, 16, 2_000, id="60 thousand rows"),
        pytest.param(3_000_000, 60, 64, 33_000, id="3 million rows", marks=pytest.mark.slow),
    ],
)
def test_a_store_grows_at_a_small_limit_of_memory(
    tmp_path: Path, rows: int, epochs: int, fold_memory_mb: int, chunk_rows: int
) -> None:
    store = tmp_path / "store"
    command = [
        sys.executable,
        "-m",
        "tests.snapshots.growth",
        store,
        rows,
        epochs,
        fold_memory_mb,
        chunk_rows,
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    found = orjson.loads(done.stdout)
    assert found["failed"] == 0
    peaks_mb = found["peaks_mb"]
    third_mb, last_mb = peaks_mb[epochs // 3], peaks_mb[-1]
    assert last_mb <= 1.25 * third_mb, peaks_mb
    assert ask(store, "SELECT count(*) FROM segments")[0][0] <= limits.CURRENT_FILES_MAX
    said = "count(*), count(DISTINCT digest), sum(\"count\"), bool_or(source <> replace(wearer, 'w', 'g'))"
    assert ask(store, f"SELECT {said} FROM events") == [(rows, rows, 20 * rows, False)]
    # Of each stream every number stands once.
    overlap = (
        'SELECT max(last - low + 1), sum(events) FROM (SELECT source, min("first") AS low, '
        'max("first" + "count" - 1) AS last, sum("count") AS events FROM events GROUP BY source '
        'HAVING sum("count") <> max("first" + "count") - min("first"))'
    )
    assert ask(store, overlap) == [(None, None)]
