"""The kinds of event and the columns of each, with units in the names.

Sources of units and rates: `device_sim/recordings/NOTICE` names the recordings; the names follow Project
Aria's sensor metadata, Pupil Labs' Neon streams and the W3C Geolocation interface. Frames and sound are
described, never carried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from streams.errors import MalformedError

#: With a question mark: null where the device did not measure, or the form of the event has no such thing.
ColumnType = Literal["number", "text", "flag", "number?", "text?"]


@dataclass(frozen=True)
class Kind:
    """One kind of event: who makes it and what its columns hold (name to type, units in the name)."""

    name: str
    captured: bool
    columns: Mapping[str, ColumnType]

    @property
    def event_type(self) -> str:
        """CloudEvents `type`."""
        return f"glasses.{self.name}.v1"

    @cached_property
    def event_type_bytes(self) -> bytes:
        """The same, as it stands in a header."""
        return self.event_type.encode()


def _numbers(*names: str) -> dict[str, ColumnType]:
    return dict.fromkeys(names, "number")


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "imu",
            True,
            _numbers(
                "accel_x_mps2", "accel_y_mps2", "accel_z_mps2", "gyro_x_radps", "gyro_y_radps", "gyro_z_radps"
            ),
        ),
        Kind(
            "gaze",
            True,
            {
                "yaw_rad": "number",
                "pitch_rad": "number",
                "pupil_left_mm": "number?",
                "pupil_right_mm": "number?",
                "worn": "flag",
            },
        ),
        Kind("audio_level", True, {"rms_dbfs": "number", "peak_dbfs": "number", "voiced": "flag"}),
        Kind(
            "voice_segment",
            True,
            {"speaker": "text", "duration_ms": "number", "words": "number", "confidence": "number"},
        ),
        Kind("voice_query", True, {"trigger": "text", "language": "text", "text": "text"}),
        Kind(
            "camera_frame",
            True,
            {
                "frame_number": "number",
                "width_px": "number",
                "height_px": "number",
                "codec": "text",
                "size_bytes": "number",
                "sha256": "text",
                "exposure_s": "number",
                "gain": "number",
            },
        ),
        Kind("capture", True, {"media": "text", "action": "text", "trigger": "text", "indicator": "flag"}),
        Kind("location", True, _numbers("latitude_deg", "longitude_deg", "altitude_m")),
        Kind(
            "radio_scan",
            True,
            {"radio": "text", "scan_ms": "number", "sightings": "number", "strongest_dbm": "number"},
        ),
        Kind("ppg", True, _numbers("raw", "led_ma", "integration_us")),
        Kind("env", True, {"pressure_pa": "number", "temperature_c": "number?"}),
        Kind(
            "pose",
            True,
            _numbers(
                "position_x_m",
                "position_y_m",
                "position_z_m",
                "orientation_x",
                "orientation_y",
                "orientation_z",
                "orientation_w",
                "quality",
            ),
        ),
        Kind("device_state", True, {"session": "text", "battery_percent": "number", "thermal": "text"}),
        Kind("gesture", True, {"gesture": "text", "side": "text"}),
        Kind(
            "feedback",
            True,
            {
                "target": "text",
                "form": "text",
                "thumb": "number",
                "chosen_intent": "text?",
                "text": "text?",
                "rating": "number?",
                "second_rating": "number?",
            },
        ),
        Kind(
            "consent_change",
            True,
            {
                "consent": "number",
                "status": "text",
                "purposes": "text",
                "principal": "text?",
                "expires_ns": "number?",
            },
        ),
        Kind("erasure_request", True, {"reason": "text", "from_ns": "number?", "to_ns": "number?"}),
        Kind("activity", False, {"activity": "text", "accel_norm_std_mps2": "number", "samples": "number"}),
        Kind(
            "fixation",
            False,
            _numbers("duration_ms", "centre_yaw_rad", "centre_pitch_rad", "dispersion_deg", "samples"),
        ),
        Kind(
            "speech",
            False,
            {"speech": "text", "speech_share": "number", "level_dbfs": "number", "samples": "number"},
        ),
        Kind("place", False, _numbers("place_number", "distance_m", "speed_mps", "fixes")),
        Kind(
            "situation",
            False,
            {
                "activity": "text",
                "activity_age_ms": "number",
                "place_number": "number",
                "place_age_ms": "number",
            },
        ),
        Kind(
            "answer",
            False,
            {"intent": "text", "confidence": "number", "model_version": "number", "text": "text?"},
        ),
        Kind(
            "example",
            False,
            {"utterance": "text", "intent": "text", "answered_intent": "text", "model_version": "number"},
        ),
        Kind("model", False, {}),
    )
}


def kind_named(name: object, *, captured: bool) -> Kind:
    """Return the captured (or derived) kind called `name`; MalformedError names the ones that exist."""
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None or kind.captured is not captured:
        known = ", ".join(k.name for k in KINDS.values() if k.captured is captured)
        raise MalformedError(f"kind: found one that is not known here, expected one of {known}")
    return kind
