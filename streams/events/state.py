"""What a partition remembers between fetches: one immutable `DeviceState` a device, all of it bounded.

States are values: a stage returns a new one and never changes the old, so a failed transaction needs no
undoing and a checkpoint can compare two of them. On `glasses.state` they are JSON; labels as hex.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, json

Intervals = tuple[tuple[int, int], ...]
#: One sample as its operator keeps it: a number, or a few that belong together.
Sample = float | int | tuple[bool | float | int, ...]


class OpenWindow(Struct, frozen=True):
    """Samples of a window that is still open: consecutive numbers from `first`, in one zone and session."""

    kind: str
    first: int
    t_first_ns: int
    t_last_ns: int
    zone: str
    label: str
    session_id: str
    wearer_id: str
    consent: int
    origin: str
    samples: tuple[Sample, ...]


class Recent(Struct, frozen=True):
    """A derived event that a later query's situation may cite.

    `position` is where in the partition it became known.
    """

    kind: str
    stream: str
    number: int
    position: int
    t_last_ns: int
    value: Any
    zone: str
    label: str
    wearer_id: str
    consent: int


class OpenAnswer(Struct, frozen=True):
    """An answer that feedback may still come for, with what an example needs of its query."""

    number: int
    position: int
    intent: str
    model_version: int
    utterance: str
    stream: str
    query_stream: str
    query_label: str
    query_zone: str
    label: str
    zone: str
    consent: int


class DeviceState(Struct, frozen=True):
    """All that is remembered of one device. `places` are anchors (number, latitude, longitude) in degrees."""

    seen: Mapping[str, Intervals] = {}
    known_streams: tuple[str, ...] = ()
    windows: Mapping[str, OpenWindow] = {}
    places: tuple[tuple[int, float, float], ...] = ()
    recents: tuple[Recent, ...] = ()
    answers: tuple[OpenAnswer, ...] = ()

    def dump(self) -> bytes:
        """JSON bytes; equal states have equal bytes."""
        return json.encode(self, order="sorted")

    @classmethod
    def load(cls, value: bytes) -> DeviceState:
        """State from `dump`'s bytes; msgspec.ValidationError when they are none."""
        return json.decode(value, type=cls)
