"""ClassyGlass: accelerometer, gyroscope and air pressure at a glasses temple.

Seven wearers, whole sessions.
"""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device_sim.recordings.make.writing import HERE, Pieces, Written, copy_licence, write_packed

STANDARD_GRAVITY_MPS2 = 9.80665
IMU_HZ, PRESSURE_HZ = 100, 7.33
IMU_COLUMNS = ("accel_x_mps2", "accel_y_mps2", "accel_z_mps2", "gyro_x_radps", "gyro_y_radps", "gyro_z_radps")
#: Names of what a story plays, by the label of the session.
ACTIVITIES = {"sitting_reading": "still", "walking": "walking", "stairs": "stairs", "running": "running"}
#: Where a session shows its label best, in seconds of the accelerometer: found by the deviation of
#: |acceleration| second by second, without getting up, turning round, pauses in a run, or the flat parts
#: between flights of stairs.
CLEAN_S = {
    ("user13", "still"): (22, 36),
    ("user13", "walking"): (8, 58),
    ("user13", "stairs"): (39, 53),
    ("user13", "running"): (4, 56),
    ("user14", "still"): (18, 28),
    ("user14", "walking"): (10, 58),
    ("user14", "stairs"): (25, 40),
    ("user14", "running"): (15, 30),
    ("user16", "stairs"): (50, 63),
    ("user16", "running"): (16, 40),
    ("user17", "still"): (20, 34),
    ("user17", "walking"): (4, 22),
    ("user17", "stairs"): (32, 44),
    ("user17", "running"): (4, 16),
    ("user18", "still"): (22, 38),
    ("user18", "walking"): (5, 59),
    ("user18", "stairs"): (33, 38),
    ("user18", "running"): (6, 22),
    ("user19", "still"): (26, 37),
    ("user19", "walking"): (14, 57),
    ("user19", "stairs"): (29, 40),
    ("user19", "running"): (2, 23),
    ("user22", "still"): (20, 34),
    ("user22", "walking"): (46, 76),
}

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Session:
    """One session: rows of motion (n, 6) and of air pressure (m, 1).

    Motion is from `skipped` rows after the accelerometer's first.
    """

    label: str
    skipped: int
    motion: Floats
    air: Floats


def write(data: Path) -> list[Written]:
    """Write one IMU and one pressure recording a wearer.

    A piece is a session, or the cleanest part of one that stories play.
    """
    folder = data / "classyglass"
    by_wearer: dict[str, list[tuple[int, str, str]]] = {}
    with (folder / "sessions.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["sensor"] == "accelerometer":
                name = row["file"].removesuffix("_accelerometer.csv.gz")
                by_wearer.setdefault(name.split("_")[0], []).append(
                    (int(row["first_epoch_ms"]), name, row["activity"])
                )
    copy_licence(folder / "LICENSE-CC-BY-4.0.txt", "LICENSE-classyglass-CC-BY-4.0.txt")
    # In the order of time: the numbers of two experiments run against it.
    return [
        recording
        for wearer, sessions in sorted(by_wearer.items())
        for recording in _wearer(
            wearer, [_session(folder / name, label) for _, name, label in sorted(sessions)]
        )
    ]


def _session(path: Path, label: str) -> _Session:
    """Put the sensors of a session side by side by their own first stamps.

    What only one of them has is left out. In most sessions the gyroscope begins 80 to 90 ms before the
    accelerometer, and the way gravity turns agrees with the stamps.
    """
    sensors = {
        sensor: _read(Path(f"{path}_{sensor}.csv.gz"))
        for sensor in ("accelerometer", "gyroscope", "pressure")
    }
    accel, gyro = sensors["accelerometer"], sensors["gyroscope"]
    late = round(float(gyro[0, 0] - accel[0, 0]) * IMU_HZ / 1000)
    accel, gyro = (
        accel[max(late, 0) :, 1:] * STANDARD_GRAVITY_MPS2,
        gyro[max(-late, 0) :, 1:] * (math.pi / 180),
    )
    rows = min(len(accel), len(gyro))
    return _Session(label, max(late, 0), np.hstack((accel[:rows], gyro[:rows])), sensors["pressure"][:, 1:])


def _wearer(wearer: str, sessions: Sequence[_Session]) -> Iterator[Written]:
    pieces: Pieces = {}
    air_pieces: Pieces = {}
    first = air_first = 0
    for session in sessions:
        activity = ACTIVITIES.get(session.label)
        whole = f"{session.label}_session" if activity == session.label else session.label
        pieces[whole], air_pieces[whole] = (first, len(session.motion)), (air_first, len(session.air))
        if activity is not None:
            from_s, to_s = CLEAN_S[wearer, activity]
            pieces[activity] = (first + from_s * IMU_HZ - session.skipped, (to_s - from_s) * IMU_HZ)
            air_pieces[activity] = (
                air_first + round(from_s * PRESSURE_HZ),
                round((to_s - from_s) * PRESSURE_HZ),
            )
        first, air_first = first + len(session.motion), air_first + len(session.air)
    moved = (
        [*(f"{v:.3f}" for v in row[:3]), *(f"{v:.4f}" for v in row[3:])]
        for session in sessions
        for row in session.motion.tolist()
    )
    write_packed(HERE / f"classyglass-{wearer}.csv.gz", IMU_COLUMNS, moved)
    yield Written(f"classyglass-{wearer}", first, float(IMU_HZ), first / IMU_HZ, pieces)
    pressures = ((f"{row[0]:.1f}", "") for session in sessions for row in session.air.tolist())
    write_packed(HERE / f"classyglass-{wearer}-pressure.csv.gz", ("pressure_pa", "temperature_c"), pressures)
    yield Written(
        f"classyglass-{wearer}-pressure",
        air_first,
        PRESSURE_HZ,
        round(air_first / PRESSURE_HZ, 2),
        air_pieces,
    )


def _read(path: Path) -> Floats:
    """Rows of one sensor: epoch ms, then its axes."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        axes = len(file.readline().split(",")) - 3
    return np.loadtxt(path, delimiter=",", skiprows=1, usecols=(0, *range(3, 3 + axes)), ndmin=2)
