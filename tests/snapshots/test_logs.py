"""Offsets stay with the log that they are of: learned once, refused when it is another, begun anew."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from streams import limits
from streams.errors import InputError
from streams.events.record import LogId
from streams.queries.missing import LogRow, missing
from streams.queries.store import Store
from streams.replay.inputs import read_inputs
from streams.snapshots.writer import Writer
from tests.snapshots import build

FIRST, REMADE, OTHER = LogId("c1", "t1"), LogId("c1", "t2"), LogId("c2", "t3")


def take(writer: Writer, offset: int, number: int) -> None:
    """A record with one captured event at an offset."""
    rows = {"events": [build.batch("g1", "imu", number)], "streams": [build.stream("g1", "imu")]}
    writer.ingest({0: [build.record(offset, rows)]}, {0: offset + 1}, build.T0_NS)


def logs(path: Path) -> list[tuple[int, str, str, int | None]]:
    with Store.open(path) as store:
        return store.sql("SELECT epoch, cluster, topic, offsets[0] FROM epochs ORDER BY epoch").rows


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A store with an epoch of the first log, and a row that waits."""
    writer = Writer.open(tmp_path)
    assert writer.follow(FIRST) == ""
    began = build.row("inputs", kind="policy", agent="glasses", topic="glasses.policies")
    began["value"] = build.HOUSEHOLD.version
    writer.ingest_tables(build.tables({"policies": [build.POLICY], "inputs": [began]}), build.T0_NS)
    take(writer, 0, 0)
    writer.publish(build.T0_NS)
    take(writer, 1, 1)
    writer.close()
    return tmp_path


@pytest.mark.parametrize("other", [REMADE, OTHER])
def test_another_log_is_refused_and_changes_nothing(filled: Path, other: LogId) -> None:
    writer = Writer.open(filled)
    for _ in range(2):
        with pytest.raises(InputError, match=f"found {other}, expected {FIRST}") as refused:
            writer.follow(other)
    assert "--adopt" in str(refused.value)
    assert writer.follow(FIRST) == ""
    assert writer.offsets() == {0: 2}
    writer.publish(build.T0_NS)
    writer.close()
    assert logs(filled) == [(1, "c1", "t1", 1), (2, "c1", "t1", 2)]


def test_adopted_it_is_read_from_its_beginning_and_epochs_and_answers_say_so(filled: Path) -> None:
    writer = Writer.open(filled)
    assert not writer.adopt(FIRST, build.T0_NS), "the same log is no other"
    assert writer.adopt(OTHER, build.T0_NS)
    assert writer.offsets() == {}
    take(writer, 0, 2)
    writer.publish(build.T0_NS)
    writer.close()
    assert logs(filled) == [(1, "c1", "t1", 1), (2, "c1", "t1", 2), (3, "c2", "t3", 1)], (
        "each epoch is of one"
    )
    with Store.open(filled) as store:
        answer = missing(store)
    assert answer.log == LogRow("c2", "t3", 3)
    assert (answer.offsets, answer.missing_events) == ({"0": 1}, 0)
    with pytest.raises(InputError, match=r"offsets of 2 brokers \(another one was adopted in epoch 3\)"):
        read_inputs(filled)


def test_history_is_thinned_but_the_last_epoch_of_a_log_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EPOCHS_AT_HAND_MAX", 4)
    monkeypatch.setattr(limits, "FOLD_EPOCHS_MIN", 2)
    day_ns = 86_400 * 10**9
    first_ns = build.T0_NS // day_ns * day_ns + day_ns // 2
    writer = Writer.open(tmp_path, fold="inline")
    writer.follow(FIRST)
    for number in range(14):
        if number == 3:
            assert writer.adopt(REMADE, first_ns)
        take(writer, number, number)
        writer.publish(first_ns + number * 10**9 + (number >= 6) * 3 * day_ns)
    writer.settle(first_ns + 4 * day_ns)
    writer.close()
    found = {epoch: topic for epoch, _, topic, _ in logs(tmp_path)}
    assert (found[3], found[4 + 2]) == ("t1", "t2"), "the last of the first log, and of its day"
    assert found.keys().isdisjoint({1, 2, 4, 5}), "nobody can ask about the others"


def test_a_topic_made_again_leaves_the_places_of_inputs_as_they_were(filled: Path) -> None:
    writer = Writer.open(filled)
    writer.adopt(REMADE, build.T0_NS)
    take(writer, 0, 2)
    writer.publish(build.T0_NS)
    writer.close()
    assert read_inputs(filled).policy.version == build.HOUSEHOLD.version


@pytest.mark.parametrize("refused", [True, False], ids=["another log", "no broker"])
def test_a_writer_that_ends_before_it_reads_leaves_the_offsets_as_they_are(
    filled: Path, refused: bool
) -> None:
    with contextlib.closing(Writer.open(filled)) as writer:
        before = writer.offsets()
    assert before
    with contextlib.closing(Writer.open(filled)) as writer:
        if refused:
            with pytest.raises(InputError, match="another log"):
                writer.follow(OTHER)
    with contextlib.closing(Writer.open(filled)) as writer:
        assert writer.offsets() == before


def test_a_store_that_never_knew_learns_it_and_says_so(tmp_path: Path) -> None:
    writer = Writer.open(tmp_path)
    take(writer, 0, 0)
    writer.publish(build.T0_NS)
    assert "did not say which log" in writer.follow(FIRST)
    with pytest.raises(InputError, match="another log"):
        writer.follow(OTHER)
    writer.close()


@pytest.mark.parametrize("known", [LogId(), LogId("c1")])
def test_where_nobody_can_tell_who_adopts_is_believed(tmp_path: Path, known: LogId) -> None:
    writer = Writer.open(tmp_path)
    writer.follow(known)
    take(writer, 0, 0)
    assert writer.adopt(known, build.T0_NS)
    assert writer.offsets() == {}
    writer.close()
