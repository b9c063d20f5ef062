"""What late samples replaced is found, with the answers that relied on it, by whoever is shown it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from streams.events.batch import Batch
from streams.events.record import StoredRecord
from streams.queries import questions
from streams.queries.completeness import completeness
from streams.queries.role import Role
from streams.queries.store import Store
from streams.queries.superseded import OutdatedAnswer, SupersededEvent, superseded
from streams.snapshots.writer import Writer
from streams.topology import LINEAGE
from tests import build

MS_NS = 1_000_000


def imu(first: int, place: str = "work") -> Batch:
    return build.imu(1.2, first, 20, place=place)


def asked(number: int, after_ms: int) -> Batch:
    return build.query(number, "wake me at seven", build.T0_NS + after_ms * MS_NS, place="work")


def stored(path: Path, batches: Sequence[Batch]) -> Path:
    """A store of everything that became of some batches, one in each fetch and each epoch."""
    records, _ = build.process(build.core(), build.cut(batches, [1]))
    lines = [record for record in records if record.topic == LINEAGE]
    writer = Writer.open(path)
    try:
        for offset, line in enumerate(lines):
            one = StoredRecord(offset, line.timestamp_ms, line.key, line.value)
            writer.ingest({0: [one]}, {0: offset + 1}, build.T0_NS)
            writer.publish(build.T0_NS)
    finally:
        writer.close()
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two answers rely on an event that a late batch replaces; a third is given after it."""
    batches = [imu(0), imu(40), asked(0, 450), imu(60), asked(1, 460), imu(80), imu(100)]
    batches += [imu(20), asked(2, 2000)]
    # The same in a clinic, where an analyst is shown nothing.
    batches += [imu(number, "clinic") for number in (200, 240, 260, 280, 220)]
    return stored(tmp_path_factory.mktemp("superseded") / "s", batches)


def test_answers_that_relied_on_what_was_replaced_are_found(path: Path) -> None:
    with Store.open(path) as opened:
        answer = superseded(opened)
        assert list(answer.superseded) == [
            SupersededEvent("g1/activity/0", "g1/activity/0.1", 2),
            SupersededEvent("g1/activity/40", "g1/activity/0.1", 0),
            SupersededEvent("g1/activity/200", "g1/activity/200.1", 0),
            SupersededEvent("g1/activity/240", "g1/activity/200.1", 0),
        ]
        assert list(answer.answers) == [
            OutdatedAnswer("g1/answer/0", "g1/activity/0", "g1/activity/0.1"),
            OutdatedAnswer("g1/answer/1", "g1/activity/0", "g1/activity/0.1"),
        ]
        # The walk of the question `ancestors` says the same of each answer.
        cited = {
            number: {row.id for row in questions.ancestors(opened, f"g1/answer/{number}").ancestors}
            & {"g1/activity/0", "g1/activity/40", "g1/activity/0.1"}
            for number in range(3)
        }
        assert cited[0] == cited[1] == {"g1/activity/0"}
        assert "g1/activity/0.1" in cited[2]


def test_the_statement_of_the_page_finds_the_same(path: Path) -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "sql.md").read_text(encoding="utf-8")
    (statement,) = re.findall(r"```sql\n(SELECT parent_id AS replaced.*?)```", page, re.DOTALL)
    with Store.open(path) as opened:
        rows = opened.sql(statement).rows
        assert rows == sorted((event.id, event.by) for event in superseded(opened).superseded)
        assert len(rows) == 4


def test_a_role_is_told_of_what_it_is_shown_only(path: Path) -> None:
    with Store.open(path, Role.of("analyst")) as opened:
        assert [event.id for event in superseded(opened).superseded] == ["g1/activity/0", "g1/activity/40"]


def test_the_parents_of_every_revision_are_stored(path: Path) -> None:
    with Store.open(path) as opened:
        whole = {stream.stream: stream.outputs - stream.resolved for stream in completeness(opened).streams}
        assert (whole["activity"], whole["situation"]) == (0, 0)
        assert not opened.sql("SELECT reason FROM rejected WHERE stage = 'snapshots'").rows
        assert opened.sql(
            "SELECT id, count(DISTINCT parent_id) FROM event_records JOIN edge_records ON id = child_id "
            "WHERE kind = 'activity' AND zone = 'public' GROUP BY id ORDER BY id"
        ).rows == [
            ("g1/activity/0", 20),
            ("g1/activity/0.1", 102),
            ("g1/activity/100", 20),
            ("g1/activity/40", 60),
        ]
