"""The recordings are what NOTICE says.

They are whole, licensed, small, in plausible units, and no words or pixels are among the sensors.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from device_sim import recordings, scenarios
from device_sim.draw import DRAWS, FEEDBACK, PER_FEEDBACK, PER_TASK, draw, utterances
from device_sim.playback import timeline
from device_sim.recordings import HERE, about, named, rows, samples
from device_sim.recordings.make.utterances import TASKS, normalised
from device_sim.recordings.make.writing import TRAINING
from device_sim.wearer import Queries
from streams.errors import InputError
from streams.events.shipped import SHIPPED

STANDARD_GRAVITY_MPS2 = 9.80665
SENSED = [name for name, one in about().items() if one.length_s is not None]
UTTERANCES = {
    "seed": TRAINING / "seed.csv",
    "validation": TRAINING / "validation.csv",
    "queries": HERE / "queries.csv",
    "spoken": HERE / "spoken-feedback.csv",
}
#: Median deviation of |acceleration| within a second, in g, over ClassyGlass's labelled sessions (measured on
#: the originals).
STD_G = {
    "sitting_reading": 0.0039,
    "sitting_computer": 0.0038,
    "sitting_moving_head_body": 0.0091,
    "walking": 0.102,
    "stairs": 0.240,
    "running": 0.638,
}
BOUNDS = {
    "accel": (-200, 200),
    "gyro": (-40, 40),
    "yaw": (-1.6, 1.6),
    "pitch": (-1.6, 1.6),
    "pupil": (1, 9),
    "pressure": (80_000, 110_000),
    "temperature": (-20, 50),
    "rms": (-100, 0),
    "peak": (-100, 0),
    "latitude": (40, 50),
    "longitude": (10, 20),
}


def pairs(name: str) -> list[tuple[str, str]]:
    with UTTERANCES[name].open(encoding="utf-8", newline="") as file:
        return [(row["utterance"], row["intent"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("name", SENSED)
def test_a_recording_is_what_the_index_says(name: str) -> None:
    said, found = about()[name], samples(name)
    assert found.columns.keys() == SHIPPED[said.kind].columns.keys()
    assert {len(values) for values in (found.t_ns, *found.columns.values())} == {said.rows}
    assert found.t_ns[0] == 0
    assert (np.diff(found.t_ns) > 0).all()
    assert said.length_s == pytest.approx(float(found.t_ns[-1]) / 1e9, abs=1.5 / (said.rate_hz or 1))
    assert all(0 <= first < first + count <= said.rows for first, count in said.pieces.values())
    for column, values in found.columns.items():
        low, high = BOUNDS.get(column.split("_")[0], (-np.inf, np.inf))
        if isinstance(values, np.ndarray) and values.dtype == np.float64:
            measured = values[np.isfinite(values)]
            assert SHIPPED[said.kind].columns[column] == "number?" or len(measured) == said.rows
            assert not len(measured) or (low <= measured.min() and measured.max() <= high)


def test_all_seven_wearers_are_there_and_small() -> None:
    assert sum(name.startswith("classyglass-user") and not name.endswith("pressure") for name in about()) == 7
    assert (
        sum(path.stat().st_size for path in HERE.rglob("*") if path.is_file() and path.suffix != ".pyc")
        < 12_000_000
    )


@pytest.mark.parametrize("activity", STD_G)
def test_motion_moves_as_much_as_in_the_source(activity: str) -> None:
    spread = []
    for name in SENSED:
        piece = about()[name].pieces.get(activity)
        if about()[name].kind == "imu" and piece is not None:
            part = slice(piece[0], piece[0] + piece[1] // 100 * 100)
            norm = (
                np.sqrt(sum(samples(name).columns[f"accel_{axis}_mps2"][part] ** 2 for axis in "xyz"))
                / STANDARD_GRAVITY_MPS2
            )
            spread += norm.reshape(-1, 100).std(axis=1).tolist()
    assert STD_G[activity] / 1.6 < np.median(spread) < STD_G[activity] * 1.6


def test_the_devices_own_detections_came_along() -> None:
    with (HERE / about()["neon-demo-gaze"].truth).open(encoding="utf-8", newline="") as file:
        found = [(row["event"], float(row["end_s"]) - float(row["start_s"])) for row in csv.DictReader(file)]
    fixations = [length for event, length in found if event == "fixation"]
    assert (len(fixations), round(1000 * float(np.mean(fixations)))) == (23, 295)
    assert sorted(round(1000 * length) for event, length in found if event == "blink") == [235, 255]
    assert sum(event == "saccade" for event, _ in found) == 22


def test_drop_outs_stay() -> None:
    gaze = samples("neon-multi-part-gaze")
    gaps_s = np.sort(np.diff(gaze.t_ns))[-2:] / 1e9
    assert gaps_s.round(1).tolist() == [18.7, 18.9]
    assert int((~gaze.columns["worn"]).sum()) == 242


@pytest.mark.parametrize(("a", "b"), [(a, b) for a in UTTERANCES for b in UTTERANCES if a < b])
def test_utterances_are_disjoint(a: str, b: str) -> None:
    keys = [{key(text) for text, _ in pairs(name)} for name in (a, b)]
    assert not keys[0] & keys[1]


def key(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text)


@pytest.mark.parametrize("number", DRAWS)
def test_the_parts_of_a_draw_share_no_utterance_and_have_the_sizes_that_were_fixed(number: int) -> None:
    made = draw(number, utterances())
    parts = {name: getattr(made, name) for name in ("seed", "validation", "test", "queries", "spoken")}
    keys = [key(text) for part in parts.values() for text, _ in part]
    assert len(keys) == len(set(keys)), "an utterance is in two parts"
    for at, name in enumerate(("seed", "validation", "test")):
        counts = Counter(intent for _, intent in parts[name])
        assert counts == {**dict.fromkeys(TASKS, PER_TASK[at]), **dict.fromkeys(FEEDBACK, PER_FEEDBACK[at])}
    assert Counter(intent for _, intent in made.queries) == dict.fromkeys(TASKS, 100)
    assert {intent for _, intent in made.spoken} == set(FEEDBACK)
    assert draw(number, list(reversed(utterances()))) == made, "the order of the file decides nothing"


def test_what_is_shipped_is_the_first_draw_and_others_differ() -> None:
    first = draw(DRAWS[0], utterances())
    assert {name: pairs(name) for name in UTTERANCES} == {
        name: list(getattr(first, name)) for name in UTTERANCES
    }
    tests = [{text for text, _ in draw(number, utterances()).test} for number in DRAWS]
    assert all(len(a & b) < len(a) / 2 for a, b in pairwise([*tests, tests[0]]))


def test_utterances_are_normalised_and_every_intent_is_there() -> None:
    for name in UTTERANCES:
        assert all(
            text == normalised(text) and "@" not in text and "<" not in text for text, _ in pairs(name)
        )
    assert {intent for _, intent in pairs("queries")} == set(TASKS)
    assert {intent for _, intent in pairs("spoken")} == set(FEEDBACK)
    assert (
        {intent for _, intent in pairs("seed")}
        == {intent for _, intent in pairs("validation")}
        == {*TASKS, *FEEDBACK}
    )


def test_two_raters_agree_as_often_as_in_the_source() -> None:
    found = rows("feedbackqa-ratings")
    assert sum(row["rating"] == row["second_rating"] for row in found) / len(found) == pytest.approx(
        0.489, abs=0.002
    )
    assert {int(row[column]) for row in found for column in ("rating", "second_rating")} == {1, 2, 3, 4}


def test_tracks_do_not_jump() -> None:
    for name in SENSED:
        if about()[name].kind != "location":
            continue
        latitude, longitude = (
            np.radians(samples(name).columns[column]) for column in ("latitude_deg", "longitude_deg")
        )
        steps_m = 6_371_000 * np.hypot(np.diff(latitude), np.diff(longitude) * np.cos(latitude[1:]))
        assert steps_m.max() < 30
        assert steps_m.sum() > 100


def test_a_session_goes_on_where_the_one_before_stopped_and_a_short_piece_begins_again() -> None:
    smoke = scenarios.load("smoke")
    stream = smoke.streams[0]
    first, rows_still = about()["classyglass-user17"].pieces["still"]
    still = samples("classyglass-user17").columns["accel_x_mps2"][first : first + rows_still]
    for session, expected in ((1, still[:1200]), (2, np.concatenate((still[1200:], still[:1000])))):
        times, columns = timeline(smoke, 0, 1, stream, session).between(0, 12_000_000_000)
        assert columns["accel_x_mps2"] == expected.tolist()
        assert times == list(range(0, 12_000_000_000, 10_000_000))


def test_a_repeated_recording_keeps_its_times() -> None:
    commute = scenarios.load("commute")
    gaze = next(stream for stream in commute.streams if stream.name == "gaze")
    times, columns = timeline(commute, 0, 1, gaze, 1).between(0, 30_000_000_000)
    own = samples("neon-demo-gaze").t_ns
    assert times[:1788] == own.tolist()
    assert times[1788] == int(own[-1]) + int(own[-1]) // 1787
    assert all(a < b for a, b in pairwise(times))
    assert columns["yaw_rad"][1788:1790] == columns["yaw_rad"][:2]


def test_a_faster_sensor_passes_the_samples_of_the_recording_and_lies_between_two_of_them() -> None:
    glasses, smoke = scenarios.load("glasses"), scenarios.load("smoke")
    fast = next(stream for stream in glasses.streams if stream.rate_hz == 800)
    recorded = replace(fast, rate_hz=0)
    for session in (1, 2):
        times, columns = timeline(glasses, 0, 1, fast, session).between(0, 60_000_000_000)
        own_times, own = timeline(glasses, 0, 1, recorded, session).between(0, 60_000_000_000)
        assert times == list(range(0, 60_000_000_000, 1_250_000))
        assert own_times[::2] == times[::16], "a sample of the recording every 10 ms"
        for name, values in own.items():
            assert columns[name][::8] == pytest.approx(values, abs=1e-4)
            between = np.array(columns[name][4:-8:8])
            assert between == pytest.approx((np.array(values[:-1]) + values[1:]) / 2, abs=1e-4)
    assert all(stream.rate_hz == 0 for stream in smoke.streams)


def test_a_round_of_queries_asks_for_every_intent_and_devices_share_the_order() -> None:
    whole = Queries("nlu-queries", 3, 0, 1)
    for start in range(0, 600, 12):
        assert len({whole.query(number)[1] for number in range(start, start + 12)}) == 12
    first, second = Queries("nlu-queries", 3, 0, 2), Queries("nlu-queries", 3, 1, 2)
    assert [first.query(0), second.query(0), first.query(1)] == [
        whole.query(0),
        whole.query(1),
        whole.query(2),
    ]


def test_a_recording_of_another_kind_is_a_sentence() -> None:
    with pytest.raises(
        InputError,
        match="'gps-visnjan' is none of kind imu; expected one of: classyglass-user13, classyglass-user14",
    ):
        named("gps-visnjan", "imu")


def test_notice_names_every_recording_and_its_licence() -> None:
    notice = (HERE / "NOTICE").read_text("utf-8")
    for name in re.findall(r"(?:LICENSE|NOTICE)-[\w.-]+?\.(?:txt|md)", notice):
        assert (HERE / name).stat().st_size > 400
    for one in about().values():
        assert one.source in notice
        short = re.sub(r"^classyglass-user(\d+)$", r"-\1", one.name)
        assert one.file in notice or one.name in notice or short in notice or one.name.endswith("-pressure")
    assert {path.name for path in HERE.glob("*.csv*")} == {one.file for one in about().values()} | {
        one.truth for one in about().values() if one.truth
    }
    assert recordings.about() is about()
