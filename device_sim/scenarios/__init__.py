"""Scenarios: who is where doing what, and in which zone each kind of event then is.

They are read from TOML, checked, and immutable.
"""

from __future__ import annotations

import tomllib
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_sim.link import Faults
from device_sim.own_consent import KIND as CONSENT_CHANGE
from streams.errors import InputError
from streams.events.batch import CONTEXT_VALUES, Context
from streams.events.shipped import SHIPPED

HERE = Path(__file__).parent
PERIOD_NS = 200_000_000  #: a batch holds what one stream captured in this time, while the device is not warm
THERMAL_PERIODS = {"cool": 1, "normal": 1, "warm": 2}  #: batch period by thermal level, in PERIOD_NS
RATE_HZ_MAX = 4000  #: of a stream: no sensor of glasses is faster
SENSORS = ("sound", "pulse", "radios")
FORMS = ("thumb", "spoken", "rating")
POLICY = "household"  #: whose zones a segment's `zone` and `truth` are
_SESSIONS = {"first", "later", "all"}
_WORDS_PER_S = 2.5
_RECOGNISER_CONFIDENCE = {"wearer": 0.9, "other": 0.6, "unknown": 0.4}


@dataclass(frozen=True, slots=True)
class Segment:
    """The context, and the true zone of each kind (empty: nobody said).

    They hold from `from_ns` (scenario time) on, until the next segment.
    """

    from_ns: int
    context: Context
    truth: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Turn:
    """Somebody speaks from `from_ns` to `to_ns`: the wearer, another person, or nobody knows who."""

    from_ns: int
    to_ns: int
    speaker: str


@dataclass(frozen=True, slots=True)
class Stream:
    """A sensor that samples: what it plays or which signal is made, and when it is on.

    Of several recordings each device plays one, in turn. `story`: from that time on (ns), the first of the
    named pieces that the device's recording has; empty: all of it. `during`: (from, to) in ns; empty: always.
    `rate_hz`: so many samples a second, between those of the recording; 0: those of the recording.
    """

    name: str
    kind: str
    recordings: tuple[str, ...] = ()
    sensor: str = ""
    story: tuple[tuple[int, tuple[str, ...]], ...] = ()
    during: tuple[tuple[int, int], ...] = ()
    rate_hz: int = 0


@dataclass(frozen=True, slots=True)
class Planned:
    """One interaction at a time: a touch, a photo, a change of consent."""

    at_ns: int
    stream: str
    kind: str
    columns: Mapping[str, Sequence[Any]]
    sessions: str


@dataclass(frozen=True, slots=True)
class Talk:
    """How the wearer asks and what comes back: times in ns, `forms` of feedback with their weights."""

    query_recording: str
    from_ns: int
    every_ns: int
    feedback_delay_ns: int
    forms: Mapping[str, int]
    spoken_recording: str
    rating_recording: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario.

    All times are ns since the start of a session; a session lasts `duration_ns`, whole batch periods.
    """

    name: str
    about: str
    duration_ns: int
    streams: tuple[Stream, ...]
    planned: tuple[Planned, ...]
    turns: tuple[Turn, ...]
    thermal: tuple[tuple[int, str], ...]
    talk: Talk
    state_every_ns: int
    faults: Faults
    first_segments: tuple[Segment, ...]
    later_segments: tuple[Segment, ...]

    def segment(self, t_ns: int, *, first: bool) -> Segment:
        """Segment at scenario time `t_ns` of a first session, or of a later one."""
        segments = self.first_segments if first else self.later_segments
        return segments[bisect_right(segments, t_ns, key=lambda segment: segment.from_ns) - 1]

    def thermal_at(self, t_ns: int) -> str:
        """Thermal level at scenario time `t_ns`."""
        return self.thermal[bisect_right(self.thermal, t_ns, key=lambda level: level[0]) - 1][1]

    def planned_in(self, start_ns: int, end_ns: int, *, first: bool) -> Iterable[Planned]:
        """Interactions of a first session, or of a later one, in [start, end)."""
        return (
            interaction
            for interaction in self.planned
            if start_ns <= interaction.at_ns < end_ns
            and interaction.sessions in {"all", "first" if first else "later"}
        )

    @property
    def asks_for_consent(self) -> bool:
        """Whether the wearer says in it how the own data may be used."""
        return any(interaction.kind == CONSENT_CHANGE for interaction in self.planned)

    @property
    def kinds(self) -> list[str]:
        """Kinds of event that a device captures in it."""
        return sorted(_kinds(self.streams, self.planned))


def names() -> list[str]:
    """Names that `load` takes."""
    return sorted(path.stem for path in HERE.glob("*.toml"))


def load(name: str, policy: str = POLICY) -> Scenario:
    """Read scenario `name` with the zones that events have under `policy`.

    An InputError names the ones that exist, or the wrong field.
    """
    if name not in names():
        raise InputError(f"Scenario {name!r} does not exist; expected one of: {', '.join(names())}.")
    return parse(name, (HERE / f"{name}.toml").read_text("utf-8"), policy)


def parse(name: str, text: str, policy: str = POLICY) -> Scenario:
    """Make a scenario of TOML `text`; InputError says which field is wrong."""
    try:
        data = tomllib.loads(text)
        duration_ns = _ns(data["duration_s"])
        turns = tuple(
            Turn(_ns(turn["from_s"]), _ns(turn["to_s"]), turn["speaker"]) for turn in data.get("turn", ())
        )
        streams = tuple(_stream(table, duration_ns) for table in data["stream"])
        planned = (*(_planned(table) for table in data.get("event", ())), *map(_spoken, turns))
        kinds = _kinds(streams, planned)
        thermal = _from(data.get("thermal", [{"from_s": 0, "level": "cool"}]), "level")
        scenario = Scenario(
            name,
            data["about"],
            duration_ns,
            streams,
            planned,
            turns,
            thermal,
            _talk(data["voice_query"], data["feedback"]),
            _ns(data["device_state"]["every_s"]),
            Faults.parse(data.get("link", {})),
            _segments(data, kinds, "first", policy),
            _segments(data, kinds, "later", policy),
        )
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"Scenario {name}: the file is not TOML: {error}.") from error
    except KeyError as error:
        raise InputError(f"Scenario {name}: field {error} is missing.") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"Scenario {name}: {error}.") from error
    _check(scenario, data["duration_s"])
    return scenario


def _check(scenario: Scenario, duration_s: float) -> None:
    where = f"Scenario {scenario.name}"
    if scenario.duration_ns <= 0 or scenario.duration_ns % PERIOD_NS:
        raise InputError(
            f"{where}: duration_s is {duration_s}, expected whole batch periods of {PERIOD_NS / 1e9} s."
        )
    for field, starts in (
        *(
            (f"stream {stream.name}: story", [start for start, _ in stream.story])
            for stream in scenario.streams
            if stream.story
        ),
        ("segment", [s.from_ns for s in scenario.first_segments]),
        ("segment", [s.from_ns for s in scenario.later_segments]),
        ("thermal", [start for start, _ in scenario.thermal]),
    ):
        if (
            not starts
            or starts[0] != 0
            or starts != sorted(set(starts))
            or starts[-1] >= scenario.duration_ns
        ):
            raise InputError(f"{where}: {field}.from_s must begin at 0, increase and stay below duration_s.")
    names = [stream.name for stream in scenario.streams]
    if len(set(names)) != len(names):
        raise InputError(f"{where}: stream.name stands twice, expected a name of its own for each.")
    unknown = {level for _, level in scenario.thermal} - THERMAL_PERIODS.keys()
    if unknown:
        raise InputError(
            f"{where}: thermal.level is {min(unknown)!r}, expected one of {', '.join(THERMAL_PERIODS)}."
        )


def _ns(seconds: float) -> int:
    return round(seconds * 1_000_000_000)


def _from(tables: Iterable[Mapping[str, Any]], field: str) -> tuple[tuple[int, Any], ...]:
    return tuple((_ns(table["from_s"]), table[field]) for table in tables)


def _kinds(streams: Iterable[Stream], planned: Iterable[Planned]) -> set[str]:
    """Kinds of event in a scenario: what every wearer does, and what its streams and interactions add."""
    return {
        "voice_query",
        "feedback",
        "device_state",
        *(stream.kind for stream in streams),
        *(interaction.kind for interaction in planned),
    }


def _kind(table: Mapping[str, Any]) -> str:
    kind = str(table["kind"])
    if kind not in SHIPPED or not SHIPPED[kind].captured:
        raise ValueError(f"kind is {kind!r}, which no device captures")
    return kind


def _stream(table: Mapping[str, Any], duration_ns: int) -> Stream:
    stream = Stream(
        table["name"],
        _kind(table),
        tuple(table.get("recordings", ())),
        table.get("sensor", ""),
        tuple((start, tuple(pieces)) for start, pieces in _from(table.get("story", ()), "play")),
        tuple((_ns(start), _ns(end)) for start, end in table.get("during_s", ())),
        table.get("rate_hz", 0),
    )
    if bool(stream.recordings) == bool(stream.sensor) or (stream.sensor and stream.sensor not in SENSORS):
        raise ValueError(
            f"stream {stream.name}: expected either recordings, or one sensor of {', '.join(SENSORS)}"
        )
    if any(not 0 <= start < end <= duration_ns for start, end in stream.during):
        raise ValueError(f"stream {stream.name}: during_s must hold pairs (from, to) inside the scenario")
    if "rate_hz" in table:
        _check_rate(stream)
    return stream


def _check_rate(stream: Stream) -> None:
    if any(wanted != "number" for wanted in SHIPPED[stream.kind].columns.values()) or not stream.recordings:
        raise ValueError(
            f"stream {stream.name}: found rate_hz, expected it where a recording of nothing but numbers is "
            "played; between two other values there is none"
        )
    if type(stream.rate_hz) is not int or not 1 <= stream.rate_hz <= RATE_HZ_MAX:
        raise ValueError(f"stream {stream.name}: rate_hz must be a whole number from 1 to {RATE_HZ_MAX}")


def _planned(table: Mapping[str, Any]) -> Planned:
    kind, columns = _kind(table), table["columns"]
    optional = {column for column, wanted in SHIPPED[kind].columns.items() if wanted.endswith("?")}
    if (
        not columns.keys() <= SHIPPED[kind].columns.keys()
        or not SHIPPED[kind].columns.keys() - optional <= columns.keys()
    ):
        raise ValueError(
            f"event at {table['at_s']} s: columns must be those of {kind}: {', '.join(SHIPPED[kind].columns)}"
        )
    return Planned(
        _ns(table["at_s"]),
        kind.replace("_", "-"),
        kind,
        {
            column: [columns.get(column)]
            for column in SHIPPED[kind].columns
            if column in columns or column not in SHIPPED[kind].later
        },
        _sessions(table.get("sessions", "all")),
    )


def _spoken(turn: Turn) -> Planned:
    """Make the segment that the device's recogniser reports when somebody has stopped speaking."""
    if turn.speaker not in _RECOGNISER_CONFIDENCE or not 0 <= turn.from_ns < turn.to_ns:
        raise ValueError(
            f"turn.speaker is one of {', '.join(_RECOGNISER_CONFIDENCE)}, and from_s lies before to_s"
        )
    seconds = (turn.to_ns - turn.from_ns) / 1e9
    return Planned(
        turn.to_ns,
        "voice-segment",
        "voice_segment",
        {
            "speaker": [turn.speaker],
            "duration_ms": [round(seconds * 1000)],
            "words": [max(1, round(seconds * _WORDS_PER_S))],
            "confidence": [_RECOGNISER_CONFIDENCE[turn.speaker]],
        },
        "all",
    )


def _talk(query: Mapping[str, Any], feedback: Mapping[str, Any]) -> Talk:
    forms = feedback["forms"]
    if (
        not forms
        or not forms.keys() <= set(FORMS)
        or any(type(weight) is not int or weight < 1 for weight in forms.values())
    ):
        raise ValueError(f"feedback.forms must give whole weights of some of {', '.join(FORMS)}")
    return Talk(
        query["recording"],
        _ns(query["from_s"]),
        _ns(query["every_s"]),
        _ns(feedback["delay_s"]),
        forms,
        feedback["spoken"],
        feedback["ratings"],
    )


def _sessions(value: Any) -> str:
    if value not in _SESSIONS:
        raise ValueError(f"sessions is {value!r}, expected one of {', '.join(sorted(_SESSIONS))}")
    return str(value)


def _segments(data: Mapping[str, Any], kinds: set[str], session: str, policy: str) -> tuple[Segment, ...]:
    """Segments of the first or of later sessions.

    A kind's truth is the segment's own, else the scenario's, else its `zone`.

    Under another policy than `household` zone and own truth are those of its `under.<policy>`, and unknown
    without.
    """
    segments = []
    everywhere = data.get("truth", {})
    for table in data["segment"]:
        if table["context"].keys() != CONTEXT_VALUES.keys():
            raise ValueError(f"segment.context has other fields, expected {', '.join(CONTEXT_VALUES)}")
        for field, allowed in CONTEXT_VALUES.items():
            value = table["context"][field]
            if (type(value) is not allowed) if isinstance(allowed, type) else (value not in allowed):
                raise ValueError(
                    f"segment.context.{field} is {value!r}, which is not a value that a device may say"
                )
        zoned = table if policy == POLICY else table.get("under", {}).get(policy)
        own = {} if zoned is None else zoned.get("truth", {})
        if not (everywhere.keys() | own.keys()) <= kinds:
            raise ValueError(
                f"truth names a kind that the scenario has not, expected some of {', '.join(sorted(kinds))}"
            )
        if _sessions(table["sessions"]) in {session, "all"}:
            truth = {
                kind: "" if zoned is None else own.get(kind) or everywhere.get(kind) or zoned["zone"]
                for kind in kinds
            }
            segments.append(Segment(_ns(table["from_s"]), Context(**table["context"]), truth))
    return tuple(segments)
