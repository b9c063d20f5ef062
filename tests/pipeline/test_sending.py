"""Devices that send and devices that stopped are counted by partition, by a clock that never steps."""

from __future__ import annotations

import pytest

from streams import clock, limits, metrics
from streams.pipeline.sending import Sending
from tests import build


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics.PROCESS, "_values", {})


def shown(partition: int = 0) -> tuple[float, float]:
    at = str(partition)
    return metrics.read("devices_sending", partition=at), metrics.read("devices_stopped", partition=at)


def test_a_device_that_is_silent_has_stopped_and_one_that_speaks_again_sends() -> None:
    sending = Sending()
    sending.heard(0, ["g1", "g2"], 100.0)
    sending.show(100.0)
    assert shown() == (2, 0)
    sending.heard(0, ["g1"], 130.0)
    sending.show(100.0 + limits.DEVICE_SILENT_S - 1)
    assert shown() == (2, 0)
    sending.show(100.0 + limits.DEVICE_SILENT_S)
    assert shown() == (1, 1)
    sending.heard(0, ["g2"], 170.0)
    sending.show(171.0)
    assert shown() == (2, 0)


def test_a_device_that_is_silent_for_long_is_forgotten() -> None:
    sending = Sending()
    sending.heard(0, ["g1"], 0.0)
    sending.heard(0, ["g2"], 10.0)
    sending.show(limits.DEVICE_FORGOTTEN_S)
    assert shown() == (0, 1)
    sending.show(limits.DEVICE_FORGOTTEN_S + 10)
    assert shown() == (0, 0)


def test_a_device_whose_session_ended_has_not_stopped() -> None:
    sending = Sending()
    sending.heard(0, ["g1", "g2"], 0.0)
    sending.ended(0, ["g1", "g9"])
    sending.ended(7, ["g1"])
    sending.show(limits.DEVICE_SILENT_S)
    assert shown() == (0, 1)
    sending.heard(0, ["g1"], limits.DEVICE_SILENT_S)
    sending.show(limits.DEVICE_SILENT_S)
    assert shown() == (1, 1)


def test_a_core_hears_its_devices_and_the_end_of_their_sessions() -> None:
    made, state = build.core(), build.begun()
    batches = [build.imu(1.0, 0, 20, source=source) for source in ("g1", "g2", "stranger")]
    state = build.step(made, state, build.fetch(batches)).state
    made.sending.show(clock.monotonic_s())
    assert shown() == (2, 0), "nobody is paired with the stranger"
    assert metrics.read("devices_known", partition="0") == 2
    end = build.ended(0, build.T0_NS + 10**9, source="g2")
    build.step(made, state, build.fetch([end], offset=3))
    made.sending.show(clock.monotonic_s())
    assert shown() == (1, 0)
    made.left(0)
    assert not any(name.startswith("devices") for name, _, _ in metrics.PROCESS.current())


def test_a_partition_that_another_worker_has_is_not_shown() -> None:
    sending = Sending()
    sending.heard(0, ["g1"], 0.0)
    sending.heard(1, ["g2"], 0.0)
    sending.show(0.0)
    metrics.gauge("devices_known", 1, partition="0")
    sending.left(0)
    sending.show(1.0)
    names = {(name, *labels) for name, _, sets in metrics.PROCESS.current() for labels in sets}
    assert names == {("devices_sending", "1"), ("devices_stopped", "1")}
    sending.left(0)
    sending.left(7)
