"""Which key store a worker takes, and that keys are destroyed by the broker's time and by no other."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from streams import clock, limits, metrics
from streams.events.brokers_time import BrokersTime
from streams.sealing.key_rows import KeyFor
from streams.sealing.key_store import KeyStore
from streams.worker.sealing import expire_keys

DAY_NS = 86_400 * 10**9
DAY = 20_000


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    made = KeyStore.made(tmp_path / "keys")
    made.ensure([KeyFor("anna", 1, DAY), KeyFor("anna", 30, DAY)])
    return made


def expired(store: KeyStore, monkeypatch: pytest.MonkeyPatch, time: BrokersTime, now_ns: int) -> None:
    """Run the loop for a few looks, on a machine whose clock says `now_ns`."""
    monkeypatch.setattr(limits, "KEYS_EXPIRE_S", 0.01)
    monkeypatch.setattr("streams.worker.sealing.KEYS_EXPIRE_S", 0.01)
    monkeypatch.setattr(clock, "now_ns", lambda: now_ns)

    async def some_looks() -> None:
        task = asyncio.create_task(expire_keys(store, time))
        await asyncio.sleep(0.3)
        assert not task.done()
        task.cancel()

    asyncio.run(some_looks())


def heard(ns: int) -> BrokersTime:
    time = BrokersTime()
    time.heard(ns, clock.monotonic_ns())
    return time


def test_keys_of_a_day_that_is_over_are_destroyed_and_the_others_wrapped_anew(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = metrics.read("keys_destroyed_total", reason="expired")
    now_ns = (DAY + 2) * DAY_NS
    expired(store, monkeypatch, heard(now_ns), now_ns)
    assert dict(store.counts()) == {"expired": 1, "present": 1}
    assert metrics.read("keys_destroyed_total", reason="expired") == before + 1
    assert [path.name for path in store.path.parent.glob("key-enc*")] == ["key-encryption-key.2"], "once"


def test_no_key_is_destroyed_while_the_broker_is_ahead_of_this_machine(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now_ns = (DAY + 100) * DAY_NS
    with caplog.at_level(logging.ERROR):
        expired(store, monkeypatch, heard(now_ns), now_ns - 4000 * 10**9)
    assert dict(store.counts()) == {"present": 2}
    assert "the broker is 4000 s ahead of this machine's clock" in caplog.text


def test_an_old_record_destroys_what_was_over_then_and_accuses_no_clock(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    heard_ns = (DAY + 2) * DAY_NS
    with caplog.at_level(logging.WARNING):
        expired(store, monkeypatch, heard(heard_ns), heard_ns + 100 * DAY_NS)
    assert dict(store.counts()) == {"expired": 1, "present": 1}
    assert caplog.text == ""


def test_no_key_is_destroyed_by_the_clock_of_a_machine_that_heard_nothing(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    expired(store, monkeypatch, BrokersTime(), (DAY + 1000) * DAY_NS)
    assert dict(store.counts()) == {"present": 2}


def test_a_key_store_that_fails_is_said_and_tried_again(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    [path] = store.path.parent.glob("key-encryption-key.*")
    kept = path.read_bytes()
    path.unlink()
    now_ns = (DAY + 2) * DAY_NS
    expired(store, monkeypatch, heard(now_ns), now_ns)
    assert "tried again: " in caplog.text
    path.write_bytes(kept)
    path.chmod(0o600)
    expired(store, monkeypatch, heard(now_ns), now_ns)
    assert dict(store.counts()) == {"expired": 1, "present": 1}
    assert [each.name for each in store.path.parent.glob("key-enc*")] == ["key-encryption-key.2"]


def test_the_brokers_time_goes_on_and_never_back() -> None:
    time = BrokersTime()
    assert time.now_ns(5) == 0
    time.heard(1000, 10)
    assert time.now_ns(30) == 1020
    time.heard(900, 40)
    assert time.now_ns(40) == 1030
    time.heard(2000, 50)
    assert time.now_ns(51) == 2001
