"""New derived events without all their parents are counted as single events have it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given

from streams.queries.store import Store
from streams.queries.unresolved import Checked, unresolved
from tests.queries.oracle import CAPTURED, Oracle, oracles
from tests.queries.test_reach import FEW
from tests.snapshots.build import Row, edge, event, store, stream


@FEW
@given(oracle=oracles(devices=("g1", "g2")))
def test_each_new_event_lacks_what_single_events_lack(oracle: Oracle) -> None:
    captured = {name.replace("-", "_") for name in CAPTURED}
    derived = {node: fact for node, fact in oracle.facts.items() if fact.kind not in captured}
    with (
        tempfile.TemporaryDirectory() as name,
        Store.open(store(Path(name) / "s", *oracle.epochs)) as opened,
    ):
        for after in range(len(oracle.epochs) + 1):
            nodes = [node for node, fact in derived.items() if fact.epoch > after]
            parents = {node: oracle.parents.get(node, {}).keys() for node in nodes}
            lacking = [
                node for node in nodes if not parents[node] or not parents[node] <= oracle.facts.keys()
            ]
            assert unresolved(opened, after) == Checked(opened.epoch, len(nodes), len(lacking))


def told(*edges: Row) -> dict[str, list[Row]]:
    return {
        "streams": [
            stream("g1", "imu-right", "imu"),
            stream("g1", "activity", "activity", captured=False),
            stream("training", "seed", "example", captured=False),
        ],
        "events": [
            event("g1", "imu-right", 0, 100),
            event("g1", "imu-right", 200, 100),
            event("g1", "activity", 0, 2, step=100, kind="activity"),
            event("training", "seed", 0, 88, kind="example"),
        ],
        "edges": list(edges),
    }


@pytest.mark.parametrize(
    ("width", "step", "lacking"),
    [(100, 200, 0), (100, 100, 1), (101, 200, 2), (100, 201, 1), (1, 0, 0)],
)
def test_every_parent_of_a_window_must_be_there(tmp_path: Path, width: int, step: int, lacking: int) -> None:
    """Two children, at 0 and 100, of samples 0..99 and 200..299; the seed has no parents and lacks none."""
    window = edge(
        ("g1", "activity", 0),
        ("g1", "imu-right", 0),
        child_step=100,
        child_count=2,
        parent_step=step,
        parent_width=width,
    )
    with Store.open(store(tmp_path / "s", told(window))) as opened:
        assert unresolved(opened, 0) == Checked(1, 2, lacking)
        assert unresolved(opened, 1) == Checked(1, 0, 0)


def test_an_event_without_any_parent_lacks_them(tmp_path: Path) -> None:
    with Store.open(store(tmp_path / "s", told())) as opened:
        assert unresolved(opened, 0) == Checked(1, 2, 2)
