"""The recordings: what they hold, where they come from, and that training never sees what evaluation asks."""

from __future__ import annotations

import csv
import hashlib
import re
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest

import streams.training
from device_sim import playback
from device_sim.playback import IMU_HZ, Motion, Queries, recordings
from device_sim.recordings.make import STANDARD_GRAVITY_MPS2, normalised
from streams.errors import InputError

TRAINING = Path(streams.training.__path__[0])
UTTERANCES = {"seed": TRAINING / "seed.csv", "evaluation": TRAINING / "evaluation.csv", "queries": playback.HERE / "queries.csv"}
#: Median over 1 s windows of the standard deviation of |acceleration|, in g, over all wearers of the source's README.
STD_G = {"still": (0.003, 0.02), "walking": (0.10, 0.155), "stairs": (0.19, 0.305), "running": (0.41, 0.85)}


def rows(name: str) -> list[tuple[str, str]]:
    with UTTERANCES[name].open(encoding="utf-8", newline="") as file:
        return [(row["utterance"], row["intent"]) for row in csv.DictReader(file)]


def digests(name: str) -> set[str]:
    """Digests of the utterances as letters and digits, so that case, spaces and punctuation make no difference."""
    return {hashlib.sha256(re.sub(r"[^a-z0-9]", "", normalised(text)).encode()).hexdigest() for text, _ in rows(name)}


@pytest.mark.parametrize(("a", "b"), list(combinations(UTTERANCES, 2)))
def test_utterances_are_disjoint(a: str, b: str) -> None:
    assert not digests(a) & digests(b)


def test_every_file_has_every_intent_equally_often() -> None:
    for name, each in (("seed", 2), ("evaluation", 50), ("queries", 50)):
        intents = [intent for _, intent in rows(name)]
        assert len(set(intents)) == 12
        assert {intents.count(intent) for intent in intents} == {each}
        assert len(digests(name)) == len(intents)
        assert not any("@" in text or "<" in text for text, _ in rows(name))


@pytest.mark.parametrize("name", ["classyglass-user17", "classyglass-user22"])
def test_motion_matches_the_source(name: str) -> None:
    found = recordings()[name].rows
    for activity in {row["activity"] for row in found}:
        accel = np.array([[float(row[f"accel_{axis}_mps2"]) for axis in "xyz"] for row in found if row["activity"] == activity])
        norm_g = np.linalg.norm(accel, axis=1) / STANDARD_GRAVITY_MPS2
        low, high = STD_G[activity]
        assert low <= float(np.median(norm_g.reshape(-1, IMU_HZ).std(axis=1))) <= high, activity
        gyro = np.array([float(row["gyro_x_radps"]) for row in found if row["activity"] == activity])
        # In deg/s a head that only reads would already exceed this.
        assert float(np.median(np.abs(gyro))) < 1.0
    still_g = np.median([np.linalg.norm([float(row[f"accel_{a}_mps2"]) for a in "xyz"]) for row in found if row["activity"] == "still"])
    assert 0.95 < float(still_g) / STANDARD_GRAVITY_MPS2 < 1.06


def test_between_them_the_wearers_do_everything() -> None:
    assert {row["activity"] for row in recordings()["classyglass-user17"].rows} == STD_G.keys()
    assert {row["activity"] for row in recordings()["classyglass-user22"].rows} == {"still", "walking"}


def test_motion_goes_on_where_the_session_before_stopped() -> None:
    motion = Motion("classyglass-user17", [(0, ["still"]), (5_000_000_000, ["running", "walking"])], 10_000_000_000)
    still = [float(row["accel_x_mps2"]) for row in recordings()["classyglass-user17"].rows if row["activity"] == "still"]
    assert motion.samples(1, 0, 500)["accel_x_mps2"] == still[:500]
    assert motion.samples(2, 0, 500)["accel_x_mps2"] == still[500:1000]
    assert motion.samples(3, 0, 500)["accel_x_mps2"] == [*still[1000:], *still[:100]]


def test_the_track_connects_two_places() -> None:
    fixes = [(float(row["latitude_deg"]), float(row["longitude_deg"])) for row in recordings()["gps-visnjan"].rows]

    def metres(a: tuple[float, float], b: tuple[float, float]) -> float:
        north, east = np.radians(b[0] - a[0]), np.radians(b[1] - a[1]) * np.cos(np.radians(a[0]))
        return float(6_371_000 * np.hypot(north, east))

    assert len(fixes) == 40
    assert metres(fixes[0], fixes[-1]) > 150
    assert metres(fixes[0], fixes[15]) < 100
    assert max(metres(a, b) for a, b in pairwise(fixes)) < 20


def test_a_round_of_queries_asks_for_every_intent_and_devices_share_the_order() -> None:
    whole = Queries("nlu-queries", 3, 0, 1)
    for start in range(0, 600, 12):
        assert len({whole.query(number)[1] for number in range(start, start + 12)}) == 12
    first, second = Queries("nlu-queries", 3, 0, 2), Queries("nlu-queries", 3, 1, 2)
    assert [first.query(0), second.query(0), first.query(1)] == [whole.query(0), whole.query(1), whole.query(2)]
    assert len({queries.query(number) for queries in (first, second) for number in range(300)}) == 600


def test_a_recording_of_another_kind_is_a_sentence() -> None:
    with pytest.raises(InputError, match="'gps-visnjan' is none of kind imu; expected one of: classyglass-user17, classyglass-user22"):
        playback.recording("gps-visnjan", "imu")
    with pytest.raises(InputError, match="none of the activities stairs; it has still, walking"):
        Motion("classyglass-user22", [(0, ["stairs"])], 10**9)


def test_notice_names_every_recording_and_its_licence() -> None:
    notice = (playback.HERE / "NOTICE").read_text("utf-8")
    for path in playback.HERE.glob("*.csv*"):
        assert path.name in notice
    for name in re.findall(r"(?:LICENSE|NOTICE)-[\w.-]+?\.txt", notice):
        assert (playback.HERE / name).stat().st_size > 500
    for each in recordings().values():
        assert each.source in notice
