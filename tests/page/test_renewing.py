"""The live page reads an epoch once, and never shows what is no longer true or no longer permitted."""

from __future__ import annotations

import contextlib
import getpass
import shutil
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from streams import limits, settings
from streams.page.renewing import LivePages
from streams.queries.asking import OpenStore
from streams.queries.missing import Missing
from streams.queries.role import Role
from streams.queries.store import Store
from streams.snapshots.writer import Writer
from streams.watching.reading import Position, Reader
from streams.watching.watcher import Turn, Watcher
from tests.page.asking import Visitor, facts
from tests.patience import PATIENCE_S
from tests.snapshots.build import POLICY, T0_NS, batch, derived, stream, tables
from tests.watching.growing import Growing, Time, decision, growing_store

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


@pytest.fixture
def slow(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at a store take half a second, so that there is none for 15 seconds after one."""
    look = Watcher.look

    def looked(watcher: Watcher, positions: Mapping[Reader, Position] | None = None) -> Turn:
        time.pass_s(0.5)
        return look(watcher, positions)

    monkeypatch.setattr(Watcher, "look", looked)


def grant(directory: Path, user: str) -> None:
    """Grant the privacy officer's role to a user alone."""
    path = directory / "roles.toml"
    path.write_text(f'[roles]\nprivacy-officer = ["{user}"]\n', encoding="utf-8")
    path.chmod(0o600)


def grown(path: Path, time: Time, *, epochs: int = 1, absent: int = 0, refused: bool = False) -> Path:
    """A store with some epochs, numbers that are missing, and an alert."""
    with growing_store(path, time) as growing:
        growing.number("g1", "imu-right", absent)
        for _ in range(epochs):
            told(growing, "imu-right")
        if refused:
            row = decision(
                "", "glasses.zoned", first=7, count=3, label="", passed=False, verdict="unconfigured"
            )
            growing.publish(decisions=[row])
    return path


def test_a_page_is_made_every_two_seconds_and_shows_a_new_epoch(
    tmp_path: Path, time: Time, asked: list[str]
) -> None:
    with growing_store(tmp_path / "s", time) as growing:
        visitor = Visitor(growing.path, OFFICER)
        first = now(visitor, time)
        assert (first["newest epoch"], first["dropped"]) == ("1", "0 events, by epoch 1")
        asked.clear()
        assert now(visitor, time, 1.9) == first
        assert asked == []
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


@pytest.mark.parametrize("epochs", [2, 8], ids=["as many epochs", "more epochs"])
@pytest.mark.usefixtures("slow")
def test_another_store_at_the_same_place_is_known_by_nothing(tmp_path: Path, time: Time, epochs: int) -> None:
    place = grown(tmp_path / "one", time, absent=7, refused=True).rename(tmp_path / "place")
    other = grown(tmp_path / "other", time, epochs=epochs)
    visitor = Visitor(place, OFFICER)
    assert now(visitor, time)["dropped"] == "7 events, by epoch 3"
    assert [alert["rule"] for alert in visitor.get("/live.json", OFFICER).json["alerts"]] == ["unconfigured"]
    shutil.rmtree(place)
    other.rename(place)
    assert now(visitor, time)["dropped"] == f"0 events, by epoch {epochs + 1}"
    assert visitor.get("/live.json", OFFICER).json["alerts"] == []


def test_another_store_in_the_same_directory_is_known_by_nothing(tmp_path: Path, time: Time) -> None:
    place = grown(tmp_path / "place", time, absent=7, refused=True)
    other = grown(tmp_path / "other", time, epochs=8)
    visitor = Visitor(place, OFFICER)
    now(visitor, time)
    for each in list(place.iterdir()):
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    for each in list(other.iterdir()):
        each.rename(place / each.name)
    assert now(visitor, time)["dropped"] == "0 events, by epoch 9"
    assert visitor.get("/live.json", OFFICER).json["alerts"] == []


def test_a_link_to_a_store_is_followed_each_time(tmp_path: Path, time: Time) -> None:
    link = tmp_path / "current"
    link.symlink_to(grown(tmp_path / "one", time, absent=7))
    visitor = Visitor(link, OFFICER)
    assert now(visitor, time)["newest epoch"] == "2"
    other = grown(tmp_path / "other", time, epochs=8)
    link.unlink()
    link.symlink_to(other)
    assert now(visitor, time)["dropped"] == "0 events, by epoch 9"


@pytest.mark.usefixtures("slow")
def test_a_store_that_is_gone_is_said_at_once_and_in_words(
    tmp_path: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = grown(tmp_path / "s", time)
    visitor = Visitor(place, OFFICER)
    now(visitor, time)
    place.rename(tmp_path / "away")
    time.pass_s(3.0)
    reply = visitor.get("/live", OFFICER)
    assert (reply.status, "there is no store" in reply.text) == (503, True)
    grant(tmp_path, getpass.getuser())
    monkeypatch.setattr(settings, "ROLES", tmp_path / "roles.toml")
    assert visitor.get("/live", OFFICER).status == 503


def test_files_that_are_gone_are_said_at_the_next_look(tmp_path: Path, time: Time) -> None:
    place = grown(tmp_path / "s", time)
    visitor = Visitor(place, OFFICER)
    now(visitor, time)
    shutil.rmtree(place / "segments")
    time.pass_s(3.0)
    assert visitor.get("/live", OFFICER).status == 503


def test_who_is_no_longer_granted_a_role_is_shown_nothing_from_then_on(tmp_path: Path, time: Time) -> None:
    place = grown(tmp_path / "s", time)
    visitor = Visitor(place, OFFICER)
    now(visitor, time)
    grant(place, "nobody-here")
    refused = visitor.get("/live", OFFICER)
    assert refused.status == 503
    assert "newest epoch" not in refused.text
    grant(place, getpass.getuser())
    assert now(visitor, time)["newest epoch"] == "2"


@pytest.mark.usefixtures("slow")
def test_after_a_look_that_took_long_only_lag_is_asked_for(
    tmp_path: Path, time: Time, asked: list[str]
) -> None:
    lags = list[Mapping[int, int]]()

    def lag(offsets: Mapping[int, int]) -> list[dict[str, object]]:
        lags.append(offsets)
        return []

    with growing_store(tmp_path / "s", time) as growing:
        visitor = Visitor(growing.path, OFFICER, lag=lag)
        first = now(visitor, time)
        told(growing, "imu-right")
        asked.clear()
        assert now(visitor, time) == first
        assert (len(lags), asked) == (2, [])
        assert now(visitor, time, limits.PAGE_LIVE_REST_S_MAX)["newest epoch"] == "2"


def test_waiting_for_a_broker_delays_no_look(tmp_path: Path, time: Time) -> None:
    def lag(_: Mapping[int, int]) -> list[dict[str, object]]:
        time.pass_s(1.0)
        return []

    with growing_store(tmp_path / "s", time) as growing:
        visitor = Visitor(growing.path, OFFICER, lag=lag)
        now(visitor, time)
        told(growing, "imu-right")
        assert now(visitor, time)["newest epoch"] == "2"


def test_the_time_of_counting_delays_no_look(
    tmp_path: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = OpenStore.missing

    def counted(store: OpenStore) -> Missing:
        time.pass_s(2.0)
        return missing(store)

    monkeypatch.setattr(OpenStore, "missing", counted)
    with growing_store(tmp_path / "s", time) as growing:
        visitor = Visitor(growing.path, OFFICER)
        now(visitor, time)
        told(growing, "imu-right")
        assert now(visitor, time)["newest epoch"] == "2"
        assert now(visitor, time, 290.0)["dropped"] == "0 events, by epoch 1"
        assert now(visitor, time, 10.0)["dropped"] == "0 events, by epoch 2"


def test_while_one_makes_the_page_others_get_the_one_before(tmp_path: Path) -> None:
    with contextlib.closing(Writer.open(tmp_path / "s")) as writer:
        writer.ingest_tables(tables({"policies": [POLICY]}), T0_NS)
        writer.publish(T0_NS)
    waiting, go_on = threading.Event(), threading.Event()
    go_on.set()

    def lag(_: Mapping[int, int]) -> list[dict[str, object]]:
        waiting.set()
        assert go_on.wait(PATIENCE_S)
        return []

    pages = LivePages(tmp_path / "s", lag)
    first = pages.page(Role.of(OFFICER))
    go_on.clear()
    waiting.clear()
    with ThreadPoolExecutor(1) as other:
        while not waiting.is_set():
            made = other.submit(pages.page, Role.of(OFFICER))
            assert waiting.wait(0.1) or made.result(PATIENCE_S) is first
        assert pages.page(Role.of(OFFICER)) is first
        go_on.set()
        assert made.result(PATIENCE_S) is not first


def test_what_is_hidden_or_left_out_is_told_as_long_as_the_count_is_shown(tmp_path: Path, time: Time) -> None:
    with growing_store(tmp_path / "s", time) as growing:
        visitor = Visitor(growing.path, "analyst")
        secret = batch("g2", "imu-right", 0, zone="health", label="ff")
        unknown = batch("g3", "imu-right", 0, policy_version="0123456789abcdef")
        growing.publish(
            events=[secret, unknown], streams=[stream("g2", "imu-right"), stream("g3", "imu-right")]
        )
        time.pass_s(3.0)
        before = visitor.get("/live.json", "analyst").json
        assert before["hidden"]["streams"] == "1-9"
        assert "what 1 policies decided" in before["left_out"][0]
        # More than a minute later, so that only the count was hidden from.
        growing.publish(61.0, events=[derived("g1", "activity", 0)], streams=[stream("g1", "activity")])
        monotonic_s = time.steady_s
        time.steady_s = monotonic_s - 61.0 + 3.0
        after = visitor.get("/live.json", "analyst").json
        assert (after["epoch"], after["missing_by_epoch"]) == (3, 2)
        assert after["left_out"] == before["left_out"]
        assert after["hidden"]["streams"] == "1-9"


def test_lag_of_an_older_epoch_is_not_shown_whatever_broker_was_named(tmp_path: Path, time: Time) -> None:
    place = grown(tmp_path / "s", time)
    visitor = Visitor(place, OFFICER, lag=lambda _: [])
    assert "No broker was named" not in visitor.get("/live?epoch=1", OFFICER).text
    assert "Lag is that of now" in visitor.get("/live?epoch=1", OFFICER).text
