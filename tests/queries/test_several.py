"""Several stores, each with some partitions, are read as one; the oracle is one store with the same rows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from streams.audit_log import AUDIT_LOG
from streams.cli.main import main
from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.ledger.sources import StoreReader
from streams.queries.asking import OpenStore, open_store, unfiltered
from streams.queries.changes import changes
from streams.queries.moments import moments
from streams.queries.store import Store
from streams.snapshots.writer import Writer
from tests.queries.exported import DAYS, export, in_graphml
from tests.queries.folded import fold
from tests.queries.oracle import Oracle, node_id, oracles
from tests.queries.several import of_sources, part, written
from tests.queries.test_reach import FEW, chosen
from tests.snapshots.build import POLICY, event, store, tagged

ROLES = ("analyst", "privacy-officer", "wearer:w1")
#: What says when and in which epoch something was published, of which several stores have several.
_OF_EPOCHS = ("epoch", "published", "after", "upto", "after_published", "upto_published", "stores")
VIEWS = (
    *("streams", "events", "event_records", "edges", "edge_records", "decisions", "rejected", "models"),
    *("training_runs", "promotions", "labels", "vocabularies"),
)


def plain(answer: Any) -> dict[str, Any]:
    return {name: value for name, value in answer.to_dict().items() if name not in _OF_EPOCHS}


def answers(opened: OpenStore, ids: Sequence[str]) -> Iterator[dict[str, Any] | str]:
    """The answer to every question, or that it is refused."""

    def asked(question: Callable[[], Any]) -> dict[str, Any] | str:
        try:
            return plain(question())
        except InputError:
            return "refused"

    for identity in ids:
        for about in (
            opened.ancestors,
            opened.generations,
            opened.loop,
            opened.why,
            opened.decisions,
            opened.descendants,
            opened.reach,
        ):
            yield asked(partial(about, identity))
        yield asked(partial(opened.ancestors, identity, through_models=True))
        yield asked(partial(opened.descendants, identity, through_models=True))
        yield asked(partial(opened.genuine, identity, "0" * 32))
    for first, second in combinations(ids[:4], 2):
        yield asked(partial(opened.reached, first, second))
    for wearer in ("w1", "w2"):
        for of_wearer in (opened.wearer, opened.reach, opened.withdrawal):
            yield asked(partial(of_wearer, wearer))
        yield asked(partial(opened.find, wearer=wearer))
    for of_all in (opened.completeness, opened.missing, opened.creep, opened.crossings, opened.requirements):
        yield asked(of_all)


@pytest.mark.parametrize("folded", [False, True])
@FEW
@given(oracle=oracles(devices=("g1", "g2")), data=st.data())
def test_every_question_has_the_answer_of_one_store(
    oracle: Oracle, data: st.DataObject, *, folded: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        whole, parts = written(Path(name), oracle.epochs)
        if folded:
            for path in (whole, *parts):
                fold(path, (1, 2), (3,))
        ids = [node_id(node) for node in chosen(oracle, data)]
        with unfiltered(whole) as one, unfiltered(parts) as several:
            for expected, answer in zip(answers(one, ids), answers(several, ids), strict=True):
                assert answer == expected
            if not folded:
                for after, upto in combinations(range(1, 5), 2):
                    assert plain(_changes(several, after, upto)) == plain(_changes(one, after, upto))


def _changes(opened: OpenStore, after: int, upto: int) -> Any:
    first, last = (
        [moment for kept in moments(opened._store) for moment in kept if moment.epoch == epoch]
        for epoch in (after, upto)
    )
    return changes(opened._store, first, last)


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    return written(tmp_path_factory.mktemp("several"), DAYS)


def rows(opened: OpenStore, view: str) -> list[dict[str, Any]]:
    listed = opened.sql(
        f"SELECT * EXCLUDE (epoch) FROM {view}" if view[:5] not in ("label", "vocab") else f"FROM {view}"
    )
    return sorted(listed.to_dicts(), key=str)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_shown_the_same_rows(days: tuple[Path, list[Path]], role: str) -> None:
    whole, parts = days
    with open_store(whole, role=role) as one, open_store(parts, role=role) as several:
        for view in VIEWS:
            try:
                expected = rows(one, view)
            except InputError:
                with pytest.raises(InputError):
                    rows(several, view)
                continue
            assert rows(several, view) == expected
        assert several.hidden == one.hidden
        ids = ["g1/answer/100", "g2/activity/100", "training/intent-model/2"]
        for expected_answer, answer in zip(answers(one, ids), answers(several, ids), strict=True):
            assert answer == expected_answer


def test_epochs_are_stated_for_each_store_and_joins_by_epoch_stay_right(
    days: tuple[Path, list[Path]],
) -> None:
    whole, parts = days
    joined = "SELECT count(*) FROM events JOIN epochs USING (epoch)"
    with unfiltered(whole) as one, unfiltered(parts) as several:
        assert several.epochs == dict.fromkeys(map(str, parts), 3)
        assert several.epoch == several.completeness().epoch == 0
        assert several.sql(joined).to_dicts() == one.sql(joined).to_dicts()
        # Whoever joins by epoch meets the epoch of the row's own store.
        assert several.sql("SELECT count(DISTINCT epoch) AS n FROM events").to_dicts() == [{"n": 6}]
        # The answer says in which epoch of its store an event came.
        assert several.why("g2/imu/200").to_dict()["published_in_epoch"] == 2


def test_a_time_is_the_newest_kept_epoch_of_each_store(tmp_path: Path) -> None:
    parts = [
        part(tmp_path / "a", (0,), *(of_sources(rows, frozenset({"g1", "training"})) for rows in DAYS)),
        part(tmp_path / "b", (1,), of_sources(DAYS[0], frozenset({"g2"}))),
    ]
    with Store.open(parts) as opened:
        (_, second, _), (first,) = moments(opened)
        at = rfc3339(max(second.published_ns, first.published_ns))
    for role in ROLES:
        with open_store(parts, role=role, as_of=at) as several:
            assert several.epochs == {str(parts[0]): several.epochs[str(parts[0])], str(parts[1]): 1}
    with pytest.raises(InputError, match=r"found epoch 2 for 2 stores, expected a time"):
        open_store(parts, role="analyst", as_of="2")
    with pytest.raises(InputError, match=f"before the first epoch that {parts[0]} keeps"):
        open_store(parts, role="analyst", as_of="1999-01-01")


def test_a_past_moment_leaves_out_later_epochs_of_each_store(days: tuple[Path, list[Path]]) -> None:
    whole, parts = days
    for role in ROLES:
        with _past(whole, role, 2) as one, _past(parts, role, 2, 1) as several:
            events = "SELECT count(*) AS n, max(epoch % 1000000000000) AS e FROM events WHERE source = '{}'"
            for source, last in (("g1", 2), ("g2", 1)):
                [row] = several.sql(events.format(source)).to_dicts()
                assert row["e"] in (last, None)
                if last == 2:
                    assert row == one.sql(events.format(source)).to_dicts()[0]
            assert list(several.epochs.values()) == [2, 1]
            with pytest.raises(InputError):
                several.why("g2/imu/200")
            if role != "wearer:w1":
                assert plain(several.descendants("g1/imu/200")) == plain(one.descendants("g1/imu/200"))


def _past(stores: Path | Sequence[Path], role: str, *epochs: int) -> OpenStore:
    opened = open_store(stores, role=role)
    opened._store.look_back(*epochs)
    return opened


def test_a_partition_that_no_opened_store_holds_is_said(
    days: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    _, parts = days
    with unfiltered(parts) as several, unfiltered(parts[0]) as alone:
        assert several.left_out == []
        [sentence] = alone.left_out
        assert "partitions 2-3 of glasses.lineage, because no opened store holds it" in sentence
    asked = CliRunner().invoke(main, ["ask", "why", "g1/imu/100", "--store", str(parts[0])])
    assert asked.exit_code == 0
    assert "left out: what is in partitions 2-3" in asked.stderr


def _set(path: Path, values: str) -> None:
    """Change what the newest catalog tells of its store."""
    catalog = (path / "catalog.duckdb").resolve()
    catalog.chmod(0o600)
    with duckdb.connect(str(catalog)) as connection:
        connection.execute(f"UPDATE store SET {values}")


def test_stores_that_are_no_parts_of_one_are_refused(days: tuple[Path, list[Path]], tmp_path: Path) -> None:
    whole, parts = days
    rows = {"policies": [POLICY], "events": [event("g9", "imu", 0, **tagged())]}
    overlapping = part(tmp_path / "overlapping", (1, 2), rows)
    logs = [part(tmp_path / f"log-{partition}", (partition,), rows) for partition in (0, 1)]
    for nth, path in enumerate(logs):
        _set(path, f"cluster = 'c', topic = 't{nth}'")
    other = part(tmp_path / "other", (3,), rows)
    _set(other, "version = 99")
    for stores, sentence in (
        ([parts[0], overlapping], r"found partition 1 of glasses\.lineage in both"),
        ([parts[0], whole], "found a store of every partition"),
        ([parts[0], parts[0]], "named twice"),
        (logs, "different logs"),
        ([parts[0], other], "found a store of version 99"),
        ([], "found no store"),
    ):
        with pytest.raises(InputError, match=sentence):
            open_store(stores, role="analyst")
    for stores in ([parts[0], overlapping], [parts[0], whole]):
        with pytest.raises(InputError):
            StoreReader(*stores)


def test_the_ledgers_reader_has_the_rows_of_all_stores(days: tuple[Path, list[Path]]) -> None:
    whole, parts = days
    one, several = StoreReader(whole), StoreReader(*parts)
    for statement in (
        'SELECT source, stream, sum("count") FROM events JOIN streams USING (source, stream) GROUP BY ALL',
        "SELECT count(*) FROM events JOIN epochs USING (epoch)",
        "SELECT sum(child_count * parent_width) FROM edges",
    ):
        assert sorted(several.rows(statement)) == sorted(one.rows(statement))
    one.close()
    several.close()


def test_a_read_is_in_the_log_of_each_store_and_counts_once(tmp_path: Path) -> None:
    rows = {"policies": [POLICY], "events": [event("g1", "imu", 0, **tagged("imu", "health", wearer="w1"))]}
    other = {"policies": [POLICY], "events": [event("g2", "imu", 0, **tagged("imu", "health", wearer="w2"))]}
    parts = [part(tmp_path / "a", (0, 1), rows), part(tmp_path / "b", (2, 3), other)]
    with open_store(parts, role="privacy-officer") as several:
        several.why("g1/imu/0")
        lines = {(path / AUDIT_LOG).read_bytes() for path in parts}
        assert len(lines) == 1
        assert several.reads().reads == 1


def test_classes_of_a_second_store_are_its_own(tmp_path: Path) -> None:
    """The first class of each store: one that an analyst is shown, and one that she is not."""
    shown = {"policies": [POLICY], "events": [event("g1", "imu", 0, **tagged("imu", "public"))]}
    health = tagged("imu", "health", wearer="w2")
    hidden = {"policies": [POLICY], "events": [event("g2", "imu", 0, **health)]}
    parts = [part(tmp_path / "a", (0, 1), shown), part(tmp_path / "b", (2, 3), hidden)]
    for stores in (parts, parts[::-1]):
        with open_store(stores, role="analyst") as several:
            assert several.sql("SELECT source FROM events").to_dicts() == [{"source": "g1"}]
            assert several.hidden == {"events": "1-9"}


def test_a_role_must_be_granted_in_every_store(tmp_path: Path) -> None:
    rows = {"policies": [POLICY], "events": [event("g1", "imu", 0, **tagged())]}
    parts = [part(tmp_path / "a", (0, 1), rows), part(tmp_path / "b", (2, 3), rows)]
    (parts[1] / "roles.toml").write_text('[roles]\nanalyst = ["nobody-here"]\n', encoding="utf-8")
    with pytest.raises(InputError, match="found no grant of the role analyst"):
        open_store(parts, role="analyst")


def test_an_export_holds_the_edges_of_all_stores(days: tuple[Path, list[Path]], tmp_path: Path) -> None:
    whole, parts = days
    one, several = tmp_path / "one.graphml", tmp_path / "several.graphml"
    export(whole, "graphml", one)
    export(parts, "graphml", several)
    assert in_graphml(several)[1] == in_graphml(one)[1]


def test_commands_read_several_stores(days: tuple[Path, list[Path]]) -> None:
    _, parts = days
    stores = [word for path in parts for word in ("--store", str(path))]
    asked = CliRunner().invoke(main, ["ask", "completeness", "--json", *stores])
    assert asked.exit_code == 0, asked.output
    assert f'"epochs":{{"{parts[0]}":3,"{parts[1]}":3}}' in asked.stdout
    assert '"epoch":' not in asked.stdout
    counted = CliRunner().invoke(
        main, ["sql", "SELECT DISTINCT source FROM events ORDER BY ALL", "--json", *stores]
    )
    assert '"rows":[["g1"],["g2"],["training"]]' in counted.stdout


def test_a_store_keeps_its_partitions(tmp_path: Path) -> None:
    path = part(tmp_path / "s", (0, 1))
    whole = store(tmp_path / "whole")
    for directory, partitions, sentence in (
        (path, (0, 2), r"holds partitions 0-1 of glasses\.lineage, found --partitions 0,2"),
        (path, None, "found no --partitions, expected the same as before. Start again with --partitions 0-1"),
        (whole, (0,), r"holds every partition .* Start again without --partitions"),
        (path, (3, 4), r"found partition 4 in --partitions 3-4, .* which has 0 to 3"),
    ):
        writer = Writer.open(directory)
        try:
            with pytest.raises(InputError, match=sentence):
                writer.hold(partitions, 4)
        finally:
            writer.close()
    writer = Writer.open(path)
    assert writer.hold((1, 0), 4) == (0, 1)
    writer.close()
    # A store of all partitions is no part of several.
    fresh = Writer.open(tmp_path / "fresh")
    assert fresh.hold((0, 1, 2, 3), 4) is None
    fresh.close()
