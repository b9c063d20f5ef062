"""Fixations from gaze: runs of samples between which the eyes hardly move.

Method: velocity threshold (I-VT), Salvucci and Goldberg, "Identifying fixations and saccades in eye-tracking
protocols", ETRA 2000, section 3.1: consecutive samples whose angular velocity stays below a threshold are one
fixation; shorter ones than the minimum are left out. The velocity is taken over LAG_SAMPLES samples, 20 ms at
200 Hz as in Olsen, "The Tobii I-VT fixation filter", 2012, because there the noise of neighbouring samples
alone is faster than a slow saccade.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.events.step import Tagged
from streams.processing.windows import Anchors, ClosedWindow, Columns

Floats = NDArray[np.float64]
#: (time in ns, yaw and pitch in rad, worn); a plain tuple, since it lies in the device's state.
Sample = tuple[int, float, float, bool]
WINDOW_SAMPLES = (
    2000  #: a longer fixation is cut where numbers are a multiple of this, so that the state stays bounded
)
VELOCITY_MAX_RADPS = math.radians(100.0)
LAG_SAMPLES = 4  #: 20 ms at 200 Hz
DURATION_MIN_NS = 60_000_000
_ANGLE_MAX_RAD = 2 * math.pi  #: what is no angle is no gaze


def samples(batches: Sequence[Tagged]) -> list[list[Sample]]:
    """Every event's time, direction and whether it counts, one list a batch."""
    lists = []
    for tagged in batches:
        batch = tagged.batch
        yaws, pitches = batch.columns["yaw_rad"], batch.columns["pitch_rad"]
        times = [batch.time_ns(i) for i in range(batch.run.count)]
        valid = [
            worn and abs(yaw) <= _ANGLE_MAX_RAD and abs(pitch) <= _ANGLE_MAX_RAD
            for yaw, pitch, worn in zip(yaws, pitches, batch.columns["worn"], strict=True)
        ]
        lists.append(list(zip(times, yaws, pitches, valid, strict=True)))
    return lists


def breaks(front: Sequence[Sample], found: Sequence[Sample]) -> list[int]:
    """Indices of `found` at which another run begins; `front` are the samples of the run that is still open.

    A sample continues a run when it and the one in front of it count, and the eyes moved slowly over the last
    LAG_SAMPLES samples of the run (over all of a shorter one).
    """
    whole = [*front[-LAG_SAMPLES:], *found]
    known = len(whole) - len(found)
    # What does not count is set to zero: a number that is no angle must not overflow.
    t_ns, yaw, pitch = (
        np.array([sample[i] if sample[3] else 0 for sample in whole], dtype=np.float64) for i in range(3)
    )
    fast = [_fast(t_ns, yaw, pitch, lag) for lag in range(1, LAG_SAMPLES + 1)]
    begins: list[int] = []
    start = 0
    for i in range(max(known, 1), len(whole)):
        lag = min(LAG_SAMPLES, i - start)
        if fast[lag - 1][i] or not (whole[i][3] and whole[i - 1][3]):
            begins.append(i - known)
            start = i
    return begins


def _fast(t_ns: Floats, yaw: Floats, pitch: Floats, lag: int) -> list[bool]:
    """Whether the eyes moved faster than the threshold between each sample and the one `lag` in front of it.

    The arrays are of shape (n,).
    """
    # At the small angles between neighbours, yaw shrinks with the cosine of the pitch.
    angle = np.hypot((yaw[lag:] - yaw[:-lag]) * np.cos(pitch[lag:]), pitch[lag:] - pitch[:-lag])
    moved = (angle > 0) & (angle >= VELOCITY_MAX_RADPS * np.maximum(t_ns[lag:] - t_ns[:-lag], 0.0) / 1e9)
    return [False] * min(lag, len(t_ns)) + [bool(one) for one in moved.tolist()]


def values(
    closed: Sequence[ClosedWindow], places: Mapping[str, Anchors]
) -> tuple[list[Columns | None], Mapping[str, Anchors]]:
    """Columns of the fixation that each run makes, None where it is none; places stay as they are."""
    return [_fixation(one.window.samples) for one in closed], places


def _fixation(run: Sequence[Any]) -> Columns | None:
    duration_ns = run[-1][0] - run[0][0]
    if duration_ns < DURATION_MIN_NS or not run[0][3]:
        return None
    yaw, pitch = np.array([sample[1] for sample in run]), np.array([sample[2] for sample in run])
    centre = float(yaw.mean()), float(pitch.mean())
    apart = np.hypot((yaw - centre[0]) * math.cos(centre[1]), pitch - centre[1])
    return {
        "duration_ms": round(duration_ns / 1e6, 1),
        "centre_yaw_rad": round(centre[0], 4),
        "centre_pitch_rad": round(centre[1], 4),
        "dispersion_deg": round(math.degrees(float(np.sqrt((apart**2).mean()))), 3),
        "samples": len(run),
    }
