"""What the bench of wearers' rights counts is what happened; no time is asserted, no broker is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.bars import SEALING
from bench.rights.erasures import Erased, harmed, misled, sent
from bench.rights.grown import grow, of_devices, of_wearers
from bench.rights.reader import look
from bench.rights.refits import Seen, refitted_s, served_s
from bench.rights.sealed import sealed, sealing_speech
from bench.store.rows import Rows
from bench.traffic import IMU_20, TALK
from streams import clock
from streams.policy.load import load
from streams.policy.possible import sealed_kinds
from streams.queries.store import Store
from streams.snapshots.writer import Writer
from tests.bench.test_store import source
from tests.snapshots.worlds import erasure, mark

__all__ = ["source"]
_S_NS = 10**9


@pytest.mark.usefixtures("small_grace")
def test_an_erasure_of_one_harms_nobody_else_and_what_would_is_seen(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "grown"
    grown = grow(Rows.read(source), path, 3, 2)
    assert grown.wearers == {"g1-0": "s0", "g1-1": "s1", "g1-2": "s0"}
    with Store.open(path) as opened:
        before = of_wearers(opened), of_devices(opened)
    first: dict[str, Any] = {"reader": "one", **look(path, "g1-1/answer/1000003")}
    assert first["ancestors"] > 0
    writer = Writer.open(path, fold="inline")
    writer.erase([erasure(clock.now_ns(), wearer="s0")], mark, clock.now_ns())
    writer.settle(clock.now_ns())
    writer.close()
    with Store.open(path) as opened:
        after = of_wearers(opened), of_devices(opened)
    assert before[0].keys() == {"s0", "s1"}
    assert after[0].keys() == {"s1"}
    assert harmed(before, after, grown, ["s0"]) == []
    assert harmed(before, before, grown, ["s0"]) != [], "she is still there"
    twice = {**after[0], "s1": (2 * after[0]["s1"][0], after[0]["s1"][1])}
    for wrong in ((twice, after[1]), (after[0], {}), ({}, after[1])):
        assert harmed(before, wrong, grown, ["s0"]) != []

    second: dict[str, Any] = {"reader": "one", **look(path, "g1-1/answer/1000003")}
    done = [Erased("s0", first["began_ns"], second["began_ns"] - 1, {})]
    assert misled([first, second], done) == []
    assert misled([first, second, {**first, "began_ns": 0}], done) != [], "she came back"
    assert misled([first, {**first, "began_ns": second["began_ns"]}], done) != [], "she is there too late"
    assert misled([first, {**second, "told": {}}], done) != [], "somebody else is away"
    assert misled([first, {**second, "ancestors": 0}], done) != []


@pytest.fixture
def small_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.limits.SUPERSEDED_GRACE_S", 0.0)


def test_what_was_sent_is_counted_as_what_is_stored() -> None:
    batches = list(IMU_20.batches(0, 6, 10**18, 2))
    names = {batch.source for batch in batches}
    numbers = sum(range(60))
    found = sent((batch.source, batch.stream, batch.run.first) for batch in batches)
    assert found == dict.fromkeys(names, (60, numbers))


def test_a_model_serves_until_its_last_answer_and_a_refit_from_its_first() -> None:
    """By hand: 2 knows both; w1 is erased at 10 s, and 3, which has nobody, answers from 13 s on."""
    seen = Seen(
        {1: frozenset(), 2: frozenset({"w1", "w2"}), 3: frozenset({"w2"})}, {"w1": 10 * _S_NS}, {"w1": 2}
    )
    answered = [(9 * _S_NS, 2), (11 * _S_NS, 2), (12 * _S_NS, 1), (13 * _S_NS, 3), (14 * _S_NS, 3)]
    assert served_s(seen, answered, "w1") == 1
    assert refitted_s(seen, answered, "w1") == 3
    assert served_s(seen, answered[:1] + answered[2:], "w1") == 0
    assert refitted_s(seen, answered[:3], "w1") == 0


def test_sealing_is_measured_on_examples_and_on_what_is_said(tmp_path: Path) -> None:
    assert sealed_kinds(sealing_speech(load("household"))) == {
        "voice-assistant": ("feedback", "review", "voice_query")
    }
    found = sealed(tmp_path / "sealing", 1600, 1)
    [rows] = found.tables.values()
    assert [row["what"] for row in rows] == ["unsealed", "sealed"]
    assert rows[1]["sealed"] > 0
    assert [held["bar"] for held in found.bars] == [SEALING.name]


def test_talk_is_what_wearers_do_and_nothing_that_is_sampled() -> None:
    batches = list(TALK.batches(0, 100, 10**18, 2))
    assert {batch.kind for batch in batches} >= {"voice_query", "feedback"}
    assert not {batch.kind for batch in batches} & {"imu", "gaze"}
    firsts = dict[tuple[str, str], int]()
    for batch in batches:
        place = batch.source, batch.stream
        assert batch.run.first == firsts.get(place, 0), "no hole"
        firsts[place] = batch.run.first + batch.run.count
