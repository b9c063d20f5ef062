"""A state of the pipeline that lost something is made again from the log, and is the one it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import json

from streams.events.record import Fetch
from streams.pipeline.partition import PartitionState
from streams.topology import CAPTURED
from tests import build
from tests.recovery.test_state import CORE, Life, Owner, dumped, lives, serve

STATE = "@partition"


def live(life: Life) -> tuple[Owner, dict[str, bytes]]:
    """An owner at the end of a life that never saw a take-up but the first, and its state as stored."""
    serve(1)
    owner = Owner(build.begun(), None, {}, 0)
    for fetch in life.fetches:
        outcome = build.step(CORE, owner.state, fetch)
        owner.state = outcome.state
    return owner, dumped(owner.state)


def again(life: Life, state: PartitionState, keys: frozenset[bytes] | None = None) -> PartitionState:
    """Run the whole log again silently, cut otherwise."""
    records = [one for fetch in life.fetches for one in fetch.records if keys is None or one.key in keys]
    for at in range(0, len(records), life.recut):
        fetch = Fetch(CAPTURED, 0, records[at : at + life.recut])
        state = build.step(CORE, state, fetch, silent=True).state
    return state


@given(lives())
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.generate,))
def test_whatever_cannot_be_read_of_a_state_it_is_made_again(life: Life) -> None:
    owner, entries = live(life)
    # A device.
    for name in owner.state.devices:
        names = frozenset({name})
        rest = {other: value for other, value in entries.items() if other != name}
        remade = again(life, CORE.empty(0), CORE.made_of(names))
        assert dumped(CORE.mended(CORE.restore(0, rest), remade, names)) == entries
    # The offset, so that nobody knows what the state has seen.
    assert CORE.knows_repeats
    rewound = again(life, CORE.restore(0, entries))
    assert devices(dumped(rewound)) == devices(entries)
    # What the partition has taken up: taken up again, and recorded again.
    rest = {name: value for name, value in entries.items() if name != STATE}
    assert CORE.made_of(frozenset({STATE})) == frozenset()
    lost = again(life, CORE.restore(0, rest))
    assert devices(dumped(lost)) == devices(entries)
    position = life.fetches[-1].next_offset
    then = build.fetch([build.query(10**6, "wake me at seven", build.T0_NS + 10**11)], position)
    expected = build.step(CORE, owner.state, then)
    found = build.step(CORE, lost, then)
    assert devices(dumped(found.state)) == devices(dumped(expected.state))
    assert {row["kind"] for row in build.lineage(found.outputs)["inputs"]} >= {
        "model-takeup",
        "policy-takeup",
    }


def devices(entries: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: value for name, value in entries.items() if name != STATE}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("g1", b""),
        ("g1", b"secret"),
        ("g1", b"[]"),
        ("g1", b'{"incarnation":"x"}'),
        ("g1", b"[" * 100_000),
        (STATE, b""),
        (STATE, b"7"),
        (STATE, b'{"model_version":"1","policy_version":"x","consents_taken":0,"own":{}}'),
        (STATE, b'{"model_version":1,"policy_version":"x","consents_taken":0,"own":{"a":7},"now_ns":1}'),
    ],
)
def test_what_no_core_wrote_is_not_read(name: str, value: bytes) -> None:
    assert not CORE.readable(name, value)


def by_stream(fields: dict[str, Any], part: str) -> dict[str, Any]:
    """A part of a stored state by stream; windows are those of the operator `activity`."""
    parts: dict[str, Any] = fields[part]["activity"] if part == "windows" else fields[part]
    return parts


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("windows", {"label": "zz"}),
        ("windows", {"label": "0"}),
        ("windows", {"first": -1}),
        ("windows", {"t_last_ns": 2**70}),
        ("seen", {"recent": "AAAA"}),
        ("seen", {"marks": "AAAA"}),
        ("seen", {"stride": 0}),
        ("seen", {"ranges": [[0, 2**63]]}),
    ],
)
def test_what_a_stage_would_stumble_over_is_not_read(part: str, change: dict[str, object]) -> None:
    _, state = build.process(CORE, [build.fetch([build.imu(0.1, 0, 20)])])
    form, fields = orjson.loads(state.devices["g1"].dump())
    assert CORE.readable("g1", json.encode([form, fields]))
    by_stream(fields, part)["imu-right"] |= change
    assert not CORE.readable("g1", json.encode([form, fields]))
    form, fields = orjson.loads(state.devices["g1"].dump())
    parts = by_stream(fields, part)
    parts["no~stream"] = parts.pop("imu-right")
    assert not CORE.readable("g1", orjson.dumps([form, fields]))


@given(
    st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.encode)
)
def test_bytes_of_any_kind_are_read_or_refused(value: bytes) -> None:
    CORE.readable("g1", value)
    CORE.readable(STATE, value)


def test_what_a_core_wrote_is_read() -> None:
    _, state = build.process(
        CORE, [build.fetch([build.imu(0.1, 0, 20), build.query(0, "play", build.T0_NS)])]
    )
    entries = CORE.save(None, state)
    assert set(entries) == {"g1", STATE}
    assert all(CORE.readable(name, value) for name, value in entries.items())
