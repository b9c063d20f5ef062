"""Project Aria samples: gaze by several models, poses, descriptors of frames and sound, air.

Pixels and sound are never among them.
"""

from __future__ import annotations

import csv
import gzip
import wave
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from device_sim.recordings.make.classyglass import IMU_COLUMNS
from device_sim.recordings.make.neon import GAZE_COLUMNS
from device_sim.recordings.make.writing import HERE, Written, copy_licence, timed, write_packed

Row = dict[str, str]
GAZE = {
    "aria-mps-gaze": "gen1_mps_sample/generalized_eye_gaze.csv",
    "aria-gen2-gaze-general": "gen2_mps_sample/general_eye_gaze.csv",
    "aria-gen2-gaze-personalized": "gen2_mps_sample/personalized_eye_gaze.csv",
}
FRAMES = {
    "aria-everyday-frames": "derived/gen1_everyday/frames.csv",
    "aria-timecode-frames": "derived/gen1_timecode/frames.csv",
}
FRAME_COLUMNS = (
    "frame_number",
    "width_px",
    "height_px",
    "codec",
    "size_bytes",
    "sha256",
    "exposure_s",
    "gain",
)
POSE_COLUMNS = (
    "position_x_m",
    "position_y_m",
    "position_z_m",
    "orientation_x",
    "orientation_y",
    "orientation_z",
    "orientation_w",
    "quality",
)
POSE_EVERY_NS = 100_000_000
#: The sound was published amplified 32 times (30.1 dB), because the original is near -60 dBFS.
AMPLIFIED, BLOCK_S, FULL_SCALE, FLOOR = 32.0, 0.02, 32768.0, 1e-9


def write(data: Path) -> list[Written]:
    """Write every recording of Aria."""
    folder = data / "aria"
    copy_licence(folder / "LICENSE", "LICENSE-aria-Apache-2.0.txt")
    copy_licence(folder / "NOTICE.md", "NOTICE-aria.md")
    made = [
        _table(name, _rows(folder / path), "tracking_timestamp_us", 1000, GAZE_COLUMNS, _gaze)
        for name, path in GAZE.items()
    ]
    made += [
        _table(
            name,
            [row for row in _rows(folder / path) if row["label"] == "camera-rgb"],
            "capture_timestamp_ns",
            1,
            FRAME_COLUMNS,
            _frame,
        )
        for name, path in FRAMES.items()
    ]
    everyday = folder / "derived" / "gen1_everyday"
    made.append(
        _table(
            "aria-everyday-env",
            _rows(everyday / "barometer.csv"),
            "capture_timestamp_ns",
            1,
            ("pressure_pa", "temperature_c"),
            lambda row: (f"{float(row['pressure_pa']):.1f}", f"{float(row['temperature_c']):.2f}"),
        )
    )
    made.append(
        _table(
            "aria-everyday-imu",
            _rows(everyday / "imu_right.csv"),
            "capture_timestamp_ns",
            1,
            IMU_COLUMNS,
            _motion,
        )
    )
    made += [_poses(folder), _sound(everyday)]
    return made


def _rows(path: Path) -> list[Row]:
    packed = path.suffix == ".gz"
    with (
        gzip.open(path, "rt", encoding="utf-8", newline="")
        if packed
        else path.open(encoding="utf-8", newline="") as file
    ):
        return list(csv.DictReader(file))


def _table(
    name: str,
    rows: Sequence[Row],
    stamp: str,
    unit_ns: int,
    columns: Sequence[str],
    values: Callable[[Row], Sequence[str]],
) -> Written:
    """Write rows whose times stand in the column `stamp`, in units of `unit_ns`."""
    t_ns = np.array([int(row[stamp]) * unit_ns for row in rows], dtype=np.int64)
    t_ns -= t_ns[0]
    write_packed(
        HERE / f"{name}.csv.gz",
        ("t_ns", *columns),
        ((t, *values(row)) for t, row in zip(t_ns.tolist(), rows, strict=True)),
    )
    return timed(name, t_ns)


def _gaze(row: Row) -> tuple[str, ...]:
    return f"{float(row['yaw_rads_cpf']):.5f}", f"{float(row['pitch_rads_cpf']):.5f}", "", "", "1"


def _frame(row: Row) -> tuple[str, ...]:
    return (
        row["frame_number"],
        row["width_px"],
        row["height_px"],
        row["codec"],
        row["payload_bytes"],
        row["payload_sha256"],
        row["exposure_s"],
        row["gain"],
    )


def _motion(row: Row) -> tuple[str, ...]:
    return (
        *(f"{float(row[f'accel_{axis}_m_s2']):.3f}" for axis in "xyz"),
        *(f"{float(row[f'gyro_{axis}_rad_s']):.4f}" for axis in "xyz"),
    )


def _poses(folder: Path) -> Written:
    rows = _rows(folder / "gen1_mps_sample" / "closed_loop_trajectory.csv.gz")
    kept: list[Row] = []
    for row in rows:
        if (
            not kept
            or int(row["tracking_timestamp_us"]) * 1000
            >= int(kept[0]["tracking_timestamp_us"]) * 1000 + len(kept) * POSE_EVERY_NS
        ):
            kept.append(row)
    return _table("aria-mps-pose", kept, "tracking_timestamp_us", 1000, POSE_COLUMNS, _pose)


def _pose(row: Row) -> tuple[str, ...]:
    return (
        *(f"{float(row[f't{axis}_world_device']):.4f}" for axis in "xyz"),
        *(f"{float(row[f'q{axis}_world_device']):.6f}" for axis in "xyzw"),
        row["quality_score"],
    )


def _sound(folder: Path) -> Written:
    with wave.open(str(folder / "audio_ch0_gain30db_48k.wav"), "rb") as file:
        rate_hz = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(float) / (
            FULL_SCALE * AMPLIFIED
        )
    length = round(rate_hz * BLOCK_S)
    blocks = samples[: len(samples) // length * length].reshape(-1, length)
    blocks = blocks - blocks.mean(axis=1, keepdims=True)
    rms = 20 * np.log10(np.maximum(np.sqrt((blocks**2).mean(axis=1)), FLOOR))
    peak = 20 * np.log10(np.maximum(np.abs(blocks).max(axis=1), FLOOR))
    write_packed(
        HERE / "aria-everyday-audio-level.csv.gz",
        ("rms_dbfs", "peak_dbfs", "voiced"),
        ((f"{level:.2f}", f"{top:.2f}", 0) for level, top in zip(rms.tolist(), peak.tolist(), strict=True)),
    )
    return Written("aria-everyday-audio-level", len(blocks), 1 / BLOCK_S, len(blocks) * BLOCK_S, {})
