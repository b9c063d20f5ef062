"""A reader that keeps its epoch while the writer goes on, and one that has too little memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from streams import clock, limits
from streams.cli.main import main
from streams.errors import UnavailableError
from streams.queries import questions
from streams.queries.role import Role
from streams.queries.store import Store
from streams.snapshots.writer import Writer
from tests.snapshots.build import POLICY, T0_NS, batch, derived, edge, stream, tables

ANALYST = Role.of("analyst")
STATEMENTS = (
    "SELECT stream, number, zone FROM event_records ORDER BY ALL",
    "SELECT child_id, parent_id FROM edge_records ORDER BY ALL",
    "FROM streams ORDER BY ALL",
)
#: Of several epochs, so that they lie in files of their own before the first fold.
IDS = ("g1/activity/0", "g1/activity/10", "g1/activity/20")


class Following:
    """A writer at work, and the clock that its graces go by."""

    def __init__(self, path: Path, patch: pytest.MonkeyPatch) -> None:
        for name, value in {"FOLD_EPOCHS_MIN": 4, "RESIDUE_ROWS": 3}.items():
            patch.setattr(limits, name, value)
        self._now_s, self._number = 1000.0, 0
        patch.setattr(clock, "monotonic_s", lambda: self._now_s)
        self.path = path
        self.writer = Writer.open(path, fold="inline")

    def publish(self, epochs: int) -> None:
        for _ in range(epochs):
            number, self._number = self._number, self._number + 10
            rows = {
                "policies": [POLICY] * (number == 0),
                "streams": [stream("g1", "imu"), stream("g1", "activity", "activity", captured=False)],
                "events": [batch("g1", "imu", number, 10), derived("g1", "activity", number)],
                "edges": [edge(("g1", "activity", number), ("g1", "imu", number), parent_width=10)],
            }
            self.writer.ingest_tables(tables(rows), 0)
            self.writer.publish(T0_NS + self._number)

    def pass_s(self, seconds: float) -> None:
        self._now_s += seconds


@pytest.fixture
def following(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Following]:
    made = Following(tmp_path / "store", monkeypatch)
    yield made
    made.writer.close()


def answers(opened: Store) -> list[Any]:
    return [
        *(questions.ancestors(opened, one) for one in IDS),
        *(questions.why(opened, one) for one in IDS),
        *(opened.sql(one) for one in STATEMENTS),
    ]


def test_a_reader_that_keeps_its_epoch_is_answered_as_if_nobody_wrote(
    tmp_path: Path, following: Following
) -> None:
    following.publish(6)
    shutil.copytree(following.path, tmp_path / "stood", symlinks=True)
    expected, opened = [], []
    for role in (None, ANALYST):
        with Store.open(tmp_path / "stood", role) as calm:
            expected.append(answers(calm))
        opened.append((Store.open(following.path, role), Store.open(following.path, role)))
        assert answers(opened[-1][0]) == expected[-1]
    following.publish(6)
    following.pass_s(limits.SUPERSEDED_GRACE_S - 1)
    following.publish(1)
    assert following.writer._hot.files.superseded()
    for said, (kept, asked_late) in zip(expected, opened, strict=True):
        with kept, asked_late:
            assert answers(kept) == said
            assert answers(asked_late) == said
    with Store.open(following.path, ANALYST) as anew:
        assert len(anew.sql(STATEMENTS[0]).rows) > len(expected[0][-3].rows)


def _asks(question: Callable[[Store, str], Any], identity: str) -> Callable[[Store], Any]:
    return lambda opened: question(opened, identity)


@pytest.mark.parametrize("catalogs", [1, 16], ids=["catalog gone", "catalog there"])
def test_a_reader_whose_files_are_gone_is_told_that_its_epoch_is_over(
    following: Following, monkeypatch: pytest.MonkeyPatch, catalogs: int
) -> None:
    monkeypatch.setattr(limits, "CATALOGS_MAX", catalogs)
    asked: list[Callable[[Store], Any]] = [
        _asks(questions.why, IDS[2]),
        lambda opened: opened.sql(STATEMENTS[0]),
        lambda opened: opened.sql(STATEMENTS[2]),
    ]
    following.publish(3)
    opened = [
        (Store.open(following.path, role), question) for role in (None, ANALYST) for question in asked * 2
    ]
    for store, _ in opened[::2]:
        questions.ancestors(store, IDS[0])
    before = {path.name for path in (following.path / "segments").iterdir()}
    following.publish(5)
    following.pass_s(limits.SUPERSEDED_GRACE_S + 1)
    following.publish(2)
    assert not before & {path.name for path in (following.path / "segments").iterdir()}
    for store, question in opened:
        with store, pytest.raises(UnavailableError, match=r"was replaced more than 60 s ago.*ask again"):
            question(store)
    for role in (None, ANALYST):
        with Store.open(following.path, role) as anew:
            for question in asked:
                question(anew)


@pytest.mark.parametrize("limit", ["READER_MEMORY_MB", "ROLE_MEMORY_MB"])
@pytest.mark.parametrize(
    "command",
    [("ask", "ancestors", IDS[0]), ("ask", "missing"), ("sql", STATEMENTS[0]), ("sql", STATEMENTS[1])],
    ids=" ".join,
)
def test_too_little_memory_is_a_sentence(
    following: Following, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], limit: str
) -> None:
    following.publish(6)
    monkeypatch.setattr(limits, limit, 1)
    done = CliRunner().invoke(main, [*command, "--store", str(following.path), "--role", "analyst"])
    if done.exit_code:
        assert done.exit_code == 3
        assert "1 MB" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    else:
        # The statements of people alone run in the role's own DuckDB.
        assert (command[0], limit) == ("ask", "ROLE_MEMORY_MB")
