"""ClassyGlass: accelerometer, gyroscope and air pressure at a glasses temple, seven wearers, whole sessions."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device_sim.recordings.make.writing import HERE, Pieces, Written, copy_licence, write_packed

STANDARD_GRAVITY_MPS2 = 9.80665
IMU_HZ, PRESSURE_HZ = 100, 7.33
IMU_COLUMNS = ("accel_x_mps2", "accel_y_mps2", "accel_z_mps2", "gyro_x_radps", "gyro_y_radps", "gyro_z_radps")
#: Names of what a story plays, by the label of the session.
ACTIVITIES = {"sitting_reading": "still", "walking": "walking", "stairs": "stairs", "running": "running"}
#: Where a session shows its label best, in seconds: without getting up, turning round, or the flat parts between flights of stairs.
CLEAN_S = {
    ("user17", "still"): (20, 34), ("user17", "walking"): (4, 22), ("user17", "stairs"): (32, 44), ("user17", "running"): (4, 16),
    ("user22", "still"): (20, 34), ("user22", "walking"): (46, 76)}
_CLEAN_DEFAULT_S = (5, 55)

Floats = NDArray[np.float64]


def write(data: Path) -> list[Written]:
    """Write one IMU and one pressure recording a wearer; a piece is a session, or the cleanest part of one that stories play."""
    folder = data / "classyglass"
    sessions: dict[str, dict[str, str]] = {}
    with (folder / "sessions.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            sessions.setdefault(row["file"].split("_")[0], {})[row["experiment"]] = row["activity"]
    copy_licence(folder / "LICENSE-CC-BY-4.0.txt", "LICENSE-classyglass-CC-BY-4.0.txt")
    return [one for wearer, found in sorted(sessions.items()) for one in _wearer(folder, wearer, found)]


def _wearer(folder: Path, wearer: str, sessions: dict[str, str]) -> Iterator[Written]:
    motion: list[Floats] = []
    pressure: list[Floats] = []
    pieces: Pieces = {}
    pressure_pieces: Pieces = {}
    first = pressure_first = 0
    for experiment, label in sorted(sessions.items(), key=lambda session: int(session[0])):
        name = f"{wearer}_exp{experiment}"
        if not (folder / f"{name}_accelerometer.csv.gz").exists():
            continue
        accel = _read(folder / f"{name}_accelerometer.csv.gz", (3, 4, 5)) * STANDARD_GRAVITY_MPS2
        gyro = _read(folder / f"{name}_gyroscope.csv.gz", (3, 4, 5)) * (math.pi / 180)
        air = _read(folder / f"{name}_pressure.csv.gz", (3,))
        # The sensors of a session do not end together; what only one of them has is left out.
        rows = min(len(accel), len(gyro))
        motion.append(np.hstack((accel[:rows], gyro[:rows])))
        pressure.append(air)
        pieces[label] = (first, rows)
        pressure_pieces[label] = (pressure_first, len(air))
        activity = ACTIVITIES.get(label)
        if activity is not None:
            from_s, to_s = CLEAN_S.get((wearer, activity), _CLEAN_DEFAULT_S)
            pieces[activity] = (first + from_s * IMU_HZ, (to_s - from_s) * IMU_HZ)
        first, pressure_first = first + rows, pressure_first + len(air)
    rows_of = ([*(f"{v:.3f}" for v in row[:3]), *(f"{v:.4f}" for v in row[3:])] for row in np.vstack(motion).tolist())
    write_packed(HERE / f"classyglass-{wearer}.csv.gz", IMU_COLUMNS, rows_of)
    yield Written(f"classyglass-{wearer}", first, float(IMU_HZ), first / IMU_HZ, pieces)
    pressures = ((f"{row[0]:.1f}", "") for row in np.vstack(pressure).tolist())
    write_packed(HERE / f"classyglass-{wearer}-pressure.csv.gz", ("pressure_pa", "temperature_c"), pressures)
    yield Written(f"classyglass-{wearer}-pressure", pressure_first, PRESSURE_HZ, round(pressure_first / PRESSURE_HZ, 2), pressure_pieces)


def _read(path: Path, columns: tuple[int, ...]) -> Floats:
    return np.loadtxt(path, delimiter=",", skiprows=1, usecols=columns, ndmin=2)
