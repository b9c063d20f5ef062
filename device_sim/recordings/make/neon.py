"""Pupil Labs Neon: gaze with pupils, head motion, and as truth what the device itself detected.

That is fixations, saccades and blinks.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_sim.recordings.make.classyglass import IMU_COLUMNS, STANDARD_GRAVITY_MPS2
from device_sim.recordings.make.writing import HERE, Written, copy_licence, timed, write_packed, write_text

#: Scene camera, nominal: 1600 x 1200 px with the optical axis in the middle. The focal length is the one with
#: which the device's own saccade amplitudes in degrees follow best from its own pixels: 858 to 872 px over
#: the four parts, error below 2.1 %.
WIDTH_PX, HEIGHT_PX, FOCAL_PX = 1600, 1200, 865.0
RECORDINGS = {"neon-demo": ("demo_recording", (1,)), "neon-multi-part": ("multi_part", (1, 2, 3))}
EVENTS = {0: "saccade", 1: "fixation", 4: "blink"}
GAZE_COLUMNS = ("yaw_rad", "pitch_rad", "pupil_left_mm", "pupil_right_mm", "worn")
_EYE_FLOATS, _PUPIL_LEFT, _PUPIL_RIGHT = 20, 0, 7
_MOTION = np.dtype(
    [("t_ns", "<i8"), ("gyro_degps", "<f4", 3), ("accel_g", "<f4", 3), ("orientation", "<f4", 4)]
)
_FIXATION_BYTES, _BLINK_BYTES = 60, 20

Ints = NDArray[np.int64]


def write(data: Path) -> list[Written]:
    """Write gaze, motion and truth of both recordings; the truth counts time from the first gaze sample."""
    copy_licence(data / "neon" / "LICENSE", "LICENSE-neon-MIT.txt")
    made = []
    for name, (folder, parts) in RECORDINGS.items():
        where = data / "neon" / folder
        stamps = _joined(where, "gaze ps{}.time", parts, "<i8")
        made += [_gaze(name, where, parts, stamps), _motion(name, where, parts)]
        _truth(name, where, parts, int(stamps[0]))
    return made


def _joined(where: Path, pattern: str, parts: tuple[int, ...], form: str) -> NDArray[Any]:
    return np.concatenate([np.fromfile(where / pattern.format(part), np.dtype(form)) for part in parts])


def _gaze(name: str, where: Path, parts: tuple[int, ...], stamps: Ints) -> Written:
    pixels = _joined(where, "gaze ps{}.raw", parts, "<f4").reshape(-1, 2).astype(float)
    eyes = _joined(where, "eye_state ps{}.raw", parts, "<f4").reshape(-1, _EYE_FLOATS).astype(float)
    worn = _joined(where, "worn ps{}.raw", parts, "u1") > 0
    # The picture's origin is top left; here left and up are positive, as in Aria's central pupil frame.
    yaw = np.arctan2(WIDTH_PX / 2 - pixels[:, 0], FOCAL_PX)
    pitch = np.arctan2(HEIGHT_PX / 2 - pixels[:, 1], FOCAL_PX)
    t_ns = stamps - stamps[0]
    directions = np.column_stack((yaw, pitch)).tolist()
    pupils = eyes[:, (_PUPIL_LEFT, _PUPIL_RIGHT)].tolist()
    write_packed(
        HERE / f"{name}-gaze.csv.gz",
        ("t_ns", *GAZE_COLUMNS),
        (
            (t, *(f"{angle:.5f}" for angle in to), *(f"{width:.3f}" for width in pupil), int(on))
            for t, to, pupil, on in zip(t_ns.tolist(), directions, pupils, worn.tolist(), strict=True)
        ),
    )
    return timed(f"{name}-gaze", t_ns)


def _motion(name: str, where: Path, parts: tuple[int, ...]) -> Written:
    rows = np.concatenate([np.fromfile(where / f"imu ps{part}.raw", _MOTION) for part in parts])
    t_ns = rows["t_ns"] - rows["t_ns"][0]
    accel = rows["accel_g"].astype(float) * STANDARD_GRAVITY_MPS2
    gyro = rows["gyro_degps"].astype(float) * (math.pi / 180)
    write_packed(
        HERE / f"{name}-imu.csv.gz",
        ("t_ns", *IMU_COLUMNS),
        (
            (t, *(f"{v:.3f}" for v in a), *(f"{v:.4f}" for v in g))
            for t, a, g in zip(t_ns.tolist(), accel.tolist(), gyro.tolist(), strict=True)
        ),
    )
    return timed(f"{name}-imu", t_ns)


def _truth(name: str, where: Path, parts: tuple[int, ...], begin_ns: int) -> None:
    events = []
    for part in parts:
        for file, size in (("fixations", _FIXATION_BYTES), ("blinks", _BLINK_BYTES)):
            form = np.dtype(
                {
                    "names": ["event", "start_ns", "end_ns"],
                    "formats": ["<i4", "<i8", "<i8"],
                    "offsets": [0, 4, 12],
                    "itemsize": size,
                }
            )
            for event, start_ns, end_ns in np.fromfile(where / f"{file} ps{part}.raw", form).tolist():
                events.append((start_ns - begin_ns, EVENTS[event], end_ns - begin_ns))
    write_text(
        HERE / f"{name}-truth.csv",
        ("event", "start_s", "end_s"),
        ((event, f"{start / 1e9:.6f}", f"{end / 1e9:.6f}") for start, event, end in sorted(events)),
    )
