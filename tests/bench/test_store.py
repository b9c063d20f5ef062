"""What the store's bench measures is what it says: copies are whole, peers get the same edges and agree."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from bench.store import history, peers
from bench.store.grow import grow
from bench.store.pairs import Pairs
from bench.store.peers import PEERS, DuckdbTables, Peer, Sqlite, checksum
from bench.store.rows import DAY_NS, NUMBERS_PER_COPY, Rows, moved, parts
from bench.store.sizes import Sizes
from bench.store.tables import at, row
from streams.queries.store import Store
from tests.snapshots.build import POLICY, Row, edge, event, store, stream, tagged
from tests.snapshots.build import row as row_of

ROOT = Path(__file__).parents[2]
EPOCHS = 3


def _epoch(number: int) -> dict[str, list[Row]]:
    events = [
        event("g1", "imu", 9 * number, 9, **tagged("imu", wearer="w1", digest=f"{number:032x}")),
        event("g1", "activity", 9 * number, **tagged("imu", wearer="w1") | {"kind": "activity"}),
        event("g1", "answer", number, **tagged("voice_query", "voice-assistant") | {"kind": "answer"}),
    ]
    edges = [
        edge(("g1", "activity", 9 * number), ("g1", "imu", 9 * number), parent_width=9, operator="activity"),
        edge(("g1", "answer", number), ("g1", "activity", 9 * number), operator="answer"),
        edge(("g1", "answer", number), ("training", "intent-model", 1), operator="answer"),
        edge(("training", "intent-model", 1), ("g1", "answer", number), operator="training"),
    ]
    streams = [stream("g1", one["stream"], one["kind"]) for one in events]
    return {"events": events, "edges": edges, "streams": streams}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bench") / "source"
    model = row_of("models", source="training", stream="intent-model", version=1)
    streams = [stream("training", "intent-model", "model", captured=False)]
    return store(
        made, {"models": [model], "streams": streams, "policies": [POLICY]}, *map(_epoch, range(EPOCHS))
    )


def test_a_copy_has_every_row_once_under_names_of_its_own(source: Path) -> None:
    rows = Rows.read(source)
    assert (rows.edges, rows.captured_batches) == (12 * EPOCHS, 0)
    own = rows.copy(2)
    assert "policies" not in own
    assert set(own["events"]["source"].to_pylist()) == {"g1-2"}
    firsts = [first + 2 * NUMBERS_PER_COPY for first in rows.tables["events"]["first"].to_pylist()]
    assert own["events"]["first"].to_pylist() == firsts
    later = [time + 2 * DAY_NS for time in rows.tables["events"]["t_first_ns"].to_pylist()]
    assert own["events"]["t_first_ns"].to_pylist() == later
    assert not set(own["events"]["digest"].to_pylist()) & set(rows.tables["events"]["digest"].to_pylist()) - {
        ""
    }
    for number in (1, 2, 5):
        taken = Counter[str]()
        arrived = set[int]()
        for part in parts(own, number):
            for table, columns in part.items():
                taken[table] += len(next(iter(columns.values())))
            # An edge comes with its child.
            arrived |= set(part.get("events", {}).get("first", ()))
            assert {
                first for first in part.get("edges", {}).get("child_first", ()) if first > 1000
            } <= arrived
        assert taken == {table: content.num_rows for table, content in own.items() if content.num_rows}
    assert rows.only(("activity",), others=False).edges == 9 * EPOCHS
    assert rows.only(("activity",), others=True).edges == 3 * EPOCHS


def test_peers_are_given_the_same_edges_and_find_the_same_ancestors(source: Path, tmp_path: Path) -> None:
    grown = tmp_path / "grown"
    found = grow(Rows.read(source), grown, range(2), EPOCHS)
    assert found["rows"] > 2 * EPOCHS * 7
    assert Sizes.of(grown).rows["events"] == 2 * 3 * EPOCHS
    pairs = Pairs.make(grown, tmp_path / "pairs.parquet", 2)
    assert pairs.count == 2 * 11 * EPOCHS, "all but what training read"
    ids = [moved(f"g1-0/answer/{number}", copy) for copy in range(2) for number in range(EPOCHS)]
    asked = pairs.numbers(ids)
    with Store.open(grown) as opened:
        ours = [pairs.ancestors(opened, identity) for identity in ids]
    assert [len(each) for each in ours] == [11] * len(ids), "nine samples, an activity, a model"
    made: list[Peer] = [Sqlite(tmp_path), DuckdbTables(tmp_path)]
    for peer in made:
        peer.load(pairs.file)
        assert [peer.trace(event) for event in asked] == ours
    assert checksum(ours) != checksum(ours[::-1])
    behind = tmp_path / "behind.parquet"
    assert pairs.behind(asked[:1], behind) == 11


def test_a_history_stands_where_a_writer_leaves_it(source: Path, tmp_path: Path) -> None:
    grown = tmp_path / "grown"
    grow(Rows.read(source), grown, range(1), 1)
    history.synthesise(grown, 2000)
    before = Sizes.of(grown)
    assert before.rows["epochs"] > 1000
    assert before.catalog_bytes < 500_000
    with Store.open(grown) as opened:
        [(epoch,)] = opened.sql("SELECT max(epoch) FROM epochs").rows
    assert epoch > 2000
    assert grow(Rows.read(source), grown, range(1, 2), 2, live=True)["rows"] > 0


def test_every_peer_is_pinned_and_absent_ones_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = (ROOT / "requirements-bench.lock").read_text(encoding="utf-8")
    for peer in PEERS.values():
        name = peer.package.replace("_", "-")
        assert peer.package == "sqlite3" or re.search(rf"^{name}==", lock, re.MULTILINE), name
    monkeypatch.setattr(peers.Kuzu, "package", "kuzu_that_is_nowhere")
    assert "kuzu_that_is_nowhere is not installed" in peers.missing("Kuzu")


def test_a_figure_is_held_against_its_bar() -> None:
    assert (row("p50", 8.0, 8)["reached"], row("p50", 8.1, 8)["reached"]) == ("yes", "NO")
    assert row("rate", 7.0, 8, least=True) == {"what": "rate", "figure": 7.0, "bar": "≥ 8", "reached": "NO"}
    assert row("peer", "absent", 8)["reached"] == ""
    assert (at(range(100), 0.5), at(range(100), 0.99), at([3.0], 0.99)) == (50, 99, 3.0)
