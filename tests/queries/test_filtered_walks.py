"""What a role is shown of a walk, whichever files the zones of its events lie in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from streams import limits
from streams.errors import InputError, UnavailableError
from streams.queries import questions
from streams.queries.answers import Ancestors
from streams.queries.loop import loop
from streams.queries.role import Role
from streams.queries.store import Store
from tests.queries.folded import fold
from tests.snapshots.build import POLICY, Row, batch, derived, edge, store, stream, tagged

FILES: dict[str, Sequence[Sequence[int]]] = {
    "fresh": (),
    "folded": ((1, 2, 3),),
    "two indexes": ((1,), (2, 3)),
    "in part": ((1, 2),),
}


@pytest.fixture(params=FILES, scope="module")
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Windows over a stream that was public, then health, then public again."""
    streams = [
        stream("g1", "imu"),
        stream("g1", "gaze", "gaze"),
        stream("g1", "activity", "activity", captured=False),
    ]
    zones = ("public", "health", "public")

    def epoch(number: int) -> dict[str, Sequence[Row]]:
        first, zone = 100 * number, zones[number]
        return {
            "events": [
                batch("g1", "imu", first, 100, **tagged("imu", zone)),
                derived("g1", "activity", first, **{**tagged("imu", zone), "kind": "activity"}),
                derived("g1", "activity", first, revision=1, **{**tagged("imu", zone), "kind": "activity"}),
            ],
            "edges": [
                edge(("g1", "activity", first), ("g1", "imu", max(first - 50, 0)), parent_width=100),
                edge(
                    ("g1", "activity", first),
                    ("g1", "activity", first),
                    child_revision=1,
                    operator="revision",
                ),
                edge(("g1", "activity", first), ("g1", "imu", first), child_revision=1, parent_width=10),
            ],
        }

    last = epoch(2)
    # One that comes late stands between two of another zone, whose run says nothing of the hole.
    around = [batch("g1", "gaze", number, 1, **tagged("gaze", "health")) for number in (300, 302)]
    made = store(
        tmp_path_factory.mktemp("walks") / "s",
        {**epoch(0), "streams": streams, "policies": [POLICY]},
        {**epoch(1), "events": [*epoch(1)["events"], *around]},
        {
            "events": [
                *last["events"],
                batch("g1", "gaze", 301, 1, **tagged("gaze")),
                derived("g1", "activity", 300),
            ],
            "edges": [*last["edges"], edge(("g1", "activity", 300), ("g1", "gaze", 300), parent_width=3)],
        },
    )
    groups = FILES[request.param]
    return fold(made, *groups) if groups else made


def numbers(answer: Ancestors) -> set[tuple[str, int]]:
    return {
        (
            run.id.rpartition("/")[0] + ("." + run.id.partition(".")[2] if "." in run.id else ""),
            number,
        )
        for run in answer.ancestors
        for number in range(run.first, run.last + 1)
    }


@pytest.mark.parametrize("kept", [4096, 0], ids=["kept", "read as asked for"])
def test_hidden_parents_are_not_shown_and_the_others_are(
    path: Path, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ZONE_RUNS_KEPT", kept)
    with Store.open(path, Role.of("analyst")) as opened:
        found = numbers(questions.ancestors(opened, "g1/activity/200"))
    assert found == {("g1/imu", number) for number in range(200, 250)}
    with Store.open(path) as opened:
        found = numbers(questions.ancestors(opened, "g1/activity/200"))
    assert found == {("g1/imu", number) for number in range(150, 250)}


def test_what_lies_between_hidden_numbers_opens_none_of_them(path: Path) -> None:
    with Store.open(path, Role.of("analyst")) as opened:
        assert numbers(questions.ancestors(opened, "g1/activity/300")) <= {("g1/gaze", 301)}
    with Store.open(path) as opened:
        assert len(numbers(questions.ancestors(opened, "g1/activity/300"))) == 3


def test_a_hidden_event_and_one_that_is_not_there_have_no_ancestors(path: Path) -> None:
    for absent in ("g1/activity/100", "g1/activity/101", "g1/activity/100.1", "g9/activity/0"):
        with Store.open(path, Role.of("analyst")) as opened, pytest.raises(InputError):
            questions.ancestors(opened, absent)


def test_an_edge_to_one_revision_does_not_lead_to_the_other(path: Path) -> None:
    with Store.open(path) as opened:
        corrected = numbers(questions.ancestors(opened, "g1/activity/200.1"))
        children = loop(opened, "g1/activity/200")
    first = {("g1/imu", number) for number in range(150, 250)}
    assert corrected == {("g1/activity", 200)} | first
    assert children.id == "g1/activity/200"
    with Store.open(path) as opened, pytest.raises(InputError):
        questions.ancestors(opened, "g1/activity/200.2")


def test_an_epoch_whose_files_are_gone_is_a_sentence(tmp_path: Path) -> None:
    path = store(tmp_path / "s", {"events": [batch("g1", "imu", 0, 10)], "streams": [stream("g1", "imu")]})
    with Store.open(path) as opened:
        (path / "catalog.duckdb").resolve().unlink()
        for file in (path / "segments").iterdir():
            file.unlink()
        with pytest.raises(UnavailableError, match=r"was replaced more than 60 s ago.* ask again"):
            questions.why(opened, "g1/imu/0")
