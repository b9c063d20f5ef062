"""States that lie on a shelf are the same states: no result and no checkpoint tells where they were."""

from __future__ import annotations

import stat
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from streams import limits, metrics
from streams.events.batch import Batch
from streams.events.record import Fetch, Outgoing
from streams.events.state import DeviceState
from streams.pipeline.devices import Devices
from streams.pipeline.live import LiveGlasses
from streams.pipeline.partition import PartitionState
from streams.pipeline.shelf import FileShelf
from streams.topology import LINEAGE
from tests import build
from tests.processing.test_windows import lives

PLAIN = build.core()
GAZE = 1999
SHELVED = ("device_states_shelved_total", "device_states_shelved_bytes_total")
FAT = [device for device, wearer in build.BOUND if wearer == "w1"]


@contextmanager
def shelving(states_bytes_max: int) -> Iterator[tuple[LiveGlasses, FileShelf, Path]]:
    """A core over a shelf that leaves so much decoded."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "STATES_BYTES_MAX", states_bytes_max)
        path = Path(directory) / "device-states"
        shelf = FileShelf(path)
        try:
            yield LiveGlasses(PLAIN.followed, shelf), shelf, path
        finally:
            shelf.close()


def begun(core: LiveGlasses) -> PartitionState:
    return replace(core.empty(0), consents_taken=core.followed.consents.offset)


def still(source: str, stream: str, first: int = 0, count: int = GAZE) -> Batch:
    """Gaze that stands still, so that its window stays open."""
    columns: dict[str, Any] = {
        "worn": [True] * count,
        "yaw_rad": [0.1] * count,
        "pitch_rad": [-0.1] * count,
    }
    return build.batch("gaze", stream, first, count, source=source, columns=columns)


def made_of(records: Sequence[Outgoing]) -> Counter[tuple[Any, ...]]:
    """What was written besides lineage, in whatever order: that of topics differs with a fetch's cut."""
    return Counter(
        (one.topic, one.key, one.value, tuple(one.headers)) for one in records if one.topic != LINEAGE
    )


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.reuse, Phase.generate),
)
@given(lives(), st.lists(st.integers(1, 7), min_size=1, max_size=5), st.sampled_from([0, 8000]))
def test_a_worker_that_keeps_nothing_decoded_writes_the_same(
    batches: list[Batch], sizes: list[int], states_bytes_max: int
) -> None:
    fetches = build.cut(batches or [build.imu(0.1, 0, 20)], sizes)
    whole, state = build.process(PLAIN, fetches)
    with shelving(states_bytes_max) as (core, shelf, _):
        now, saved = begun(core), None
        entries: dict[str, bytes] = {}
        records: list[Outgoing] = []
        for fetch in fetches:
            outcome = build.step(core, now, fetch)
            # A fetch that is tried again gives the same, wherever the states of before lie by now.
            assert build.step(core, now, fetch).outputs == outcome.outputs
            now, records = outcome.state, [*records, *outcome.outputs]
            written = core.save(saved, now)
            entries, saved = {**entries, **written}, now
            assert shelf.held_bytes <= states_bytes_max
        assert core.save(saved, now) == {}
        assert entries == PLAIN.save(None, state)
        assert core.save(None, core.restore(0, entries)) == entries
        assert made_of(records) == made_of(whole)


def test_what_fat_devices_leave_half_open_is_bounded_by_bytes() -> None:
    """The attack of `fat_devices.py`, with a device's worth of memory for seven."""
    budget = 2 * limits.OPEN_WINDOWS_BYTES_MAX
    shelved = [metrics.read(name) for name in SHELVED]
    with shelving(budget) as (core, shelf, path):
        state = begun(core)
        for device in FAT:
            fetch = build.fetch([still(device, f"gaze-{number}") for number in range(32)])
            state = build.step(core, state, fetch).state
            assert shelf.held_bytes <= budget
        sizes = [slot.size_bytes for slot in map(state.devices.slot, FAT) if slot is not None]
        assert len(sizes) == len(FAT)
        assert min(sizes) > 32 * GAZE * 25
        assert path.stat().st_size > 0
        assert all(metrics.read(name) > before for name, before in zip(SHELVED, shelved, strict=True))
        assert metrics.read("device_states_kept") == shelf.kept
        assert metrics.read("device_states_bytes") == shelf.held_bytes
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        # One record of each in one fetch: worked off in parts, none of which decodes more than the bound.
        fetch = build.fetch([still(device, "gaze-0", GAZE, 1) for device in FAT])
        loaded = metrics.read("device_states_loaded_total")
        outcome = build.step(core, state, fetch)
        assert metrics.read("device_states_loaded_total") - loaded <= len(FAT)
        assert shelf.held_bytes <= budget
        plain = PLAIN.restore(0, PLAIN.save(None, PartitionState(devices=Devices(decoded(state).items()))))
        plain = replace(plain, consents_taken=state.consents_taken)
        assert made_of(outcome.outputs) == made_of(build.step(PLAIN, plain, fetch).outputs)


def decoded(state: PartitionState) -> dict[str, DeviceState]:
    return {name: slot.read() for name, slot in state.devices.fresh(Devices())}


def test_states_that_nobody_holds_any_more_leave_the_file() -> None:
    with shelving(0) as (core, shelf, _):
        state = begun(core)
        for turn in range(5):
            fetch = build.fetch([build.imu(0.1, 20 * turn, 20)])
            state = build.step(core, state, fetch).state
            assert shelf.kept == 1
        del state
        assert shelf.kept == 0


def test_nothing_is_remembered_of_a_device_that_is_bound_to_nobody() -> None:
    strangers = [build.imu(0.1, 0, 20, source=f"x{number}") for number in range(50)]
    _, state = build.process(PLAIN, [build.fetch([*strangers, build.imu(0.1, 0, 20)])])
    assert set(state.devices) == {"g1"}


def test_a_state_that_was_not_loaded_is_no_silent_gap() -> None:
    with shelving(0) as (core, _, _path):
        state = build.step(core, begun(core), build.fetch([build.imu(0.1, 0, 20)])).state
        with pytest.raises(AssertionError, match="must be loaded"):
            state.devices["g1"]


def test_a_file_that_cannot_be_written_is_no_records_fault() -> None:
    with shelving(0) as (core, shelf, _):
        shelf.close()
        fetch = Fetch("glasses.captured", 0, build.fetch([build.imu(0.1, 0, 20)]).records)
        with pytest.raises(OSError, match="file of devices' states"):
            build.step(core, begun(core), fetch)
