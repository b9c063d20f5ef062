"""What is over leaves every file of the store, and nothing else does: against counts of days in plain Python.

The clock is that of the records: a test writes the time at which the broker appended each.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from streams import clock, limits
from streams.errors import InputError
from streams.ledger.sources import StoreReader
from streams.queries.due import due
from streams.queries.missing import CapturedStream, missing
from streams.queries.questions import ancestors, why
from streams.queries.store import Store
from streams.snapshots.erasing import rewriting
from streams.snapshots.writer import STEPS, Writer
from tests.patience import PATIENCE_S
from tests.snapshots.build import POLICY, T0_NS, Row, batch, derived, edge, record, row, stream, tagged
from tests.snapshots.contents import ask, content, hits, indexed
from tests.snapshots.days import DAY_NS, DEVICES, ON, World, appended, filled, gone, is_over, name, take_in


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(3))
def test_what_is_over_is_in_no_file_and_all_else_is_there_once(tmp_path: Path, seed: int) -> None:
    world = World(seed)
    path = filled(tmp_path / "store", world.lineage())
    over, left = gone(world, ON[-1])
    assert over
    assert left
    assert hits(path, sorted(over)) == []
    stored = content(path)
    for wearer in left:
        assert any(wearer in text for text in stored["events"])
    events = Counter(
        (device, number)
        for device, numbers in world.numbers.items()
        for number, place in numbers.items()
        if not is_over(*place, ON[-1])
    )
    refused = {
        (one["source"], one["first"] + nth)
        for _, rows in world.records
        for one in rows.get("rejected", ())
        for nth in range(2)
    }
    held = Counter(
        ask(path, "SELECT source, number FROM event_records WHERE stream = 'imu-right'")
        + ask(path, 'SELECT source, "first" + unnest(range("count")) FROM rejected WHERE stage = \'zones\'')
    )
    assert held == events
    assert refused & events.keys() or seed
    pairs = Counter(
        ask(
            path,
            "SELECT child_source, child_stream, child_number, parent_source, parent_stream, parent_number "
            "FROM edge_records",
        )
    )
    assert pairs == Counter(_pairs(world))
    assert indexed(path) == Counter(map(str, pairs.elements()))


def _pairs(world: World) -> Sequence[tuple[Any, ...]]:
    pairs = []
    for _, rows in world.records:
        for one in rows.get("edges", ()):
            for nth in range(one["child_count"]):
                child = (one["child_source"], one["child_stream"], one["child_first"] + nth)
                parent = (one["parent_source"], one["parent_stream"], one["parent_first"] + nth)
                sides = [side for side in (child, parent) if side[0] != "training"]
                if not any(is_over(*world.numbers[device][number], ON[-1]) for device, _, number in sides):
                    pairs.append((*child, *parent))
    return pairs


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(3))
def test_nothing_over_is_missing_and_nothing_missing_is_hidden(tmp_path: Path, seed: int) -> None:
    world = World(seed)
    path = filled(tmp_path / "store", world.lineage())
    with Store.open(path) as opened:
        answer = missing(opened)
        # A hole at the end of a stream is not known.
        assert {
            (run.source, number)
            for run in answer.missing
            for number in range(run.first, run.first + run.count)
        } == {(device, number) for device, holes in world.holes.items() for number in holes}
        for told in answer.streams:
            numbers = world.numbers[told.source]
            assert told.expired == sum(is_over(*place, ON[-1]) for place in numbers.values())
            assert told.highest == max(numbers)
        assert due(opened).overdue == 0
        assert sum(row.events for row in due(opened).gone) > 0
        device, number = next(
            (device, number)
            for device, numbers in world.numbers.items()
            for number, place in numbers.items()
            if is_over(*place, ON[-1])
        )
        for ask_it in (why, ancestors):
            with pytest.raises(InputError, match=r"expired on 2025-"):
                ask_it(opened, f"{device}/imu-right/{number}")
        with pytest.raises(InputError, match="no agent wrote it"):
            why(opened, f"{device}/imu-right/{max(world.numbers[device]) + 1}")
    reader = StoreReader(path)
    for device, numbers in world.numbers.items():
        over = {number for number, place in numbers.items() if is_over(*place, ON[-1])}
        spread = reader.over_of(f"{device}/imu-right").tolist()
        assert sorted(number for low, high in spread for number in range(low, high)) == sorted(over)
    reader.close()
    with Store.open(path) as opened:
        # Once more: an answer that did not change is not counted twice.
        assert missing(opened).missing == answer.missing
    again = filled(path, [appended(record(len(world.records), {}), ON[-1] + 1)])
    with Store.open(again) as opened:
        assert missing(opened).missing == answer.missing


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("rewritten", [True, False])
def test_what_was_refused_of_a_stream_that_has_nothing_else_is_over_and_not_missing(
    tmp_path: Path, rewritten: bool
) -> None:
    def refused(first: int, day: int) -> Row:
        at = {"topic": "glasses.captured", "policy_version": POLICY["version"], "zone": "bystander-present"}
        at |= dict.fromkeys(("t_ns", "appended_ns"), T0_NS + day * DAY_NS)
        return row(
            "rejected", source="g1", stream="ppg", first=first, count=2, stage="zones", rule="sinks", **at
        )

    days: list[tuple[float, dict[str, list[Row]]]] = [
        (0, {"policies": [POLICY], "rejected": [refused(0, 0)]}),
        (5, {"rejected": [refused(4, 5)]}),
    ]
    lineage = [appended(record(offset, rows), day) for offset, (day, rows) in enumerate(days)]
    path = filled(tmp_path / "store", lineage, settle=rewritten)
    assert ask(path, 'SELECT "first" FROM rejected') == [(4,)]
    with Store.open(path) as opened:
        answer = missing(opened)
    assert [(run.stream, run.first, run.count) for run in answer.missing] == [("ppg", 2, 2)]
    assert answer.streams.rows == (CapturedStream("g1", "ppg", "", 5, 0, 2, 2),)


@pytest.mark.usefixtures("small")
def test_a_reader_is_not_shown_what_is_over_before_it_is_rewritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The retention of the first day ends within a day on which the store was rewritten already."""
    world = World(1)
    path = filled(tmp_path / "store", world.lineage()[:3])
    number, at_ns = next(
        (one["first"], one["appended_ns"])
        for _, rows in world.records[:3]
        for one in rows["events"]
        if one["stream"] == "imu-right" and one["zone"] == "bystander-present"
    )
    device = next(
        device for device in DEVICES if world.numbers[device].get(number) == (0, "bystander-present")
    )
    identity = f"{device}/imu-right/{number}"
    wearer = name(0, "bystander-present")
    shown = f"SELECT count(*) FROM events WHERE wearer = '{wearer}'"
    counted = f"SELECT count(*) FROM decisions WHERE wearer = '{wearer}'"
    before = ask(path, shown)
    assert before != [(0,)]
    # A reader whose clock goes on: no epoch was published, and no writer runs.
    real_ns = clock.now_ns

    def later(path: Path, ahead_s: float) -> None:
        monkeypatch.setattr(clock, "now_ns", lambda: int(real_ns() - ahead_s * 1e9))
        writer = Writer.open(path, fold="inline")
        take_in(writer, [appended(record(writer.offsets()[0], {}), 0.0)])
        writer.close()
        monkeypatch.setattr(clock, "now_ns", real_ns)

    # The broker's time is an hour and a half behind T0; the row was appended within an hour of T0.
    later(path, ahead_s=86_400 - 5_400 - 60)
    assert ask(path, shown) == before
    later(path, ahead_s=86_400)
    assert ask(path, shown) == [(0,)]
    assert ask(path, counted) == [(0,)]
    assert ask(path, f"SELECT count(*) FROM files.events WHERE wearer = '{wearer}'") == before
    assert ask(path, f"SELECT count(*) FROM event_records WHERE wearer = '{wearer}'") == [(0,)]
    with Store.open(path) as opened:
        with pytest.raises(InputError, match="expired and leaves the files"):
            why(opened, identity)
        assert due(opened).overdue > 0
        holes = {(run.source, run.first) for run in missing(opened).missing}
        assert all(first in world.holes[source] for source, first in holes)
        models = ancestors(opened, "training/model/1").ancestors
        assert models
        assert all(world.numbers[each.source][each.first][1] != "bystander-present" for each in models)
    statement = (
        f"import duckdb, os; os.chdir({str(path)!r}); c = duckdb.connect('catalog.duckdb', read_only=True)"
    )
    told = subprocess.run(
        [sys.executable, "-c", f'{statement}; print(c.execute("{shown}").fetchall())'],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert told.stdout.strip() == "[(0,)]"
    assert at_ns < T0_NS + 3_601 * 10**9


@pytest.mark.usefixtures("small")
def test_an_edge_that_comes_after_its_parent_left_is_taken_as_the_rewriting_would(tmp_path: Path) -> None:
    at: dict[str, Any] = dict.fromkeys(("appended_ns", "t_first_ns", "t_last_ns"), T0_NS)
    made: dict[str, Any] = {"kind": "activity", "topic": "glasses.derived"}
    first = {
        "policies": [POLICY],
        "streams": [stream("g1", "imu-right"), stream("g1", "activity", "activity", captured=False)],
        "events": [
            batch("g1", "imu-right", 0, 2, **{**tagged(zone="bystander-present"), **at}),
            batch("g1", "imu-right", 2, 2, **{**tagged(zone="public"), **at}),
            *(
                derived("g1", "activity", number, **{**tagged(zone="public"), **at, **made})
                for number in range(4)
            ),
        ],
    }
    run = {"child_count": 3, "operator": "activity", "parent_width": 2}
    late = {"edges": [edge(("g1", "activity", 0), ("g1", "imu-right", 0), **run)]}
    pairs = "SELECT child_number, parent_number FROM edge_records ORDER BY ALL"
    in_time = filled(tmp_path / "in-time", [appended(record(0, {**first, **late}), 0)])
    assert ask(in_time, pairs) == [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 3)]
    filled(in_time, [appended(record(1, {}), 1)])
    path = filled(tmp_path / "late", [appended(record(0, first), 0), appended(record(1, {}), 1)])
    assert ask(path, "SELECT low, high FROM expired") == [(0, 1)]
    filled(path, [appended(record(2, late), 1.01)])
    assert ask(path, pairs) == ask(in_time, pairs) == [(1, 2), (2, 2), (2, 3)]
    # The record of the next day has nothing in it.
    assert {reason for (reason,) in ask(path, "SELECT reason FROM rejected")} == {
        "lineage record: found no table, expected one at least"
    }
    # What has left is known to a writer from the moment on at which it did.
    writer = Writer.open(tmp_path / "one-writer", fold="inline")
    take_in(writer, [appended(record(0, first), 0)])
    writer.ingest(
        {
            0: [
                appended(
                    record(
                        1,
                        {"edges": [edge(("g1", "activity", 3), ("g1", "imu-right", 3), operator="activity")]},
                    ),
                    0.01,
                )
            ]
        },
        {},
        0,
    )
    take_in(
        writer, [appended(record(2, {}), 1), appended(record(3, {}), 1.01), appended(record(4, late), 1.02)]
    )
    writer.settle(T0_NS)
    writer.close()
    assert ask(tmp_path / "one-writer", pairs) == [(1, 2), (2, 2), (2, 3), (3, 3)]


class KilledError(BaseException):
    """Stands for the death of the process."""


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    """A store of the first days; the rest of the world is to come."""
    world = World(2)
    return world, filled(tmp_path_factory.mktemp("half") / "store", world.lineage()[:12])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("step", [step for step in (*STEPS, *rewriting.STEPS) if step != 1])
def test_it_is_done_after_a_crash_between_any_two_steps(
    tmp_path: Path, half: tuple[World, Path], step: int
) -> None:
    world, path = half[0], tmp_path / "store"
    shutil.copytree(half[1], path, symlinks=True)
    records, passes = world.lineage(), 0

    def die(done: int) -> None:
        nonlocal passes
        passes += done == 12
        if passes and done == step:
            raise KilledError

    writer = Writer.open(path, fold="inline", after_step=die)
    with pytest.raises(KilledError):  # noqa: PT012 - which of the two dies depends on the step
        take_in(writer, records[12:])
        writer.settle(T0_NS)
    writer._hot.close()
    writer._lock.close()
    offset = len(records)
    writer = Writer.open(path, fold="inline")
    take_in(writer, [*records[12:], appended(record(offset, {}), ON[-1] + 0.01)])
    writer.settle(T0_NS)
    writer.close()
    over, _ = gone(world, ON[-1])
    assert hits(path, sorted(over)) == []
    whole = filled(tmp_path / "whole", [*records, appended(record(offset, {}), ON[-1] + 0.01)])
    one, other = content(path), content(whole)
    for table in other:
        assert one[table] == other[table], table
    told = (
        "SELECT source, stream, low + unnest(range(high - low + 1)) FROM expired WHERE stream = 'imu-right'"
    )
    assert Counter(ask(path, told)) == Counter(ask(whole, told))


@pytest.mark.usefixtures("small")
def test_a_clock_that_is_ahead_destroys_nothing(
    tmp_path: Path, half: tuple[World, Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "store"
    shutil.copytree(half[1], path, symlinks=True)
    before = content(path)["events"]
    ahead_ms = clock.now_ns() // 1_000_000 + (limits.CLOCKS_APART_S_MAX + 60) * 1000

    writer = Writer.open(path, fold="inline")
    take_in(writer, [replace(record(12, {}), timestamp=ahead_ms)])
    writer.settle(T0_NS)
    writer.close()
    assert content(path)["events"] == before
    assert "ahead of this machine's clock" in caplog.text
    # Up to an hour it may be that this machine is behind.
    writer = Writer.open(path, fold="inline")
    take_in(writer, [replace(record(13, {}), timestamp=ahead_ms - 120_000)])
    writer.settle(T0_NS)
    writer.close()
    assert ask(path, "SELECT count(*) FROM files.events WHERE source <> 'training'") == [(0,)]


@pytest.mark.usefixtures("small")
def test_a_reader_of_an_older_epoch_keeps_reading(
    tmp_path: Path, half: tuple[World, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, path = half[0], tmp_path / "store"
    shutil.copytree(half[1], path, symlinks=True)
    monkeypatch.setattr(limits, "SUPERSEDED_GRACE_S", 60.0)
    with duckdb.connect() as reader:
        reader.execute(f"ATTACH '{(path / 'catalog.duckdb').resolve()}' AS store (READ_ONLY)")
        reader.execute(f"USE store; SET file_search_path = '{path}'")
        whole = "SELECT count(*) FROM files.events"
        before = reader.execute(whole).fetchall()
        writer = Writer.open(path, fold="inline")
        take_in(writer, world.lineage()[12:])
        writer.settle(T0_NS)
        assert reader.execute(whole).fetchall() == before
        monkeypatch.setattr(limits, "SUPERSEDED_GRACE_S", 0.0)
        writer.publish_due(0)
        writer.close()
    over, _ = gone(world, ON[-1])
    assert hits(path, sorted(over)) == []
