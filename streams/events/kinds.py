"""The kinds of event and the columns of each, with units in the names.

Sources of units and rates: `device_sim/recordings/NOTICE` names the recordings; the names follow Project Aria's
motion sensor metadata and the W3C Geolocation interface.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from streams.errors import MalformedError

ColumnType = Literal["number", "text", "flag"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of event: who makes it and what its columns hold (name to type, units in the name)."""

    name: str
    captured: bool
    columns: Mapping[str, ColumnType]

    @property
    def event_type(self) -> str:
        """CloudEvents `type`."""
        return f"glasses.{self.name}.v1"


def _numbers(*names: str) -> dict[str, ColumnType]:
    return dict.fromkeys(names, "number")


KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (
    Kind("imu", True, _numbers("accel_x_mps2", "accel_y_mps2", "accel_z_mps2", "gyro_x_radps", "gyro_y_radps", "gyro_z_radps")),
    Kind("location", True, _numbers("latitude_deg", "longitude_deg", "altitude_m")),
    Kind("voice_query", True, {"trigger": "text", "language": "text", "text": "text"}),
    Kind("feedback", True, {"target": "text", "form": "text", "thumb": "number", "chosen_intent": "text"}),
    Kind("device_state", True, {"session": "text", "battery_percent": "number"}),
    Kind("activity", False, {"activity": "text", "accel_norm_std_mps2": "number", "samples": "number"}),
    Kind("place", False, _numbers("place_number", "distance_m", "speed_mps", "fixes")),
    Kind("situation", False, {"activity": "text", "activity_age_ms": "number", "place_number": "number", "place_age_ms": "number"}),
    Kind("answer", False, {"intent": "text", "confidence": "number", "model_version": "number"}),
    Kind("example", False, {"utterance": "text", "intent": "text", "answered_intent": "text", "model_version": "number"}),
    Kind("model", False, {}),
)}


def kind_named(name: object, *, captured: bool) -> Kind:
    """Return the captured (or derived) kind called `name`; MalformedError names the ones that exist."""
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None or kind.captured is not captured:
        known = ", ".join(k.name for k in KINDS.values() if k.captured is captured)
        raise MalformedError(f"kind: found one that is not known here, expected one of {known}")
    return kind
