"""The kinds of event and the columns of each, with units in the names.

Sources of units and rates: `device_sim/recordings/NOTICE` names the recordings; the names follow Project
Aria's sensor metadata, Pupil Labs' Neon streams and the W3C Geolocation interface. Frames and sound are
described, never carried.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

from streams.errors import MalformedError
from streams.limits import TEXT_CHARACTERS_MAX, TOKEN_CHARACTERS_MAX

#: `text` is what people say, `token` a word of a device or a program, `tokens` several of those with a space
#: between two; a type with bars is closed: these words and no others. With a question mark: null where the
#: device did not measure, or the form of the event has no such thing.
ColumnType = Literal[
    "number",
    "number?",
    "flag",
    "text",
    "text?",
    "token",
    "token?",
    "tokens",
    "started|resumed|running|ended",
    "cool|normal|warm|hot",
]
#: Least and greatest value of numbers that cannot be greater than a circle, inclusive.
RANGES: Mapping[str, tuple[float, float]] = {"latitude_deg": (-90, 90), "longitude_deg": (-180, 180)}
_TOKEN = rf"[A-Za-z0-9][A-Za-z0-9:._/~+-]{{0,{TOKEN_CHARACTERS_MAX - 1}}}"


@dataclass(frozen=True)
class TextForm:
    """What a text on the wire may be: a pattern that all of it matches, its most characters, both in words.

    `words`: the only ones, where they are closed.
    """

    pattern: re.Pattern[str]
    characters_max: int
    said: str
    words: tuple[str, ...] = ()

    def takes(self, text: str) -> bool:
        """Whether a text has this form."""
        return len(text) <= self.characters_max and self.pattern.fullmatch(text) is not None


TOKEN = TextForm(
    re.compile(_TOKEN),
    TOKEN_CHARACTERS_MAX,
    f"a word of 1 to {TOKEN_CHARACTERS_MAX} letters, digits and :._/~+- that begins with a letter or a digit",
)
_FORMS: Mapping[str, TextForm] = {
    "text": TextForm(
        re.compile(r"[^\u0000-\u001f\u007f-\u009f]*"),
        TEXT_CHARACTERS_MAX,
        f"at most {TEXT_CHARACTERS_MAX} characters and no control character",
    ),
    "token": TOKEN,
    "tokens": TextForm(
        re.compile(rf"(?:{_TOKEN}(?: {_TOKEN})*)?"),
        TEXT_CHARACTERS_MAX,
        f"words of letters, digits and :._/~+-, a space between two, at most {TEXT_CHARACTERS_MAX} letters",
    ),
}


@cache
def text_form(wanted: str) -> TextForm | None:
    """Form of the texts of a column of type `wanted`; None where it holds no texts."""
    if "|" in wanted:
        words = tuple(wanted.split("|"))
        return TextForm(re.compile(wanted), max(map(len, words)), f"one of {', '.join(words)}", words)
    return _FORMS.get(wanted.rstrip("?"))


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
}


def kind_named(name: object, *, captured: bool) -> Kind:
    """Return the captured (or derived) kind called `name`; MalformedError names the ones that exist."""
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None or kind.captured is not captured:
        known = ", ".join(k.name for k in KINDS.values() if k.captured is captured)
        raise MalformedError(f"kind: found one that is not known here, expected one of {known}")
    return kind
