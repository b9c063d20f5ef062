"""Fixations from gaze: runs of samples during which the eyes hardly move.

Method: velocity threshold (I-VT), Salvucci and Goldberg, "Identifying fixations and saccades in eye-tracking
protocols", ETRA 2000, section 3.1: consecutive samples whose angular velocity stays below a threshold are one
fixation, unless they are shorter than the minimum duration. The velocity is taken over LAG_SAMPLES samples,
20 ms at 200 Hz, as in Olsen, "The Tobii I-VT fixation filter", 2012: between neighbouring samples the noise
alone can be faster than a slow saccade.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from streams.events.batch import Batch
from streams.events.codec import column
from streams.processing.operators import Operator
from streams.processing.windows import FRONT_SAMPLES_MAX, ClosedWindow, Columns, Samples

#: One sample: packed and little-endian, so that a state is the same on every machine.
GAZE = np.dtype([("t_ns", "<i8"), ("yaw_rad", "<f8"), ("pitch_rad", "<f8"), ("counts", "?")])
Floats = NDArray[np.float64]
WINDOW_SAMPLES = (
    2000  #: a longer fixation is cut where numbers are a multiple of this, so that the state stays bounded
)
VELOCITY_MAX_RADPS = math.radians(100.0)
LAG_SAMPLES = FRONT_SAMPLES_MAX  #: 20 ms at 200 Hz
DURATION_MIN_NS = 60_000_000
_ANGLE_MAX_RAD = 2 * math.pi  #: samples with larger angles are invalid and do not count


def samples(batches: Sequence[Batch]) -> Samples:
    """Time and direction of every event, and whether it counts (worn, with a valid direction)."""
    gaze = np.empty(sum(batch.run.count for batch in batches), GAZE)
    gaze["t_ns"] = np.fromiter(chain.from_iterable(map(_times_ns, batches)), np.int64, len(gaze))
    # The direction is null during a blink; `column` reads it as NaN, which is within no bound.
    yaw, pitch = column(batches, "yaw_rad"), column(batches, "pitch_rad")
    gaze["yaw_rad"], gaze["pitch_rad"] = np.nan_to_num(yaw), np.nan_to_num(pitch)
    worn = np.fromiter(chain.from_iterable(batch.columns["worn"] for batch in batches), np.bool_, len(gaze))
    gaze["counts"] = worn & (np.abs(yaw) <= _ANGLE_MAX_RAD) & (np.abs(pitch) <= _ANGLE_MAX_RAD)
    return gaze


def _times_ns(batch: Batch) -> Iterable[int]:
    return batch.t_ns if batch.t_ns is not None else map(batch.time_ns, range(batch.run.count))


def breaks(front: Samples, arrived: Samples) -> list[int]:
    """Indices of `arrived` at which a new run begins; `front` holds the last samples of the open run.

    A sample continues the run if it and the sample before it count, and if the eyes moved slowly over the
    last LAG_SAMPLES samples of the run (over all of them if the run is shorter).
    """
    whole = np.concatenate((front[-LAG_SAMPLES:], arrived))
    known = len(whole) - len(arrived)
    counts = whole["counts"]
    # Samples that do not count are set to zero, because their numbers could overflow.
    t_ns, yaw, pitch = (
        np.where(counts, whole[name], 0).astype(np.float64) for name in ("t_ns", "yaw_rad", "pitch_rad")
    )
    fast = [_fast(t_ns, yaw, pitch, lag) for lag in range(1, LAG_SAMPLES + 1)]
    apart = np.ones(len(whole), np.bool_)
    apart[1:] = ~(counts[1:] & counts[:-1])
    begins: list[int] = []
    start = 0
    # Only visit samples that may begin a run: most are neither apart nor fast over any lag.
    for i in np.flatnonzero(np.logical_or.reduce([apart, *fast])).tolist():
        if i < max(known, 1):
            continue
        lag = min(LAG_SAMPLES, i - start)
        if apart[i] or fast[lag - 1][i]:
            begins.append(i - known)
            start = i
    return begins


def _fast(t_ns: Floats, yaw: Floats, pitch: Floats, lag: int) -> NDArray[np.bool_]:
    """Whether the eyes moved faster than the threshold between each sample and the one `lag` before it.

    All arrays have shape (n,).
    """
    # Small-angle approximation: a change of yaw counts with the cosine of the pitch.
    angle = np.hypot((yaw[lag:] - yaw[:-lag]) * np.cos(pitch[lag:]), pitch[lag:] - pitch[:-lag])
    moved = (angle > 0) & (angle >= VELOCITY_MAX_RADPS * np.maximum(t_ns[lag:] - t_ns[:-lag], 0.0) / 1e9)
    return np.concatenate((np.zeros(min(lag, len(t_ns)), np.bool_), moved))


def values(closed: Sequence[ClosedWindow]) -> list[Columns | None]:
    """Columns of the fixation for each run, None for a run that is no fixation."""
    return [_fixation(window.samples) for window in closed]


def _fixation(run: Samples) -> Columns | None:
    duration_ns = int(run["t_ns"][-1]) - int(run["t_ns"][0])
    if duration_ns < DURATION_MIN_NS or not run["counts"][0]:
        return None
    # NumPy sums strided arrays in another order than contiguous ones, which can change the last digit.
    yaw, pitch = (np.ascontiguousarray(run[name]) for name in ("yaw_rad", "pitch_rad"))
    centre = float(yaw.mean()), float(pitch.mean())
    apart = np.hypot((yaw - centre[0]) * math.cos(centre[1]), pitch - centre[1])
    return {
        "duration_ms": round(duration_ns / 1e6, 1),
        "centre_yaw_rad": round(centre[0], 4),
        "centre_pitch_rad": round(centre[1], 4),
        "dispersion_deg": round(math.degrees(float(np.sqrt((apart**2).mean()))), 3),
        "samples": len(run),
    }


FIXATION = Operator(
    name="fixation",
    version=1,
    reads="gaze",
    primary="gaze",
    sample=GAZE,
    samples=samples,
    length=WINDOW_SAMPLES,
    makes=values,
    breaks=breaks,
)
