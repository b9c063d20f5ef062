"""The kinds that come with Sightline, defined as users define their own; column names end in the unit.

`unitless` has what has no unit: counts, shares, ratings, quaternions, raw values of a converter, and numbers
by which something is called.

Sources of units and rates: `device_sim/recordings/NOTICE` names the recordings; the names follow Project
Aria's sensor metadata, Pupil Labs' Neon streams and the W3C Geolocation interface. Events describe frames and
sound but never contain them.
"""

from __future__ import annotations

from streams.events.kinds import Kind, Kinds, WireType


def _numbers(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "number")


def _wire(*, f4: str = "", i4: str = "", i8: str = "") -> dict[str, WireType]:
    """Packed types by column; each argument is a list of column names, separated by spaces.

    `f4` is finer than the resolution of a sensor, but too coarse for latitude and longitude. Counts are
    integers.
    """
    return {
        **dict.fromkeys(f4.split(), "f4"),
        **dict.fromkeys(i4.split(), "i4"),
        **dict.fromkeys(i8.split(), "i8"),
    }


SHIPPED = Kinds.of(
    Kind(
        "imu",
        True,
        _numbers(
            "accel_x_mps2", "accel_y_mps2", "accel_z_mps2", "gyro_x_radps", "gyro_y_radps", "gyro_z_radps"
        ),
        _wire(f4="accel_x_mps2 accel_y_mps2 accel_z_mps2 gyro_x_radps gyro_y_radps gyro_z_radps"),
    ),
    Kind(
        "gaze",
        True,
        {
            "yaw_rad": "number?",
            "pitch_rad": "number?",
            "pupil_left_mm": "number?",
            "pupil_right_mm": "number?",
            "worn": "flag",
        },
        _wire(f4="yaw_rad pitch_rad pupil_left_mm pupil_right_mm"),
    ),
    Kind(
        "audio_level",
        True,
        {"rms_dbfs": "number", "peak_dbfs": "number", "voiced": "flag"},
        _wire(f4="rms_dbfs peak_dbfs"),
    ),
    Kind(
        "voice_segment",
        True,
        {"speaker": "token", "duration_ms": "number", "words": "number", "confidence": "number"},
        _wire(f4="confidence", i4="words"),
        unitless=("words", "confidence"),
    ),
    Kind("voice_query", True, {"trigger": "token", "language": "token", "text": "text"}),
    Kind(
        "camera_frame",
        True,
        {
            "frame_number": "number",
            "width_px": "number",
            "height_px": "number",
            "codec": "token",
            "size_bytes": "number",
            "sha256": "token",
            "exposure_s": "number",
            "gain": "number",
        },
        _wire(f4="exposure_s gain", i4="width_px height_px", i8="frame_number size_bytes"),
        unitless=("frame_number", "gain"),
    ),
    Kind("capture", True, {"media": "token", "action": "token", "trigger": "token", "indicator": "flag"}),
    Kind("location", True, _numbers("latitude_deg", "longitude_deg", "altitude_m"), _wire(f4="altitude_m")),
    Kind(
        "radio_scan",
        True,
        {"radio": "token", "scan_ms": "number", "sightings": "number", "strongest_dbm": "number"},
        _wire(f4="scan_ms strongest_dbm", i4="sightings"),
        unitless=("sightings",),
    ),
    Kind(
        "ppg",
        True,
        _numbers("raw", "led_ma", "integration_us"),
        _wire(f4="led_ma integration_us"),
        unitless=("raw",),
    ),
    Kind("env", True, {"pressure_pa": "number", "temperature_c": "number?"}, _wire(f4="temperature_c")),
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
        _wire(f4="orientation_x orientation_y orientation_z orientation_w quality"),
        unitless=("orientation_x", "orientation_y", "orientation_z", "orientation_w", "quality"),
    ),
    Kind(
        "device_state",
        True,
        {
            "session": "started|resumed|running|ended",
            "battery_percent": "number",
            "thermal": "cool|normal|warm|hot",
        },
        _wire(f4="battery_percent"),
    ),
    Kind("gesture", True, {"gesture": "token", "side": "token"}),
    Kind(
        "feedback",
        True,
        {
            "target": "token",
            "form": "token",
            "thumb": "number",
            "chosen_intent": "token?",
            "text": "text?",
            "rating": "number?",
            "second_rating": "number?",
        },
        unitless=("thumb", "rating", "second_rating"),
    ),
    Kind(
        "review",
        True,
        {
            "target": "token",
            "verdict": "meant|unclear",
            "chosen_intent": "token?",
            "reviewer": "token",
        },
    ),
    Kind(
        "consent_change",
        True,
        {
            "consent": "number",
            "status": "token",
            "purposes": "tokens",
            "principal": "token?",
            "expires_ns": "number?",
            "notice": "token?",
        },
        _wire(i8="consent expires_ns"),
        unitless=("consent",),
        later=("notice",),
    ),
    Kind(
        "erasure_request",
        True,
        {"reason": "token", "from_ns": "number?", "to_ns": "number?"},
        _wire(i8="from_ns to_ns"),
    ),
    Kind(
        "activity",
        False,
        {"activity": "token", "accel_norm_std_mps2": "number", "samples": "number"},
        unitless=("samples",),
    ),
    Kind(
        "fixation",
        False,
        _numbers("duration_ms", "centre_yaw_rad", "centre_pitch_rad", "dispersion_deg", "samples"),
        unitless=("samples",),
    ),
    Kind(
        "speech",
        False,
        {"speech": "token", "speech_share": "number", "level_dbfs": "number", "samples": "number"},
        unitless=("speech_share", "samples"),
    ),
    Kind(
        "place",
        False,
        {**_numbers("place_number", "distance_m"), "speed_mps": "number?", **_numbers("fixes")},
        unitless=("place_number", "fixes"),
    ),
    Kind(
        "situation",
        False,
        {
            "activity": "token",
            "activity_age_ms": "number",
            "place_number": "number",
            "place_age_ms": "number",
        },
        unitless=("place_number",),
    ),
    Kind(
        "answer",
        False,
        {"intent": "token", "confidence": "number", "model_version": "number", "text": "text?"},
        unitless=("confidence", "model_version"),
    ),
    Kind(
        "example",
        False,
        {
            "utterance": "text",
            "intent": "token",
            "answered_intent": "token",
            "model_version": "number",
            "language": "token?",
            "agreement": "number?",
        },
        unitless=("model_version", "agreement"),
    ),
    Kind("model", False, {}),
)
