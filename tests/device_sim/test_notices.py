"""Notices on a device: wearers look at some, the device says so once, and consents name what was shown."""

from __future__ import annotations

import orjson

from device_sim.device import Device
from device_sim.files import read_notice
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


def test_wearers_look_at_three_notices_in_four_whatever_the_order() -> None:
    assert 25 <= len(looked_at(make_device())) <= 35
    assert looked_at(make_device()) == looked_at(make_device())


def test_a_device_reads_notices_and_nothing_else() -> None:
    heard = read_notice(notice("0" * 16))
    assert heard is not None
    assert (heard.device, heard.wearer, heard.version, heard.lines) == ("g1", "w1", "0" * 16, ("Used.",))
    strange = [None, b"", b"{", b"[]", b'{"notice": 1}', b'{"notice": {"device": "g1"}}', b'{"receipt": {}}']
    assert [read_notice(value) for value in strange] == [None] * len(strange)
