"""The ledger finds every fault that is planted, and nothing where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import InputError, UnavailableError
from streams.events.journal import Sent, ack_line, sent_line, truth_line
from streams.ledger import _sent_to_visible_ms, lines, run_ledger
from streams.ledger.journal import read_journals
from streams.ledger.result import Ledger
from streams.ledger.runs import cover, intervals, named, size, spread
from streams.ledger.sources import StoreReader
from streams.ledger.topics import order_faults
from tests.snapshots.build import T0_NS, Row, edge, event, row, store, stream

MS = 1_000_000


def value(first: int) -> bytes:
    """What the device of these tests says in its batch from `first` on."""
    return f'{{"first":{first}}}'.encode()


def digest(said: bytes) -> str:
    return xxhash.xxh3_128_hexdigest(said)


def captured(first: int, count: int = 20, **columns: Any) -> Row:
    """What the store has of a batch of that device."""
    return event("g1", "imu", first, count, **{"digest": digest(value(first)), **columns})


def journal(path: Path) -> Path:
    """100 events of g1/imu in five batches: home until 59, public until 79, then unconfigured."""
    text = b"".join(
        sent_line(Sent(f"g1/imu/{first}", b"g1", value(first), (), 0, T0_NS - 400 * MS, "imu", first, 20))
        + ack_line(f"g1/imu/{first}", 0, first // 20, T0_NS - 400 * MS, T0_NS, T0_NS)
        for first in range(0, 100, 20)
    )
    text += truth_line("g1", "imu", 0, 60, "home-private") + truth_line("g1", "imu", 60, 20, "public")
    text += truth_line("g1", "imu", 80, 20, "unconfigured") + b'{"line":"sent","id":"g1/im'
    path.mkdir(parents=True)
    (path / "g1.jsonl").write_bytes(text)
    return path


def good() -> dict[str, list[Row]]:
    zones = {0: "home-private", 20: "home-private", 40: "home-private", 60: "public"}
    return {
        "streams": [
            stream("g1", "imu"),
            stream("g1", "activity", "activity", captured=False),
            stream("g1", "answer", "answer", captured=False),
        ],
        "events": [
            *(captured(first, zone=zone) for first, zone in zones.items()),
            event("g1", "activity", 0, 2, step=50, kind="activity"),
            event("g1", "answer", 7, kind="answer"),
        ],
        "rejected": [
            row(
                "rejected",
                source="g1",
                stream="imu",
                first=80,
                count=20,
                zone="unconfigured",
                stage="zones",
                rule="none",
                digest=digest(value(80)),
            ),
            row("rejected", source="g1", stream="imu", first=0, count=20, stage="zones", rule="repeat"),
        ],
        "models": [
            row("models", source="training", stream="intent-model", version=1, examples=30, accuracy=0.75)
        ],
        "decisions": [row("decisions", source="g1", stream="example", sink="training-run", passed=False)],
        "edges": [
            edge(
                ("g1", "activity", 0),
                ("g1", "imu", 0),
                child_step=50,
                child_count=2,
                parent_step=30,
                parent_width=50,
            ),
            edge(("g1", "answer", 7), ("g1", "activity", 50)),
            edge(("g1", "answer", 7), ("training", "intent-model", 1)),
        ],
    }


def ledger(tmp_path: Path, change: Callable[[dict[str, list[Row]]], object] = lambda _: None) -> Ledger:
    rows = good()
    change(rows)
    return run_ledger(journal(tmp_path / "journal"), None, store(tmp_path / "store", rows))


def test_nothing_is_found_where_nothing_is_wrong(tmp_path: Path) -> None:
    result = ledger(tmp_path)
    assert result["clean"], result["findings"]
    expected = {
        "events_sent": 100,
        "batches_sent": 5,
        "events_stored": 80,
        "events_rejected": 20,
        "batches_rejected": 1,
        "events_missing": 0,
        "events_other_data": 0,
        "events_twice": 0,
        "rejected_by_rule": {"policy": 1},
        "zone_truth_checked": 100,
        "zone_truth_mismatches": 0,
        "derived": 3,
        "answers": 1,
        "feedback": 0,
        "examples": 0,
        "examples_refused": 1,
        "edges": 102,
        "orphan_parents": 0,
        "epochs": 1,
        "first_epoch": 1,
        "batches_unacknowledged": 0,
        "models": [{"version": 1, "examples": 30, "accuracy": 0.75}],
    }
    assert {name: value for name, value in result.items() if name in expected} == expected
    assert result["sent_to_visible_ms"] == {"p50": None, "p99": None}, (
        "nothing was sent where there is no broker"
    )
    visible = _sent_to_visible_ms(read_journals(tmp_path / "journal"), StoreReader(tmp_path / "store"), 0)
    assert 400 <= (visible["p50"] or 0) <= (visible["p99"] or 0)
    assert lines(result)[-1] == "clean"


def drop(rows: dict[str, list[Row]]) -> None:
    rows["events"][1]["count"] = 19


def repeat(rows: dict[str, list[Row]]) -> None:
    rows["events"].append(captured(0, zone="home-private") | {"first": 5, "count": 1})


def store_refused(rows: dict[str, list[Row]]) -> None:
    rows["events"].append(captured(80, zone="unconfigured") | {"first": 85, "count": 1})


def other_zone(rows: dict[str, list[Row]]) -> None:
    rows["events"][3]["zone"] = "home-private"


def let_in(rows: dict[str, list[Row]]) -> None:
    del rows["rejected"][0]
    rows["events"].append(captured(80, zone="public"))


def invent(rows: dict[str, list[Row]]) -> None:
    rows["events"].append(event("g1", "imu", 500, 3))


def orphan(rows: dict[str, list[Row]]) -> None:
    rows["edges"].append(edge(("g1", "answer", 7), ("g1", "activity", 49), parent_width=3))


def orphan_revision(rows: dict[str, list[Row]]) -> None:
    """The parent is there as it was first made."""
    rows["edges"][1]["parent_revision"] = 1


def orphan_model(rows: dict[str, list[Row]]) -> None:
    rows["edges"][2]["parent_first"] = 2


def repeat_hides(rows: dict[str, list[Row]]) -> None:
    del rows["events"][0]


@pytest.mark.parametrize(
    ("fault", "name", "count", "where"),
    [
        (drop, "events_missing", 1, "g1/imu/39"),
        (repeat, "events_twice", 1, "g1/imu/5"),
        (store_refused, "events_twice", 1, "g1/imu/85"),
        (other_zone, "zone_truth_mismatches", 20, "g1/imu/60-79"),
        (let_in, "zone_truth_mismatches", 20, "g1/imu/80-99"),
        (invent, None, 3, "g1/imu/500-502"),
        (orphan, "orphan_parents", 2, "g1/activity/49"),
        (orphan_revision, "orphan_parents", 1, "g1/activity/50.1"),
        (orphan_model, "orphan_parents", 1, "intent-model/2"),
        (repeat_hides, "events_missing", 20, "g1/imu/0-19"),
    ],
)
def test_a_planted_fault_is_found(
    tmp_path: Path, fault: Callable[[dict[str, list[Row]]], object], name: str | None, count: int, where: str
) -> None:
    result = ledger(tmp_path, fault)
    assert not result["clean"]
    assert any(finding.startswith(f"{count:,} ") and where in finding for finding in result["findings"]), (
        result["findings"]
    )
    if name:
        assert dict(result)[name] == count
    assert lines(result)[-1] == "not clean"


def test_without_journal_or_store_it_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="journal"):
        run_ledger(tmp_path, None, tmp_path)
    journal(tmp_path / "journal")
    with pytest.raises(UnavailableError, match="epoch"):
        run_ledger(tmp_path / "journal", None, tmp_path)


@pytest.mark.parametrize(
    ("zoned", "faults"),
    [
        ([("g1/imu", 0, 10), ("g1/gps", 0, 1), ("g1/imu", 10, 10), ("g2/imu", 0, 9)], 0),
        ([("g1/imu", 0, 5), ("g1/imu", 5, 5), ("g2/imu", 0, 9), ("g1/gps", 0, 1), ("g1/imu", 10, 10)], 0),
        ([("g1/gps", 0, 1), ("g1/imu", 0, 10), ("g1/imu", 10, 10)], 1),
        ([("g1/imu", 5, 5), ("g1/imu", 0, 5)], 1),
        ([("g1/imu", 10, 10), ("g1/imu", 0, 10), ("g1/gps", 0, 1)], 2),
    ],
)
def test_order_is_that_of_the_device(zoned: list[tuple[str, int, int]], faults: int) -> None:
    captured = [("g1/imu", 0, 10), ("g1/gps", 0, 1), ("g1/imu", 10, 10), ("g2/imu", 0, 9), ("g1/imu", 0, 10)]
    assert order_faults(captured, zoned) == faults


runs = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=6)


@given(runs, runs)
def test_cover_counts_like_counting(a: list[tuple[int, int]], b: list[tuple[int, int]]) -> None:
    sets = [intervals([first for first, _ in some], [count for _, count in some]) for some in (a, b)]
    pieces, depths = cover(*sets)
    for some, depth in zip((a, b), depths, strict=True):
        for number in range(60):
            inside = (pieces[:, 0] <= number) & (number < pieces[:, 1])
            assert depth[inside].sum() == sum(first <= number < first + count for first, count in some)
    assert size(pieces[depths[0] > 0]) == len(
        {number for first, count in a for number in range(first, first + count)}
    )


@given(st.integers(0, 9), st.integers(0, 5), st.integers(1, 6), st.integers(1, 6))
def test_spread_means_what_a_run_means(first: int, step: int, count: int, width: int) -> None:
    found = spread(*(np.array([number], np.int64) for number in (first, step, count, width)))
    assert {n for low, high in found for n in range(low, high)} == {
        first + i * step + w for i in range(count) for w in range(width)
    }


def test_runs_are_named_together() -> None:
    assert named({"g1/imu": np.array([[0, 5], [5, 9], [11, 12]])}, 5) == ["g1/imu/0-8", "g1/imu/11"]
