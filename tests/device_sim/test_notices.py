"""Notices on a device: wearers look at some, the device says so once, and consents name what was shown."""

from __future__ import annotations

import orjson
import pytest

from device_sim.device import Device, Past
from device_sim.files import read_notice
from device_sim.own_consent import OwnConsent, acknowledgement
from device_sim.scenarios import PERIOD_NS
from streams.events.batch import Batch
from tests import build
from tests.device_sim.play import START_NS
from tests.device_sim.test_device import make_device, run_periods


def notice(version: str, device: str = "g1", wearer: str = "w1") -> bytes:
    fields = {"device": device, "wearer": wearer, "version": version, "controller": "dpo", "lines": ["Used."]}
    return orjson.dumps({"v": 1, "notice": {**fields, "policy": "household 1", "event": "g1/device-state/0"}})


def looked_at(device: Device) -> list[str]:
    return [f"{number:016x}" for number in range(40) if device.wearer.looks_at(f"{number:016x}")]


def test_a_notice_that_the_wearer_looks_at_is_acknowledged_once_and_named_in_the_next_consent() -> None:
    device = make_device()
    out = run_periods(device, 4)
    version = looked_at(device)[0]
    passed_over = next(each for each in map(str, range(40)) if not device.wearer.looks_at(each))
    for each in (version, passed_over, version):
        device.notified(each)
    more = run_periods(device, 4)
    device.notified(version)
    more += run_periods(device, 4)
    changes = [one.batch for one in more if one.batch.kind == "consent_change"]
    said = [batch for batch in changes if batch.columns["status"] == ["local:NoticeAcknowledged"]]
    assert [(batch.columns["consent"], batch.columns["notice"]) for batch in said] == [([0], [version])]
    assert device.consent.shown == (version,)
    given = [one.batch for one in [*out, *more] if one.batch.columns.get("status") == ["dpv:ConsentGiven"]]
    later = [batch for batch in given if batch.run.first > said[0].run.first]
    assert [batch.columns.get("notice") for batch in later] == [[version]] * len(later)
    assert all("notice" not in batch.columns for batch in given if batch not in later)
    assert device.consent.under("dpv:ConsentGiven") == {"notice": [version]}
    assert device.consent.under("dpv:ConsentWithdrawn") == {}, "what takes away names none"


def changes(device: Device, periods: int) -> list[Batch]:
    """Changes of consent, and acknowledged notices, in so many periods."""
    out = [one.batch for one in run_periods(device, periods)]
    return [batch for batch in out if batch.kind == "consent_change"]


def given_first(device: Device, *versions: str) -> list[Batch]:
    """What is said up to the first consent, if these notices came before it."""
    for version in versions:
        device.notified(version)
    return changes(device, 20)


def test_who_looks_at_a_notice_that_changed_agrees_again_some_seconds_later_under_that_one() -> None:
    device = make_device()
    first, second = looked_at(device)[:2]
    acknowledged, given = given_first(device, first)
    assert (acknowledged.columns["notice"], given.columns["notice"]) == ([first], [first])
    assert changes(device, 60) == [], "nobody asks as long as the notice is the same"
    device.notified(second)
    seen, again, *more = changes(device, 60)
    assert (seen.columns["status"], seen.columns["notice"]) == (["local:NoticeAcknowledged"], [second])
    assert again.columns["status"] == ["dpv:ConsentGiven"]
    assert (again.columns["notice"], again.columns["consent"]) == ([second], [2])
    assert again.columns["purposes"] == given.columns["purposes"]
    assert 0 <= again.t0_ns - seen.t0_ns - 5 * 10**9 < 2 * PERIOD_NS
    assert not more, "once"
    after = [one.batch for one in run_periods(device, 2) if one.batch.kind == "imu"]
    assert {batch.context.consent for batch in after if batch.context is not None} == {2}


def test_who_was_shown_none_before_is_not_asked_again() -> None:
    """The consent names no notice, and nothing changed since."""
    device = make_device()
    [given] = given_first(device)
    assert "notice" not in given.columns
    version, later = looked_at(device)[:2]
    device.notified(version)
    assert [batch.columns["consent"] for batch in changes(device, 60)] == [[0]]
    device.notified(later)
    assert [batch.columns.get("notice") for batch in changes(device, 60)] == [[later], [later]]


@pytest.mark.parametrize("withdrawn", [True, False])
def test_a_restarted_device_asks_again_and_after_a_withdrawal_none_does(withdrawn: bool) -> None:
    status, purposes = ("dpv:ConsentWithdrawn", "") if withdrawn else ("dpv:ConsentGiven", "ai:ModelTraining")
    device = make_device()
    first, second = looked_at(device)[:2]
    columns = {**OwnConsent().again(), "status": [status], "purposes": [purposes], "consent": [3]}
    given = {**columns, "notice": [first], "expires_ns": [START_NS + 10**12]}
    said = [acknowledgement(first), given, acknowledgement(second)]
    own = OwnConsent()
    for each in said:
        own = own.after(build.batch("consent_change", None, 0, 1, columns=each))
    assert own.shown == (first, second)
    restarted = make_device(Past(sessions=1, consents={"w1": own}))
    again = changes(restarted, 60)
    said_again = [(batch.columns["consent"], batch.columns["expires_ns"]) for batch in again]
    assert said_again == ([] if withdrawn else [([4], given["expires_ns"])])


def test_wearers_look_at_three_notices_in_four_whatever_the_order() -> None:
    assert 25 <= len(looked_at(make_device())) <= 35
    assert looked_at(make_device()) == looked_at(make_device())


def test_a_device_reads_notices_and_nothing_else() -> None:
    heard = read_notice(notice("0" * 16))
    assert heard is not None
    assert (heard.device, heard.wearer, heard.version, heard.lines) == ("g1", "w1", "0" * 16, ("Used.",))
    strange = [None, b"", b"{", b"[]", b'{"notice": 1}', b'{"notice": {"device": "g1"}}', b'{"receipt": {}}']
    assert [read_notice(value) for value in strange] == [None] * len(strange)
