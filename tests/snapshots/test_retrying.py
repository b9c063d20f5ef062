"""A disk that is full: said aloud, tried again after growing pauses, nothing skipped and nothing twice."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import cast

import duckdb
import orjson
import pytest

from streams.errors import UnavailableError
from streams.queries.store import Store
from streams.snapshots.retrying import PAUSE_MAX_S, RetryingWriter
from streams.snapshots.writer import STEPS, Writer
from tests.patience import PATIENCE_S
from tests.snapshots.build import T0_NS
from tests.snapshots.test_writer import batch

#: Runs apart from the tests, because the limit holds for every file of its process. The limit is lifted at
#: the third pause.
_FILLED = """
    import resource, sys
    from pathlib import Path
    import orjson
    from streams.snapshots.retrying import RetryingWriter
    from streams.snapshots.writer import Writer
    from tests.snapshots.build import T0_NS
    from tests.snapshots.test_writer import batch

    said, pauses = [], []

    def wait(pause_s):
        pauses.append(pause_s)
        if len(pauses) % 3 == 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return False

    def fill(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    patient = RetryingWriter(Writer.open(Path(sys.argv[1])), said.append, wait)
    patient.ingest({0: [batch(0), batch(1)]}, {0: 2}, T0_NS)
    patient.publish(T0_NS)
    fill(20_000)
    patient.ingest({0: [batch(offset) for offset in range(2, 200)]}, {0: 200}, T0_NS)
    patient.publish(T0_NS)
    patient.ingest({0: [batch(offset) for offset in range(200, 210)]}, {0: 210}, T0_NS)
    fill(600)
    patient.publish(T0_NS)
    print(orjson.dumps({"said": said, "pauses": pauses}).decode())
"""


def stored(path: Path) -> list[int]:
    with Store.open(path) as store:
        return [first for (first,) in store.sql('SELECT "first" FROM events ORDER BY 1').rows]


def test_a_full_disk_is_waited_out_and_nothing_is_skipped(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_FILLED), str(tmp_path / "store")],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    found = orjson.loads(done.stdout)
    assert found["pauses"] == [0.5, 1, 2] * 2
    assert all(
        "cannot be written (File too large" in sentence and "nothing is lost" in sentence
        for sentence in found["said"]
    )
    assert stored(tmp_path / "store") == [offset * 20 for offset in range(210)]


@pytest.mark.parametrize("step", STEPS[:5])
def test_a_failure_after_any_step_is_repaired_without_a_restart(tmp_path: Path, step: int) -> None:
    failures = [OSError(28, "No space left on device")] * 2

    def fail(done: int) -> None:
        if done == step and failures:
            raise failures.pop()

    writer = Writer.open(tmp_path / "store", after_step=fail)
    pauses: list[float] = []

    def wait(pause_s: float) -> bool:
        pauses.append(pause_s)
        return False

    patient = RetryingWriter(writer, lambda _: None, wait)
    try:
        for number in range(4):
            patient.ingest({0: [batch(number)]}, {0: number + 1}, T0_NS)
            patient.publish(T0_NS)
    finally:
        writer.close()
    assert pauses
    assert stored(tmp_path / "store") == [0, 20, 40, 60]


class FullStore:
    """Stands for a writer whose disk stays full."""

    path = Path("store")

    def reopen(self) -> None:
        raise duckdb.IOException('Could not write file "store/hot.duckdb.wal": No space left on device')

    def publish(self, now_ns: int) -> int | None:
        raise OSError(28, "No space left on device")


def test_pauses_grow_to_a_bound_and_a_stop_ends_them_with_a_sentence() -> None:
    pauses: list[float] = []
    said: list[str] = []

    def wait(pause_s: float) -> bool:
        pauses.append(pause_s)
        return len(pauses) == 8

    with pytest.raises(UnavailableError, match=r"No space left on device.*goes on where it stopped"):
        RetryingWriter(cast("Writer", FullStore()), said.append, wait).publish(T0_NS)
    assert pauses == [0.5, 1, 2, 4, *[PAUSE_MAX_S] * 4]
    assert len(said) == len(pauses)
    assert {sentence.partition("; ")[0] for sentence in said} == {
        "the store store cannot be written (No space left on device)"
    }


class LostStore(FullStore):
    """Stands for a writer whose file DuckDB gave up: nothing works before it is opened again."""

    reopened = False

    def reopen(self) -> None:
        self.reopened = True

    def publish(self, now_ns: int) -> int | None:
        if not self.reopened:
            raise duckdb.FatalException("the database has been invalidated because of a previous fatal error")
        return 7


def test_a_file_that_duckdb_gave_up_is_opened_again() -> None:
    pauses: list[float] = []

    def wait(pause_s: float) -> bool:
        pauses.append(pause_s)
        return len(pauses) > 3

    assert RetryingWriter(cast("Writer", LostStore()), lambda _: None, wait).publish(T0_NS) == 7
    assert pauses == [0.5]
