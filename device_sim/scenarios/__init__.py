"""Scenarios: who is where doing what, and in which zone each kind of event then is; read from TOML, checked, immutable."""

from __future__ import annotations

import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams.errors import InputError
from streams.events.batch import CONTEXT_VALUES, Context

HERE = Path(__file__).parent
PERIOD_NS = 200_000_000        #: a batch holds what one stream captured in this time
KINDS = ("device_state", "imu", "location", "voice_query", "feedback")
_SESSIONS = {"first", "later", "all"}


@dataclass(frozen=True, slots=True)
class Segment:
    """From `from_ns` (scenario time) on, until the next segment: the context, and the true zone of each kind."""

    from_ns: int
    context: Context
    truth: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario. All times are ns since the start of a session; a session lasts `duration_ns`, whole batch periods."""

    name: str
    duration_ns: int
    streams: Mapping[str, str]
    imu_recordings: tuple[str, ...]
    imu_story: tuple[tuple[int, tuple[str, ...]], ...]
    location_recording: str
    query_recording: str
    query_from_ns: int
    query_every_ns: int
    feedback_delay_ns: int
    state_every_ns: int
    first_segments: tuple[Segment, ...]
    later_segments: tuple[Segment, ...]

    def segment(self, session: int, t_ns: int) -> Segment:
        """Segment at scenario time `t_ns` of a device's session number `session` (from 1)."""
        segments = self.first_segments if session == 1 else self.later_segments
        return segments[bisect_right(segments, t_ns, key=lambda segment: segment.from_ns) - 1]


def names() -> list[str]:
    """Names that `load` takes."""
    return sorted(path.stem for path in HERE.glob("*.toml"))


def load(name: str) -> Scenario:
    """Read scenario `name`; InputError names the ones that exist, or the field of the file that is wrong."""
    if name not in names():
        raise InputError(f"Scenario {name!r} does not exist; expected one of: {', '.join(names())}.")
    return parse(name, (HERE / f"{name}.toml").read_text("utf-8"))


def parse(name: str, text: str) -> Scenario:
    """Make a scenario of TOML `text`; InputError says which field is wrong."""
    try:
        data = tomllib.loads(text)
        duration_ns = _ns(data["duration_s"])
        scenario = Scenario(
            name=name, duration_ns=duration_ns, streams={kind: data[kind]["stream"] for kind in KINDS},
            imu_recordings=tuple(data["imu"]["recordings"]),
            imu_story=tuple((_ns(part["from_s"]), tuple(part["play"])) for part in data["imu"]["story"]),
            location_recording=data["location"]["recording"], query_recording=data["voice_query"]["recording"],
            query_from_ns=_ns(data["voice_query"]["from_s"]), query_every_ns=_ns(data["voice_query"]["every_s"]),
            feedback_delay_ns=_ns(data["feedback"]["delay_s"]), state_every_ns=_ns(data["device_state"]["every_s"]),
            first_segments=_segments(data["segment"], "first"), later_segments=_segments(data["segment"], "later"))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"Scenario {name}: the file is not TOML: {error}.") from error
    except KeyError as error:
        raise InputError(f"Scenario {name}: field {error} is missing.") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"Scenario {name}: {error}.") from error
    if duration_ns <= 0 or duration_ns % PERIOD_NS:
        raise InputError(f"Scenario {name}: duration_s is {data['duration_s']}, expected whole batch periods of {PERIOD_NS / 1e9} s.")
    for field, parts in (("imu.story", scenario.imu_story), ("segment", [(s.from_ns, s) for s in scenario.first_segments]),
                         ("segment", [(s.from_ns, s) for s in scenario.later_segments])):
        starts = [start for start, _ in parts]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)) or starts[-1] >= duration_ns:
            raise InputError(f"Scenario {name}: {field}.from_s must begin at 0, increase and stay below duration_s.")
    return scenario


def _ns(seconds: float) -> int:
    return round(seconds * 1_000_000_000)


def _segments(tables: list[dict[str, Any]], session: str) -> tuple[Segment, ...]:
    found = []
    for table in tables:
        if table["sessions"] not in _SESSIONS:
            raise ValueError(f"segment.sessions is {table['sessions']!r}, expected one of {', '.join(sorted(_SESSIONS))}")
        if table["context"].keys() != CONTEXT_VALUES.keys():
            raise ValueError(f"segment.context has other fields, expected {', '.join(CONTEXT_VALUES)}")
        for field, allowed in CONTEXT_VALUES.items():
            value = table["context"][field]
            if (type(value) is not allowed) if isinstance(allowed, type) else (value not in allowed):
                raise ValueError(f"segment.context.{field} is {value!r}, which is not a value that a device may say")
        if table["truth"].keys() != set(KINDS):
            raise ValueError(f"segment.truth has other kinds, expected {', '.join(KINDS)}")
        if table["sessions"] in {session, "all"}:
            found.append(Segment(_ns(table["from_s"]), table["context"], table["truth"]))
    return tuple(found)
