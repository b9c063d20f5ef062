"""The kinds that are shipped, made as a stranger's would be, with units in the names of their columns.

Sources of units and rates: `device_sim/recordings/NOTICE` names the recordings; the names follow Project
Aria's sensor metadata, Pupil Labs' Neon streams and the W3C Geolocation interface. Frames and sound are
described, never carried.
"""

from __future__ import annotations

from streams.events.kinds import Kind, Kinds


def _numbers(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "number")


SHIPPED = Kinds.of(
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
            "yaw_rad": "number?",
            "pitch_rad": "number?",
            "pupil_left_mm": "number?",
            "pupil_right_mm": "number?",
            "worn": "flag",
        },
    ),
    Kind("audio_level", True, {"rms_dbfs": "number", "peak_dbfs": "number", "voiced": "flag"}),
    Kind(
        "voice_segment",
        True,
        {"speaker": "token", "duration_ms": "number", "words": "number", "confidence": "number"},
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
    ),
    Kind("capture", True, {"media": "token", "action": "token", "trigger": "token", "indicator": "flag"}),
    Kind("location", True, _numbers("latitude_deg", "longitude_deg", "altitude_m")),
    Kind(
        "radio_scan",
        True,
        {"radio": "token", "scan_ms": "number", "sightings": "number", "strongest_dbm": "number"},
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
    Kind(
        "device_state",
        True,
        {
            "session": "started|resumed|running|ended",
            "battery_percent": "number",
            "thermal": "cool|normal|warm|hot",
        },
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
        },
    ),
    Kind("erasure_request", True, {"reason": "token", "from_ns": "number?", "to_ns": "number?"}),
    Kind("activity", False, {"activity": "token", "accel_norm_std_mps2": "number", "samples": "number"}),
    Kind(
        "fixation",
        False,
        _numbers("duration_ms", "centre_yaw_rad", "centre_pitch_rad", "dispersion_deg", "samples"),
    ),
    Kind(
        "speech",
        False,
        {"speech": "token", "speech_share": "number", "level_dbfs": "number", "samples": "number"},
    ),
    Kind(
        "place",
        False,
        {**_numbers("place_number", "distance_m"), "speed_mps": "number?", **_numbers("fixes")},
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
    ),
    Kind(
        "answer",
        False,
        {"intent": "token", "confidence": "number", "model_version": "number", "text": "text?"},
    ),
    Kind(
        "example",
        False,
        {"utterance": "text", "intent": "token", "answered_intent": "token", "model_version": "number"},
    ),
    Kind("model", False, {}),
)
