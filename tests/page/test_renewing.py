"""The live page reads an epoch once, and never shows what is no longer true or no longer permitted."""

from __future__ import annotations

import getpass
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from streams import limits
from streams.queries.store import Store
from streams.watching.reading import Position, Reader
from streams.watching.watcher import Turn, Watcher
from tests.page.asking import Visitor, facts
from tests.snapshots.build import batch, derived, stream
from tests.watching.growing import Growing, Time, growing_store

OFFICER = "privacy-officer"


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the statements that a test has the store run."""
    names = list[str]()
    query = Store.query

    def counted(
        store: Store, name: str, parameters: Mapping[str, object] | None = None, files: tuple[str, ...] = ()
    ) -> object:
        names.append(name)
        return query(store, name, parameters, files)

    monkeypatch.setattr(Store, "query", counted)
    return names


def now(visitor: Visitor, time: Time, after_s: float = 3.0) -> dict[str, str]:
    """What the page says under `Now` some seconds later."""
    time.pass_s(after_s)
    reply = visitor.get("/live", OFFICER)
    assert reply.status == 200
    return facts(reply.text, "now")


def told(growing: Growing, *names: str) -> None:
    """Publish a batch of each stream of g1 from its next number on."""
    growing.publish(
        events=[row for name in names for row in growing.heard("g1", stream=name)],
        streams=[stream("g1", name) for name in names],
    )


def test_an_epoch_is_read_once_and_a_new_one_is_shown(tmp_path: Path, time: Time, asked: list[str]) -> None:
    with growing_store(tmp_path / "s", time) as growing:
        visitor = Visitor(growing.path, OFFICER)
        first = now(visitor, time)
        assert (first["newest epoch"], first["dropped"]) == ("1", "0 events, by epoch 1")
        asked.clear()
        again = now(visitor, time)
        assert asked == []
        assert again == first | {"looked at": again["looked at"]} != first
        told(growing, "imu-right")
        assert now(visitor, time)["newest epoch"] == "2"


def test_what_is_missing_is_counted_less_often_and_says_of_when_it_is(
    tmp_path: Path, time: Time, asked: list[str]
) -> None:
    with growing_store(tmp_path / "s", time) as growing:
        visitor = Visitor(growing.path, OFFICER)
        now(visitor, time)
        growing.number("g1", "imu-right", 5)
        told(growing, "imu-right")
        assert now(visitor, time)["dropped"] == "0 events, by epoch 1"
        assert asked.count("missing") == 1
        told(growing, "imu-left")
        assert now(visitor, time, 10.0)["dropped"] == "5 events, by epoch 3"
        assert "Data is missing: 5 events." in visitor.get("/live", OFFICER).text
        assert visitor.get("/live.json", OFFICER).json["missing_by_epoch"] == 3


def test_another_store_at_the_same_place_is_read_anew(tmp_path: Path, time: Time) -> None:
    with growing_store(tmp_path / "one", time) as growing:
        told(growing, "imu-right")
    with growing_store(tmp_path / "other", time) as growing:
        growing.number("g1", "imu-right", 7)
        told(growing, "imu-right")
    place = tmp_path / "place"
    (tmp_path / "one").rename(place)
    visitor = Visitor(place, OFFICER)
    assert now(visitor, time)["dropped"] == "0 events, by epoch 2"
    shutil.rmtree(place)
    time.pass_s(3.0)
    assert visitor.get("/live", OFFICER).status == 503
    (tmp_path / "other").rename(place)
    assert now(visitor, time)["dropped"] == "7 events, by epoch 2"


def test_who_is_no_longer_granted_a_role_is_not_shown_what_was_read_under_it(
    tmp_path: Path, time: Time
) -> None:
    with growing_store(tmp_path / "s", time) as growing:
        visitor = Visitor(growing.path, OFFICER)
        now(visitor, time)
        grants = growing.path / "roles.toml"
        grants.write_text('[roles]\nprivacy-officer = ["nobody-here"]\n', encoding="utf-8")
        grants.chmod(0o600)
        time.pass_s(3.0)
        refused = visitor.get("/live", OFFICER)
        assert refused.status == 503
        assert "newest epoch" not in refused.text
        grants.chmod(0o600)
        grants.write_text(f'[roles]\nprivacy-officer = ["{getpass.getuser()}"]\n', encoding="utf-8")
        assert now(visitor, time)["newest epoch"] == "1"


def test_after_a_look_that_took_long_only_lag_and_grants_are_asked_for(
    tmp_path: Path, time: Time, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    look, lags = Watcher.look, list[Mapping[int, int]]()

    def slow(watcher: Watcher, positions: Mapping[Reader, Position] | None = None) -> Turn:
        time.pass_s(0.5)
        return look(watcher, positions)

    def lag(offsets: Mapping[int, int]) -> list[dict[str, object]]:
        lags.append(offsets)
        return []

    monkeypatch.setattr(Watcher, "look", slow)
    with growing_store(tmp_path / "s", time) as growing:
        visitor = Visitor(growing.path, OFFICER, lag=lag)
        first = now(visitor, time)
        told(growing, "imu-right")
        asked.clear()
        assert now(visitor, time) == first
        assert (len(lags), asked) == (2, [])
        grants = growing.path / "roles.toml"
        grants.write_text('[roles]\nprivacy-officer = ["nobody-here"]\n', encoding="utf-8")
        grants.chmod(0o600)
        time.pass_s(3.0)
        assert visitor.get("/live", OFFICER).status == 503
        grants.unlink()
        assert now(visitor, time, 0.5 * limits.PAGE_LIVE_REST)["newest epoch"] == "2"


def test_what_is_hidden_is_told_although_it_was_counted_earlier(tmp_path: Path, time: Time) -> None:
    with growing_store(tmp_path / "s", time) as growing:
        visitor = Visitor(growing.path, "analyst")
        secret = batch("g2", "imu-right", 0, zone="health", label="ff")
        growing.publish(events=[secret], streams=[stream("g2", "imu-right")])
        time.pass_s(3.0)
        before = visitor.get("/live.json", "analyst").json["hidden"]
        assert before["streams"] == "1-9"
        growing.publish(events=[derived("g1", "activity", 0)], streams=[stream("g1", "activity")])
        time.pass_s(3.0)
        assert visitor.get("/live.json", "analyst").json["hidden"] == before
