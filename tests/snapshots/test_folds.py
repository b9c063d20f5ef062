"""What readers see is the same before and after any publishes and folds, at every epoch that is listed."""

from __future__ import annotations

import resource
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from streams import clock, limits
from streams.snapshots.epochs.hot import Hot
from streams.snapshots.files import chunks, index
from streams.snapshots.folds.fold import Fold, Folded
from streams.snapshots.writer import Writer
from tests.snapshots.build import POLICY, T0_NS, Row, batch, derived, edge, row, tables, tagged
from tests.snapshots.contents import ask

HOUR_NS = 3_600_000_000_000
ZONES = ("public", "health", "home-private")
#: (events until then, zone of each batch, hole before a derived event)
_PORTION = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from(ZONES), st.integers(0, 3)), min_size=1, max_size=4
)


class Day:
    """Rows of one device, portion by portion, and what they mean event by event."""

    def __init__(self) -> None:
        self.number = self.made = 0
        self.events: list[tuple[str, int, str]] = []
        self.pairs: list[tuple[int, int]] = []

    def portion(self, parts: Sequence[tuple[int, str, int]]) -> Mapping[str, Sequence[Row]]:
        rows: dict[str, list[Row]] = defaultdict(list)
        for count, zone, hole in parts:
            first = self.number
            self.number += count
            self.made += hole
            rows["events"] += [
                batch("g1", "imu-right", first, count, **tagged(zone=zone)),
                derived("g1", "activity", self.made, **tagged("activity", zone), topic="glasses.derived"),
            ]
            rows["edges"].append(
                edge(
                    ("g1", "activity", self.made),
                    ("g1", "imu-right", first),
                    parent_width=count,
                    operator="activity",
                )
            )
            rows["decisions"].append(
                row("decisions", source="g1", stream="imu-right", first=first, count=count, **_decided(zone))
            )
            self.events += [("imu-right", number, zone) for number in range(first, first + count)]
            self.events.append(("activity", self.made, zone))
            self.pairs += [(self.made, parent) for parent in range(first, first + count)]
            self.made += 1
        return rows


def _decided(zone: str) -> Row:
    said = tagged(zone=zone, wearer="w1", verdict="allow", mode="enforcing", sink="store")
    return {name: said[name] for name in said if name != "kind"}


@pytest.mark.usefixtures("small")
@given(st.lists(st.tuples(_PORTION, st.sampled_from([1, HOUR_NS // 7, 2 * HOUR_NS])), min_size=4, max_size=9))
@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
def test_what_readers_see_does_not_change_by_folds(
    tmp_path_factory: pytest.TempPathFactory, portions: list[tuple[list[tuple[int, str, int]], int]]
) -> None:
    path, day, now_ns = tmp_path_factory.mktemp("store") / "store", Day(), T0_NS
    writer = Writer.open(path, fold="inline")
    stood: dict[int, tuple[int, int]] = {}
    for number, (parts, step_ns) in enumerate(portions):
        rows = dict(day.portion(parts)) | ({"policies": [POLICY]} if number == 0 else {})
        writer.ingest_tables(tables(rows), 0)
        now_ns += step_ns
        epoch = writer.publish(now_ns)
        assert epoch is not None
        stood[epoch] = len(day.events), len(day.pairs)
        _compare(path, day, stood)
    writer.settle(now_ns)
    writer.close()
    _compare(path, day, stood)
    assert ask(path, "SELECT count(*) FROM segments WHERE fresh") == [(0,)]


def _compare(path: Path, day: Day, stood: Mapping[int, tuple[int, int]]) -> None:
    """The store says what the device did, as of its newest epoch and of each that is retained."""
    epochs = [epoch for (epoch,) in ask(path, "SELECT epoch FROM epochs ORDER BY epoch")]
    for epoch in {*epochs[:-1][-3:], epochs[-1], *epochs[:2]} & stood.keys():
        events, pairs = stood[epoch]
        found = ask(path, f"SELECT stream, number, zone FROM event_records WHERE epoch <= {epoch}")
        assert sorted(found) == sorted(day.events[:events])
        found = ask(path, f"SELECT child_number, parent_number FROM edge_records WHERE epoch <= {epoch}")
        assert sorted(found) == sorted(day.pairs[:pairs])
        found = ask(
            path,
            "SELECT stream, number, z.zone FROM event_records e JOIN (SELECT * FROM zone_runs "
            f"WHERE epoch <= {epoch}) z USING (source, stream) WHERE number BETWEEN low AND high "
            f"AND e.epoch <= {epoch}",
        )
        assert sorted(found) == sorted(day.events[:events])


def test_files_hold_what_their_classes_say(tmp_path: Path, small: None) -> None:
    """A reader opens a file by its classes: they are those of its rows, an edge's of both of its sides."""
    day, writer = Day(), Writer.open(tmp_path, fold="inline")
    for number in range(8):
        zones = [(4, ZONES[number % 3], 1), (3, ZONES[(number + 1) % 3], 0)]
        writer.ingest_tables(tables({**day.portion(zones), "policies": [POLICY] * (number == 0)}), 0)
        writer.publish(T0_NS + number)
    writer.settle(T0_NS + 10)
    writer.close()
    found = ask(tmp_path, "SELECT table_name, file, classes FROM segments WHERE classes IS NOT NULL")
    names = dict(ask(tmp_path, "SELECT class, zone FROM classes"))
    assert {table for table, *_ in found} == {"events", "decisions", "edges", "zone_runs"}
    assert len([1 for table, *_ in found if table == "events"]) > 1
    for table, file, classes in found:
        said = {names[number] for number in classes}
        if table == "edges":
            held = {
                zone
                for (zone,) in ask(
                    tmp_path,
                    f"SELECT zone FROM '{tmp_path / file}' e JOIN event_records v ON (v.stream = 'activity' "
                    "AND v.number = child_first) OR (v.stream = 'imu-right' AND v.number BETWEEN "
                    "parent_first AND parent_first + parent_width - 1)",
                )
            }
        else:
            held = {zone for (zone,) in ask(tmp_path, f"SELECT zone FROM '{tmp_path / file}'")}
        assert held == said


def test_an_edge_whose_parent_nobody_knows_is_of_no_class(tmp_path: Path, small: None) -> None:
    writer = Writer.open(tmp_path, fold="inline")
    for number in range(4):
        rows = {
            "events": [derived("g1", "activity", number)],
            "edges": [edge(("g1", "activity", number), ("elsewhere", "imu-right", number))],
            "policies": [POLICY] * (number == 0),
        }
        writer.ingest_tables(tables(rows), 0)
        writer.publish(T0_NS + number)
    writer.settle(T0_NS + 9)
    writer.close()
    assert ask(tmp_path, "SELECT DISTINCT classes FROM segments WHERE table_name = 'edges'") == [(None,)]


def test_an_index_answers_for_all_that_is_folded(tmp_path: Path, small: None) -> None:
    day, writer = Day(), Writer.open(tmp_path, fold="inline")
    for number in range(9):
        writer.ingest_tables(tables(day.portion([(5, ZONES[number % 3], 2)])), 0)
        writer.publish(T0_NS + number)
    writer.settle(T0_NS + 9)
    writer.close()
    indexes = ask(tmp_path, "SELECT file, edges FROM indexes")
    assert 1 <= len(indexes) <= 6
    pairs, listed = [], set()
    with duckdb.connect() as connection:
        for at, (file, _) in enumerate(indexes):
            connection.execute(f"ATTACH '{tmp_path / file}' AS i{at} (READ_ONLY)")
            for first, step, count, parent, advance, width in connection.execute(
                index._EDGES_IN_INDEX.format(index=f"i{at}")
                .replace(f"SELECT {index._NAMES}, ", "SELECT ")
                .replace(", epoch\n", "\n")
            ).fetchall():
                for i in range(count):
                    start = parent + i * advance
                    pairs += [(first + i * step, number) for number in range(start, start + width)]
            listed |= {
                file for (file,) in connection.execute(f"SELECT DISTINCT file FROM i{at}.spans").fetchall()
            }
    assert sorted(pairs) == sorted(day.pairs)
    current = {
        file
        for (file,) in ask(tmp_path, "SELECT file FROM segments WHERE table_name IN ('events', 'decisions')")
    }
    unlisted = {file for (file,) in ask(tmp_path, "SELECT DISTINCT file FROM spans")}
    assert listed & current | unlisted == current


def test_a_fold_holds_a_bounded_number_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted: no part of a large merge has more rows than a chunk and its longest run of equal keys."""
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE e AS SELECT 'g' || (i % 3) AS source, "
            "CASE WHEN i % 10 = 0 THEN 's' ELSE 'long' END AS stream, "
            'i AS "first", 1 AS epoch FROM range(3000) t(i)'
        )
        connection.execute(f"COPY e TO '{tmp_path / 'events-1.parquet'}'")
        monkeypatch.setattr(
            chunks, "types_of", lambda _: {"source": "", "stream": "", '"first"': "", "epoch": ""}
        )
        parts = list(chunks.chunks(connection, "events", [tmp_path / "events-1.parquet"], 100))
    assert max(len(part) for part in parts) <= 110
    rows = [tuple(one.values()) for part in parts for one in part.to_pylist()]
    assert len(rows) == len(set(rows)) == 3000
    assert rows == sorted(rows)


class FullDiskError(OSError):
    """No space left on device."""


def test_a_fold_that_fails_is_put_off_and_epochs_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: None
) -> None:
    now_s, said = 1000.0, list[str]()
    monkeypatch.setattr(clock, "monotonic_s", lambda: now_s)

    def full(*_: Any, **__: Any) -> None:
        raise FullDiskError(28, "No space left on device, while g1 slept")

    day, writer = Day(), Writer.open(tmp_path, fold="inline", say=said.append)
    with monkeypatch.context() as patch:
        patch.setattr(index, "build", full)
        for number in range(6):
            now_s += 100.0
            writer.ingest_tables(tables(day.portion([(3, ZONES[number % 3], 1)])), 0)
            assert writer.publish(T0_NS + number) == number + 1
    assert len(said) == 1
    assert "FullDiskError" in said[0]
    assert "g1" not in said[0]
    assert ask(tmp_path, "SELECT bool_and(fresh) FROM segments") == [(True,)]
    known = writer._hot.known_files()
    assert {f"segments/{path.name}" for path in (tmp_path / "segments").iterdir()} == known
    now_s += limits.FOLD_PAUSE_MAX_S
    writer.ingest_tables(tables(day.portion([(3, "public", 1)])), 0)
    writer.publish(T0_NS + 7)
    writer.settle(T0_NS + 8)
    writer.close()
    assert ask(tmp_path, "SELECT bool_or(fresh) FROM segments") == [(False,)]
    assert len(ask(tmp_path, "FROM edge_records")) == len(day.pairs)


def test_a_full_disk_in_a_publish_loses_nothing(tmp_path: Path) -> None:
    """A real limit: no file may grow beyond it."""
    day, writer = Day(), Writer.open(tmp_path)
    writer.publish(T0_NS)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer.ingest_tables(tables(day.portion([(3, "public", 1)] * 50)), 0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limit[1]))
    try:
        with pytest.raises((OSError, duckdb.Error)):
            writer.publish(T0_NS + 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    writer.reopen()
    writer.publish(T0_NS + 2)
    writer.close()
    assert len(ask(tmp_path, "FROM edge_records")) == len(day.pairs)


def test_a_clock_that_is_set_back_stops_nothing(tmp_path: Path) -> None:
    writer = Writer.open(tmp_path)
    day = Day()
    for number, now_ns in enumerate((T0_NS, T0_NS - HOUR_NS, T0_NS + 5)):
        writer.ingest_tables(tables(day.portion([(2, "public", 0)])), number * 10**9)
        assert writer.publish(now_ns) == number + 1
    writer.close()
    labels = [label for (label,) in ask(tmp_path, "SELECT published_ns FROM epochs ORDER BY epoch")]
    assert labels == sorted(labels)


def test_history_of_epochs_leaves_the_hot_file_and_the_catalog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EPOCHS_AT_HAND_MAX", 6)
    day, writer, rows = Day(), Writer.open(tmp_path, fold="inline"), 0
    for number in range(40):
        rows += writer.ingest_tables(tables(day.portion([(1, "public", 0)])), 0)
        writer.publish(T0_NS + number * HOUR_NS // 3)
    writer.settle(T0_NS + 40 * HOUR_NS // 3)
    writer.close()
    assert ask(tmp_path, "SELECT count(*) <= 6 FROM epoch_rows") == [(True,)]
    epochs = ask(tmp_path, "SELECT epoch, rows FROM epochs ORDER BY epoch")
    assert sum(added for _, added in epochs) == rows
    assert len(epochs) < 40
    hot = Hot(tmp_path)
    assert len(hot.history_at_hand()) <= 6
    hot.close()


def test_a_fold_that_ends_while_an_epoch_is_recorded_is_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: None
) -> None:
    day, writer, may_end = Day(), Writer.open(tmp_path), threading.Event()
    run, record = Fold.run, Hot.record

    def waiting(fold: Fold) -> Folded:
        may_end.wait(10)
        return run(fold)

    def slow(hot: Hot, *arguments: Any) -> None:
        record(hot, *arguments)
        may_end.set()
        if (thread := writer._folder._thread) is not None:
            thread.join()

    monkeypatch.setattr(Fold, "run", waiting)
    for number in range(4):
        if number == 3:
            monkeypatch.setattr(Hot, "record", slow)
        writer.ingest_tables(tables(day.portion([(2, "public", 0)])), 0)
        writer.publish(T0_NS + number)
    assert writer.publish(T0_NS + 4) == 5
    writer.close()
    assert ask(tmp_path, "SELECT bool_or(NOT fresh) FROM segments") == [(True,)]
    assert len(ask(tmp_path, "FROM edge_records")) == len(day.pairs)
