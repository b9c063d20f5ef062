"""What the drawings say of a store is what other questions and SQL say of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from streams import limits
from streams.page.drawing.graph import Picture
from streams.page.drawing.zones import Looks
from streams.page.pictures.crossed import SPANS, crossing_matrix
from streams.page.pictures.event import Cut, Reaches, event_picture
from streams.page.pictures.held import wearer_timeline
from streams.page.pictures.links import Links
from streams.page.pictures.turns import accuracy_series, loop_turns, run_checks
from streams.queries.asking import OpenStore, open_store
from tests.queries.exported import DAYS
from tests.snapshots.build import POLICY
from tests.snapshots.build import row as row_of
from tests.snapshots.build import store as store_of

LOOKS = Looks.of([("health", 60), ("bystander-present", 50), ("voice-assistant", 40), ("public", 20)])
LINKS = Links({"epoch": "7"})
ROLES = ("privacy-officer", "analyst", "wearer:w2")


@pytest.fixture(scope="module", params=ROLES)
def store(home: Path, request: pytest.FixtureRequest) -> Iterator[OpenStore]:
    with open_store(home / "lineage-store", role=request.param) as opened:
        yield opened


@pytest.fixture(scope="module")
def officer(home: Path) -> Iterator[OpenStore]:
    with open_store(home / "lineage-store", role="privacy-officer") as opened:
        yield opened


def some_answer(store: OpenStore) -> str:
    """An answer that the role is shown, and from which an example was made."""
    rows = store.sql(
        "SELECT parent_source || '/' || parent_stream || '/' || parent_number AS id FROM edge_records "
        "WHERE operator = 'example' AND parent_stream = 'answer' ORDER BY ALL LIMIT 1"
    ).to_dicts()
    return str(rows[0]["id"])


def drawn_event(store: OpenStore, identity: str, up: int = 1, down: int = 1) -> Cut:
    ancestors = store.ancestors(identity)
    return event_picture(
        store.why(identity),
        Reaches(
            ancestors=ancestors.ancestors.rows,
            descendants=store.descendants(identity, depth=down + 1).descendants.rows,
            models=ancestors.models,
            up=up,
            down=down,
        ),
        LINKS,
    )


def counts_into(picture: Picture, key: str) -> Counter[str]:
    """Events by the stream that arrows into a box come from."""
    streams = {node.key: node.title for node in picture.nodes}
    counts: Counter[str] = Counter()
    for arrow in picture.arrows:
        if arrow.to == key and arrow.words:
            stream = "/".join(streams[arrow.of].split(",")[0].split("..")[0].split("/")[:2])
            counts[stream] += int(arrow.words.split()[0].replace(",", ""))
    return counts


def test_one_hop_has_the_parents_that_sql_counts(store: OpenStore) -> None:
    answer = some_answer(store)
    source, stream, number = answer.split("/")
    picture = drawn_event(store, answer).picture
    (centre,) = [node for node in picture.nodes if node.current]
    assert centre.title == answer
    expected = {
        row["stream"]: row["events"]
        for row in store.sql(
            "SELECT parent_source || '/' || parent_stream AS stream, count(*) AS events FROM edge_records "
            f"WHERE child_source = '{source}' AND child_stream = '{stream}' AND child_number = {number} "
            "GROUP BY ALL"
        ).to_dicts()
    }
    assert counts_into(picture, centre.key) == expected
    assert "training/intent-model" in expected


def test_more_hops_reach_the_sensors_and_every_box_is_a_link(officer: OpenStore) -> None:
    answer = some_answer(officer)
    near, far = drawn_event(officer, answer).picture, drawn_event(officer, answer, up=9).picture
    assert any(node.shape == "more" for node in near.nodes)
    (more,) = [node for node in near.nodes if node.shape == "more" and "up=2" in node.href]
    assert parse_qs(urlsplit(more.href).query) == {"epoch": ["7"], "up": ["2"]}
    reached = officer.ancestors(answer)
    events = {(row.source, row.stream, row.first, row.last): row.events for row in reached.ancestors}
    beyond = {key: count for key, count in events.items() if key[:2] not in _streams(near)}
    assert more.title == f"{sum(_second_hop(officer, answer)):,} more"
    assert beyond
    assert not any(node.shape == "more" and "up=" in node.href for node in far.nodes)
    runs = [node for node in far.nodes if "imu-right" in node.title]
    assert [node.shape for node in runs] == ["run"]
    assert all(node.href or node.current for node in (*near.nodes, *far.nodes))
    assert all(arrow.href or not arrow.words for arrow in far.arrows)


def _streams(picture: Picture) -> set[tuple[str, str]]:
    return {tuple(node.title.split("/")[:2]) for node in picture.nodes if "/" in node.title}  # type: ignore[misc]


def _second_hop(store: OpenStore, identity: str) -> list[int]:
    return [row.events for row in store.ancestors(identity).ancestors if row.hop == 2]


def test_decisions_stand_on_the_ways_to_their_sinks(officer: OpenStore) -> None:
    denied = officer.sql(
        "SELECT id FROM decisions WHERE sink = 'training-run' AND verdict = 'deny' AND stream = 'example' "
        "ORDER BY ALL LIMIT 1"
    ).to_dicts()
    picture = drawn_event(officer, str(denied[0]["id"])).picture
    (arrow,) = [arrow for arrow in picture.arrows if arrow.to == "sink training-run"]
    assert arrow.verdict == "deny"
    assert arrow.words == "sinks.training-run: purpose ai:ModelTraining is not permitted"
    assert arrow.href.endswith("?epoch=7#decisions")
    passed = {arrow.to for arrow in picture.arrows if arrow.verdict == "allow"}
    assert passed == {"sink glasses.examples", "sink store"}


def test_what_was_loosened_says_by_what(officer: OpenStore) -> None:
    picture = drawn_event(officer, "training/intent-model/2").picture
    loosened = {arrow.words for arrow in picture.arrows if arrow.verdict == "declassified"}
    assert loosened
    assert all(words.endswith("· model-training") for words in loosened)
    assert not picture.columns


def test_too_many_boxes_are_left_out_and_counted(officer: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = some_answer(officer)
    whole = drawn_event(officer, answer, up=9)
    assert whole.left_out == 0
    monkeypatch.setattr(limits, "PAGE_BOXES_MAX", 4)
    cut = drawn_event(officer, answer, up=9)
    walked = [node for node in cut.picture.nodes if node.shape not in {"sink", "more"}]
    assert len(walked) == 4
    assert cut.left_out > 0


def test_the_loop_adds_what_the_manifests_of_its_models_say(officer: OpenStore) -> None:
    turns = loop_turns(officer, officer.creep(), LINKS).turns
    models = officer.sql("SELECT version, examples, accuracy FROM models ORDER BY version").to_dicts()
    assert [turn.title for turn in turns] == [f"training/intent-model/{row['version']}" for row in models]
    assert [turn.accuracy for turn in turns] == [row["accuracy"] for row in models]
    # Examples are learned from for good: a generation adds what its manifest has more than the last one.
    assert turns[0].examples == models[0]["examples"]
    for turn, (before, row) in zip(turns[1:], pairwise(models), strict=True):
        assert turn.examples == row["examples"] - before["examples"]
        own = int(turn.key.rpartition("/")[2])
        assert all(int(fed.of.rpartition("/")[2]) < own for fed in turn.fed)
    given = officer.sql(
        "SELECT parent_number AS version, count(*) AS answers FROM edge_records "
        "WHERE operator = 'answer' AND parent_stream = 'intent-model' GROUP BY ALL"
    ).to_dicts()
    answers = {row["version"]: row["answers"] for row in given}
    assert [turn.answers for turn in turns] == [answers.get(row["version"], 0) for row in models]
    series = accuracy_series(loop_turns(officer, officer.creep(), LINKS), LINKS)
    assert [point.value for point in series.points] == [row["accuracy"] for row in models]


def test_the_loop_of_a_role_is_no_more_than_it_is_shown(home: Path, store: OpenStore) -> None:
    with open_store(home / "lineage-store", role="privacy-officer") as officer:
        whole = {turn.key: turn for turn in loop_turns(officer, officer.creep(), LINKS).turns}
    for turn in loop_turns(store, store.creep(), LINKS).turns:
        assert turn.answers <= whole[turn.key].answers
        assert turn.examples <= whole[turn.key].examples


def test_a_long_loop_is_cut_and_says_so(officer: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAGE_GENERATIONS_MAX", 2)
    turns = loop_turns(officer, officer.creep(), LINKS)
    assert len(turns.turns) == 2
    assert turns.cut == "cut after 2 generations: later ones are not drawn"


def test_a_declined_generation_is_told_with_its_reason(tmp_path: Path) -> None:
    reason = "worse than version 1 on the validation set"
    declined = row_of("promotions", version=2, outcome="declined", against=1, reason=reason)
    days = [{**each, "policies": [POLICY]} for each in DAYS]
    days[1]["promotions"] = [declined, row_of("promotions", version=1, outcome="rolled-back", reason="rude")]
    with open_store(store_of(tmp_path / "s", *days), role="privacy-officer") as officer:
        turns = loop_turns(officer, officer.creep(), LINKS).turns
        told = officer.loop("training/intent-model/1").generations
    assert [turn.declined for turn in turns] == ["", reason, ""]
    assert [turn.lines[-1].startswith("declined, ") for turn in turns] == [False, True, False]
    assert [generation.declined for generation in told] == ["", reason, ""]


def test_what_runs_held_or_left_out_is_told_to_whom_training_is_shown(tmp_path: Path) -> None:
    checked = [
        row_of("training_checks", version=2, name="outlier", subject="g5", outcome="left-out", judged=4),
        row_of("training_checks", version=2, name="device", subject="g1", outcome="passed"),
    ]
    path = store_of(tmp_path / "s", *({**each, "policies": [POLICY]} for each in DAYS))
    store_of(path, {"training_checks": checked})
    for role, told in (("privacy-officer", ["outlier"]), ("analyst", ["outlier"]), ("wearer:w1", [])):
        with open_store(path, role=role) as opened:
            assert [row["name"] for row in run_checks(opened)] == told


def test_fields_add_up_to_what_crossings_counts(store: OpenStore) -> None:
    matrix = crossing_matrix(store, LOOKS, LINKS)
    expected: Counter[tuple[str, str, str]] = Counter()
    for row in store.crossings(every="always").crossings:
        expected[row.zone, row.sink, row.verdict] += row.events
    drawn: Counter[tuple[str, str, str]] = Counter()
    for field in matrix.fields:
        assert len(field.shares) == SPANS
        for share in field.shares:
            drawn[field.zone, field.sink, "allow"] += share.allow + share.declassified
            drawn[field.zone, field.sink, "deny"] += share.deny
            drawn[field.zone, field.sink, "unconfigured"] += share.unconfigured
    assert +drawn == expected
    assert set(matrix.zones) == {zone for zone, _, _ in expected}
    assert set(matrix.sinks) == {sink for _, sink, _ in expected}


def test_what_a_declassifier_made_is_told_apart(officer: OpenStore) -> None:
    fields = {(field.zone, field.sink): field for field in crossing_matrix(officer, LOOKS, LINKS).fields}
    loosened = sum(share.declassified for field in fields.values() for share in field.shares)
    models = officer.sql("SELECT count(*) AS models FROM models WHERE wearers > 0").to_dicts()[0]["models"]
    # Each model that was made from examples of wearers crosses into its topic and into the store.
    assert loosened == 2 * models > 0


def test_a_wearer_sees_when_she_was_where_and_a_stranger_less(home: Path) -> None:
    rows = {}
    for role in ("privacy-officer", "wearer:w1", "wearer:w2", "analyst"):
        with open_store(home / "lineage-store", role=role) as opened:
            timeline = wearer_timeline(opened, "w1", LOOKS, LINKS)
            rows[role] = {row.word for row in timeline.rows} if timeline else None
            if role == "privacy-officer":
                zones = {row["zone"] for row in opened.wearer("w1").to_dict()["zones"]}  # type: ignore[attr-defined]
                assert timeline is not None
                assert {row.zone for row in timeline.rows if row.zone} == zones
                for row in timeline.rows:
                    for span in row.spans:
                        assert (
                            timeline.since_ns - 10**9 <= span.since_ns < (span.until_ns or timeline.until_ns)
                        )
    assert rows["wearer:w1"] == rows["privacy-officer"]
    assert rows["wearer:w2"] is None
    assert rows["analyst"] is not None
    assert rows["privacy-officer"] is not None
    assert rows["analyst"] < rows["privacy-officer"]


def test_addresses_keep_their_state_and_quote_what_somebody_wrote() -> None:
    links = Links({"epoch": "7"})
    assert links.event("g1/answer/30", up=2) == "/event/g1/answer/30?epoch=7&up=2"
    hostile = links.event('g1/"><script>/../x?y#z/1', "a b")
    assert hostile == "/event/g1/%22%3E%3Cscript%3E/../x%3Fy%23z/1?epoch=7#a%20b"
    assert Links().to("/zones", zone="", sink="store") == "/zones?sink=store"
