"""What a partition remembers between fetches: one immutable `DeviceState` a device, all of it bounded.

States are values: a stage returns a new one and never changes the old, so a failed transaction needs no undoing and
a checkpoint can compare two of them. JSON by orjson; labels as hex.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

Intervals = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class OpenWindow:
    """Samples of a window that has not closed: consecutive numbers from `first`, all in one zone and session."""

    kind: str
    first: int
    t_first_ns: int
    t_last_ns: int
    zone: str
    label: str
    session_id: str
    wearer_id: str
    origin: str
    samples: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Recent:
    """A derived event that a later query's situation may cite; `position` is where in the partition it became known."""

    kind: str
    stream: str
    number: int
    position: int
    t_last_ns: int
    value: Any
    zone: str
    label: str


@dataclass(frozen=True, slots=True)
class OpenAnswer:
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


@dataclass(frozen=True, slots=True)
class DeviceState:
    """All that is remembered of one device. `places` are anchors (number, latitude, longitude) in degrees."""

    seen: Mapping[str, Intervals] = field(default_factory=dict)
    known_streams: tuple[str, ...] = ()
    windows: Mapping[str, OpenWindow] = field(default_factory=dict)
    places: tuple[tuple[int, float, float], ...] = ()
    recents: tuple[Recent, ...] = ()
    answers: tuple[OpenAnswer, ...] = ()

    def dump(self) -> bytes:
        """JSON bytes; equal states have equal bytes."""
        return orjson.dumps(self, option=orjson.OPT_SORT_KEYS)

    @classmethod
    def load(cls, value: bytes) -> DeviceState:
        """State from `dump`'s bytes."""
        fields = orjson.loads(value)
        windows = {stream: {**window, "samples": _tuples(window["samples"])} for stream, window in fields["windows"].items()}
        return cls(
            seen={stream: tuple((low, high) for low, high in ranges) for stream, ranges in fields["seen"].items()},
            known_streams=tuple(fields["known_streams"]),
            windows={stream: OpenWindow(**window) for stream, window in windows.items()},
            places=_tuples(fields["places"]),
            recents=tuple(Recent(**recent) for recent in fields["recents"]),
            answers=tuple(OpenAnswer(**answer) for answer in fields["answers"]))


def _tuples(values: list[Any]) -> tuple[Any, ...]:
    return tuple(tuple(value) if isinstance(value, list) else value for value in values)
