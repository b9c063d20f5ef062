"""Operators of others beside ours (`toys.py`): both work, are cut anywhere, cited, refused, and fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import cycle
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.errors import InputError
from streams.events import shipped as kinds
from streams.events.kinds import Kind
from streams.events.record import Outgoing, StoredRecord
from streams.events.state import DeviceState
from streams.pipeline.partition import PartitionState
from streams.policy.load import parse
from streams.processing.activity import ACTIVITY
from streams.processing.operators import Memory, Operator, Operators, Values
from streams.processing.shipped import SHIPPED_OPERATORS
from streams.processing.windows import ClosedWindow, Columns
from streams.snapshots.intake import decode
from streams.topology import CAPTURED, DERIVED, LINEAGE, REJECTED
from tests import build
from tests.processing.toys import (
    CLIMATE_NAMED,
    CORE,
    DAY,
    JOLT_MPS2,
    KINDS,
    NAMED,
    OPERATORS,
    OTHER,
    POLICY,
    QUIET,
    SHAKE,
    Jolts,
    core_of,
    policy,
    shake,
)

Firsts = tuple[int, ...]
NONE_YET: Firsts = ()


def derived(records: Iterable[Outgoing], *left_out: str) -> list[tuple[bytes | None, dict[str, Any]]]:
    """Key and value of what was derived, by identity, without kinds that are left out."""
    values = [(one.key, orjson.loads(one.value or b"")) for one in records if one.topic == DERIVED]
    return sorted(
        ((key, value) for key, value in values if value["kind"] not in left_out),
        key=lambda pair: (pair[0], pair[1]["stream"], pair[1]["first"]),
    )


def test_two_operators_on_one_kind_both_work_and_neither_changes_the_other() -> None:
    records, state = build.process(CORE, [build.fetch(DAY)])
    without, _ = build.process(QUIET, [build.fetch(DAY)])
    assert derived(records, "shake", "climate", "situation") == derived(without, "situation")
    shakes = derived(records, *SHIPPED_OPERATORS, "climate", "situation")
    assert [(key, value["first"], value["columns"]) for key, value in shakes] == expected_shakes()
    assert {value["columns"]["mean_c"][0] for _, value in derived(records) if value["kind"] == "climate"} == {
        20.0 + number for number in range(18)
    }
    assert {name: dict(device.windows) for name, device in state.devices.items()} == {"g1": {}, "g2": {}}


def windows_of_the_day() -> list[tuple[bytes, int, list[float]]]:
    """(device, first number, values) of what `shake` looks at: number by number, cut where anything ends."""
    windows: dict[tuple[str, int, str, int], tuple[int, list[float]]] = {}
    pieces, last = Counter[str](), dict[str, int]()
    for batch in DAY:
        if batch.kind != "imu" or batch.context is None:
            continue
        pieces[batch.source] += batch.run.first != last.get(batch.source, -1) + 1
        last[batch.source] = batch.run.first + batch.run.count - 1
        for number, value in zip(batch.run, batch.columns["accel_z_mps2"], strict=True):
            key = (batch.source, number // 50, batch.context.place, pieces[batch.source])
            windows.setdefault(key, (number, []))[1].append(value)
    return sorted((source.encode(), first, values) for (source, *_), (first, values) in windows.items())


def expected_shakes() -> list[tuple[bytes, int, dict[str, list[int]]]]:
    """Device, number and columns of every shake of the day."""
    shakes, totals = [], Counter[bytes]()
    for source, first, values in windows_of_the_day():
        jolts = sum(value > JOLT_MPS2 for value in values)
        totals[source] += jolts
        if jolts:
            shakes.append((source, first, {"jolts": [jolts], "total": [totals[source]]}))
    return shakes


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 15), min_size=1, max_size=5))
def test_however_a_journal_is_cut_and_owners_change_the_results_are_equal(sizes: list[int]) -> None:
    whole, end = build.process(CORE, [build.fetch(DAY)])
    written, state = list[Outgoing](), build.begun()
    for fetch, owner in zip(build.cut(DAY, sizes), cycle((OTHER, CORE)), strict=False):
        # Each fetch has another owner, who knows what the one before stored and nothing else.
        entries = CORE.save(None, state)
        assert all(CORE.readable(name, value) for name, value in entries.items())
        records, state = build.process(owner, [fetch], owner.restore(0, entries))
        written += records
    assert derived(written) == derived(whole)
    assert CORE.save(None, state) == CORE.save(None, end)
    assert orjson.loads(end.devices["g1"].memories["shake"])[0] > 0


def test_lineage_names_every_sample_and_tags_are_no_looser_than_those_of_the_parents() -> None:
    records, _ = build.process(CORE, [build.fetch(DAY)])
    tables = build.lineage(records)
    edges = [row for row in tables["edges"] if row["operator"] == "shake"]
    parents = {
        (row["child_source"], row["child_first"] + i * row["child_step"]): (
            row["parent_stream"],
            row["parent_first"] + i * row["parent_step"],
            row["parent_width"],
        )
        for row in edges
        for i in range(row["child_count"])
    }
    assert {row["operator_version"] for row in edges} == {3}
    zones = {
        (row["source"], row["stream"], row["first"] + i): (row["zone"], row["label"])
        for row in tables["events"]
        for i in range(row["count"])
    }
    made = [(key.decode(), first) for key, first, _ in expected_shakes()]
    assert sorted(parents) == sorted(made)
    widths = {(key.decode(), first): len(values) for key, first, values in windows_of_the_day()}
    for (source, first), (stream, start, width) in parents.items():
        assert (stream, start) == ("imu-right", first)
        assert width == widths[source, first]
        zone, label = zones[source, "shake", first]
        above = {zones[source, stream, number] for number in range(start, start + width)}
        assert {parent_zone for parent_zone, _ in above} == {zone}
        gait = POLICY.vocabulary.mask("categories", ("local:Gait",))
        categories = int.from_bytes(bytes.fromhex(label)[:4], "little")
        assert categories & gait
        assert all(
            categories & mask == mask
            for mask in (int.from_bytes(bytes.fromhex(other)[:4], "little") for _, other in above)
        )


def test_a_situation_shows_what_the_operator_cites_and_has_it_for_a_parent() -> None:
    records, _ = build.process(CORE, [build.fetch(DAY)])
    ((_, situation),) = [pair for pair in derived(records) if pair[1]["kind"] == "situation"]
    assert list(situation["columns"]) == [
        "activity", "activity_age_ms", "place_number", "place_age_ms", "jolts", "shake_age_ms",
    ]  # fmt: skip
    ended = [(first, columns) for key, first, columns in expected_shakes() if key == b"g1"][:-1]
    assert situation["columns"]["jolts"] == ended[-1][1]["jolts"]
    assert situation["columns"]["shake_age_ms"][0] > 0
    cited = {
        (row["parent_stream"], row["parent_first"], row["directness"])
        for row in build.lineage(records)["edges"]
        if row["operator"] == "situation"
    }
    assert ("shake", ended[-1][0], "indirect") in cited
    assert OPERATORS.kinds["situation"].columns.keys() == situation["columns"].keys()
    assert SHIPPED_OPERATORS.kinds == kinds.SHIPPED


def test_a_policy_that_does_not_name_the_kind_refuses_it_and_nothing_else() -> None:
    silent = policy(CLIMATE_NAMED)
    assert silent.unnamed(KINDS) == ["shake"]
    records, _ = build.process(core_of(silent), [build.fetch(DAY)])
    assert {value["kind"] for _, value in derived(records)} == {"activity", "climate", "situation"}
    about = {
        (row["sink"], row["verdict"], row["passed"])
        for row in build.lineage(records)["decisions"]
        if row["stream"] == "shake"
    }
    assert about == {(DERIVED, "unconfigured", False)}
    assert "shake" not in {row["operator"] for row in build.lineage(records)["edges"]}


def test_a_policy_that_denies_what_the_kind_is_refuses_it_and_nothing_else() -> None:
    """Voices may not be received by `glasses.derived`, and the toy says that shaking is one."""
    name = '[[sinks]]\nname = "glasses.derived"'
    text = policy(NAMED.replace("local:Gait", "pd:VoiceCommunicationRecording")).text
    at = text.index('receives = ["*"]', text.index(name))
    rest = text[at + len('receives = ["*"]') :]
    others = [word for word in POLICY.vocabulary.categories if word != "pd:VoiceCommunicationRecording"]
    denying = parse(f"{text[:at]}receives = {orjson.dumps(others).decode()}{rest}", "toy.toml", kinds=KINDS)
    records, _ = build.process(core_of(denying), [build.fetch(DAY)])
    assert "activity" in {value["kind"] for _, value in derived(records)}
    assert "shake" not in {value["kind"] for _, value in derived(records)}
    rules = {row["rule"] for row in build.lineage(records)["decisions"] if row["stream"] == "shake"}
    assert rules == {"sinks.glasses.derived: may not receive pd:VoiceCommunicationRecording"}


def _fails(so_far: Jolts, window: ClosedWindow) -> tuple[Columns | None, Jolts]:
    if window.samples.max() > 1000:
        raise ZeroDivisionError("1e9 of a wearer")
    return shake(so_far, window)


def _forgets_nothing(so_far: tuple[int, ...], window: ClosedWindow) -> tuple[Columns | None, tuple[int, ...]]:
    return None, (*so_far, window.window.first) if window.source == "g1" else so_far


def _misspells(so_far: Jolts, window: ClosedWindow) -> tuple[Columns | None, Jolts]:
    return {"jolts": 7} if window.source == "g1" else None, so_far


def test_what_is_changed_in_place_is_changed_for_its_own_device() -> None:
    def shaking(so_far: list[int], window: ClosedWindow) -> tuple[Columns | None, list[int]]:
        so_far.append(window.window.first)
        return {"jolts": len(so_far), "total": so_far[0]}, so_far

    begin: list[int] = []
    others = [operator for operator in OPERATORS.values() if operator.name != "shake"]
    own = replace(SHAKE, makes=Memory(list[int], begin, 200, shaking))
    core = core_of(operators=Operators.of(KINDS, *others, own))
    for _ in range(2):
        records, _ = build.process(core, [build.fetch(DAY)])
        jolts = [value["columns"]["jolts"][0] for _, value in derived(records) if value["kind"] == "shake"]
        windows = Counter(source for source, *_ in windows_of_the_day())
        assert jolts == [number + 1 for source in sorted(windows) for number in range(windows[source])]
    assert begin == []


@pytest.mark.parametrize(
    ("makes", "message"),
    [
        (Memory(Jolts, (0, 0), 64, _fails), "ZeroDivisionError at test_own_operators.py:"),
        (
            Memory(Firsts, NONE_YET, 10, _forgets_nothing),
            "memory: found more than the 10 bytes that it may have",
        ),
        (
            Memory(Jolts, (0, 0), 64, _misspells),
            "columns: found other names than the 2 of kind shake, expected jolts, total",
        ),
        (
            lambda closed: [None for window in closed if window.source != "g1"],
            "values: found another number of them, expected one for each window",
        ),
    ],
)
def test_an_operator_that_fails_costs_the_batch_it_fails_on_and_the_others_go_on(
    makes: Values | Memory[Any], message: str
) -> None:
    others = [operator for operator in OPERATORS.values() if operator.name != "shake"]
    core = core_of(operators=Operators.of(KINDS, *others, replace(SHAKE, makes=makes)))
    batches = [
        build.imu(1e9 if (source, number) == ("g1", 2) else 0.1, number * 20, 20, source=source)
        for number in range(15)
        for source in ("g1", "g2")
    ]
    state: PartitionState = build.begun()
    written = list[Outgoing]()
    for part in build.cut(batches, [7, 20, 3]):
        outcome = build.run(build.computed(core, state, part))
        state, written = outcome.state, [*written, *outcome.outputs]
    rejected = [dict(one.headers) for one in written if one.topic == REJECTED]
    assert rejected
    reasons = [one["sightline-reason"].decode() for one in rejected]
    assert all(reason.startswith(f"operator shake failed: {message}") for reason in reasons)
    assert not any("1e9" in reason for reason in reasons)
    places = {one["sightline-place"] for one in rejected}
    assert places <= {f"{CAPTURED} 0 {2 * number}".encode() for number in range(15)}, "those of g1 alone"
    activities = Counter(key for key, value in derived(written) if value["kind"] == "activity")
    assert activities[b"g2"] == 3
    # What is given up with a batch are all windows of its device: who always fails leaves it none.
    always = not isinstance(makes, Memory) or makes.step is _misspells
    assert (activities[b"g1"] > 0) != always


def test_the_writer_takes_what_the_operator_made_where_it_knows_the_kinds() -> None:
    records, _ = build.process(CORE, [build.fetch(DAY)])
    lineage = [
        StoredRecord(offset, 0, one.key, one.value)
        for offset, one in enumerate(one for one in records if one.topic == LINEAGE)
    ]
    poll = decode.read({0: lineage}, OPERATORS.kinds)
    assert list(poll.rejected()) == []
    assert "shake" in poll.words("edges", "operator").values
    assert {str(row["rule"]) for row in decode.read({0: lineage}).rejected()} == {"malformed"}


@pytest.mark.parametrize(
    "change",
    [
        {"memories": {"shake": "bm8="}},
        {"memories": {"shake": orjson.dumps([1] * 99).decode()}},
        {"memories": {"activity": "WzAsMF0="}},
        {"memories": {"Shake!": "WzAsMF0="}},
        {"windows": {"shake": {"imu-right": {"samples": "AAAA"}}}},
        {"windows": {"climate": {"env": {"samples": "AAAAAAAAAAA="}}}},
        {"windows": {"shake": {"imu-right": {"samples": "AAAAAAAAAAAA" * 50}}}},
    ],
)
def test_a_state_with_what_an_operator_cannot_have_left_is_refused(change: dict[str, dict[str, Any]]) -> None:
    _, state = build.process(CORE, [build.fetch([build.imu(0.1, 0, 60)])])
    form, fields = orjson.loads(state.devices["g1"].dump())
    assert CORE.readable("g1", orjson.dumps([form, fields]))
    assert CORE.readable("g1", orjson.dumps(fields))  # as it was before forms had numbers
    assert not CORE.readable("g1", orjson.dumps([form + 1, fields]))
    window = fields["windows"]["shake"]["imu-right"]
    for name, value in change.get("windows", {}).items():
        fields["windows"][name] = {stream: {**window, **parts} for stream, parts in value.items()}
    fields["memories"] |= change.get("memories", {})
    assert not CORE.readable("g1", orjson.dumps([form, fields]))


def test_what_an_operator_left_half_done_is_let_go_where_it_is_not_any_more() -> None:
    _, state = build.process(CORE, [build.fetch([build.imu(2.0, 0, 60)])])
    stored = CORE.save(None, state)
    assert {"shake", "activity"} <= DeviceState.load(stored["g1"]).windows.keys()
    plain = build.core(POLICY).restore(0, stored).devices["g1"]
    assert set(plain.windows) == {"activity"}
    assert not plain.memories
    assert {recent.kind for recent in plain.recents} <= {"activity", "place"}


@pytest.mark.parametrize(
    ("operators", "message"),
    [
        ((ACTIVITY, replace(ACTIVITY, version=2)), "operator activity: found two of this name, expected one"),
        (
            (replace(SHAKE, name="jolt"),),
            "operator jolt: found no derived kind of its name, expected",
        ),
        (
            (replace(SHAKE, reads="imuu"),),
            "operator shake: reads imuu, expected a kind that is captured",
        ),
        (
            (replace(SHAKE, reads="activity"),),
            "operator shake: reads activity, expected a kind that",
        ),
        ((replace(SHAKE, cites="norm"),), "operator shake: cites norm, expected a column of kind shake"),
        ((replace(SHAKE, name="answer"),), "operator answer: found the name of what another stage makes"),
        ((replace(SHAKE, primary="IMU"),), "operator shake: found a primary stream of another form"),
        ((replace(SHAKE, length=0),), "operator shake: found a version or a length below 1"),
        ((replace(SHAKE, sample=np.dtype(object)),), "operator shake: found samples of type object"),
        (
            (replace(SHAKE, length=10**6),),
            r"operators: found open windows of up to 8000000 bytes a stream \(shake 8000000\), "
            "expected at most 54400",
        ),
        (
            (replace(SHAKE, makes=Memory(Jolts, (0, 0), 2, shake)),),
            "operator shake: found a memory that begins with more than 2 bytes",
        ),
        (
            (replace(SHAKE, makes=Memory(Jolts, (0, 0), 10**6, shake)),),
            "operators: found 1000000 bytes that they may remember of a device",
        ),
    ],
)
def test_a_set_that_does_not_go_together_is_refused_in_a_sentence(
    operators: tuple[Operator, ...], message: str
) -> None:
    with pytest.raises(InputError, match="^" + message):
        Operators.of(KINDS, *operators)


def test_two_operators_that_cite_columns_of_one_name_are_refused() -> None:
    kind = Kind("shake", False, {"activity": "token"})
    with pytest.raises(InputError, match="operator shake: cites activity, which another one cites too"):
        Operators.of(KINDS.with_kind(kind), ACTIVITY, replace(SHAKE, cites="activity"))
