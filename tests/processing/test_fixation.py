"""Fixations against those that the eye tracker itself found, and however batches and fetches are cut."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from device_sim.recordings import HERE, about, samples
from streams.events.batch import Batch
from streams.processing import fixation, speech
from streams.topology import DERIVED
from tests import build

BATCH = 40


def gaze(name: str, rows: slice = slice(None)) -> list[Batch]:
    """Batches of a recording's gaze as a device sends them."""
    found = samples(name)
    t_ns = [build.T0_NS + t for t in found.t_ns[rows].tolist()]
    columns = {column: values[rows].tolist() for column, values in found.columns.items()}
    batches = []
    for first in range(0, len(t_ns), BATCH):
        part = slice(first, first + BATCH)
        count = len(t_ns[part])
        made = build.batch(
            "gaze", None, first, count, columns={column: values[part] for column, values in columns.items()}
        )
        batches.append(replace(made, t0_ns=t_ns[first], dt_ns=0, t_ns=t_ns[part]))
    return batches


def derived(
    batches: list[Batch], sizes: Sequence[int] = (1000,), kind: str = "fixation"
) -> list[tuple[int, dict[str, Any], dict[str, Any]]]:
    """(number, columns, edge) of the events of `kind` that are made of batches in fetches of these sizes."""
    records, _ = build.process(build.core(), build.cut(batches, sizes))
    edges = {
        edge["child_first"] + i * edge["child_step"]: {
            **edge,
            "parent_first": edge["parent_first"] + i * edge["parent_step"],
        }
        for edge in build.lineage(records).get("edges", ())
        if edge["operator"] == kind
        for i in range(edge["child_count"])
    }
    made = [orjson.loads(record.value or b"") for record in records if record.topic == DERIVED]
    return [
        (one["first"], {name: values[0] for name, values in one["columns"].items()}, edges[one["first"]])
        for one in made
        if one["kind"] == kind
    ]


@pytest.mark.parametrize(("name", "fixations"), [("neon-demo", 23), ("neon-multi-part", 61)])
def test_most_of_the_devices_own_fixations_are_found(name: str, fixations: int) -> None:
    with (HERE / about()[f"{name}-gaze"].truth).open(encoding="utf-8", newline="") as file:
        truth = [
            (float(row["start_s"]), float(row["end_s"]))
            for row in csv.DictReader(file)
            if row["event"] == "fixation"
        ]
    found = derived([*gaze(f"{name}-gaze"), build.ended(0, build.T0_NS + 10**12)])
    own = samples(f"{name}-gaze").t_ns / 1e9
    spans = [(own[first], own[first + edge["parent_width"] - 1]) for first, _, edge in found]
    matched = sum(
        any(min(end, b) - max(start, a) >= (end - start) / 2 for a, b in spans) for start, end in truth
    )
    assert len(truth) == fixations
    assert matched >= 0.85 * fixations
    assert len(found) < 1.5 * fixations


def test_a_fixation_says_its_length_and_its_samples() -> None:
    own = samples("neon-demo-gaze")
    for first, said, edge in derived([*gaze("neon-demo-gaze"), build.ended(0, build.T0_NS + 10**12)]):
        last = first + edge["parent_width"] - 1
        assert (edge["parent_stream"], edge["parent_first"]) == ("gaze", first)
        assert said["samples"] == edge["parent_width"]
        assert said["duration_ms"] == pytest.approx((own.t_ns[last] - own.t_ns[first]) / 1e6, abs=0.06)
        assert own.columns["yaw_rad"][first : last + 1].mean() == pytest.approx(
            said["centre_yaw_rad"], abs=1e-4
        )
        assert said["duration_ms"] >= 60


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=6))
def test_fixations_do_not_depend_on_how_fetches_are_cut(sizes: list[int]) -> None:
    batches = gaze("neon-demo-gaze")
    assert derived(batches, sizes) == derived(batches)


def test_a_zone_boundary_ends_a_fixation() -> None:
    still = build.batch(
        "gaze", None, 0, 100, columns={"worn": [True] * 100}, changes=[(50, build.context(place="street"))]
    )
    found = derived([still, build.ended(0, build.T0_NS + 10**12)])
    assert [(first, edge["parent_width"]) for first, _, edge in found] == [(0, 50), (50, 50)]


ANY = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ANY, ANY, st.booleans()), min_size=1, max_size=60))
def test_no_number_breaks_it(directions: list[tuple[float, float, bool]]) -> None:
    columns: dict[str, list[Any]] = {
        "yaw_rad": [d[0] for d in directions],
        "pitch_rad": [d[1] for d in directions],
        "worn": [d[2] for d in directions],
    }
    made = build.batch("gaze", None, 0, len(directions), columns=columns)
    for _, said, _ in derived([made, build.ended(0, build.T0_NS + 10**12)]):
        assert None not in said.values()


def test_speech_is_told_from_silence() -> None:
    assert set(
        samples("aria-everyday-audio-level").columns["rms_dbfs"] < speech.BACKGROUND_DBFS + speech.MARGIN_DB
    ) == {True}
    levels = [-60.0] * 50 + [-30.0, -42.0] * 25 + [-60.0] * 40 + [-30.0] * 10
    made = build.batch(
        "audio_level",
        None,
        0,
        150,
        columns={"rms_dbfs": levels, "peak_dbfs": levels, "voiced": [False] * 150},
    )
    found = derived([made], kind="speech")
    assert [(first, said["speech"], edge["parent_width"]) for first, said, edge in found] == [
        (0, "silence", 50),
        (50, "speech", 50),
        (100, "silence", 50),
    ]
    assert fixation.WINDOW_SAMPLES * 40 < 100_000, "what lies open in the state stays small"
