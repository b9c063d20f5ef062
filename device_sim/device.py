"""One pair of glasses: clock, sequence numbers, sessions and batching. Pure: time comes from whoever asks for the next period."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from device_sim.playback import IMU_HZ, Motion, Queries, Track
from device_sim.scenarios import PERIOD_NS, Scenario, Segment
from streams.events.batch import Batch, Change
from streams.events.identity import format_id
from streams.events.runs import Run

_SECOND_NS = 1_000_000_000
_SAMPLE_NS = _SECOND_NS // IMU_HZ
OPEN_QUERIES_MAX = 64          #: a query that this many later ones have overtaken gets no feedback any more
_BATTERY_FULL_PERCENT, _BATTERY_LOW_PERCENT, _BATTERY_STEP_S = 96, 20, 60


@dataclass(frozen=True, slots=True)
class Past:
    """What a device knows of its life so far: next number of each stream, sessions begun, latest capture time in ns."""

    next_numbers: Mapping[str, int] = field(default_factory=dict)
    sessions: int = 0
    last_capture_ns: int = 0


@dataclass(frozen=True, slots=True)
class Captured:
    """A batch to be sent, and the truth: the zone of each run of its events by the scenario."""

    batch: Batch
    truth: tuple[tuple[Run, str], ...]


@dataclass(frozen=True, slots=True)
class _Thumb:
    due_ns: int
    target: str
    form: str
    thumb: int
    chosen_intent: str


class Device:
    """One device playing a scenario, session after session.

    Guarantees: numbers of a stream have no hole, also across restarts (`past`); capture times never run backwards, in a
    session, between sessions or across restarts; a batch is never split where the context changes, it says so instead.

    Parameters
    ----------
    name, wearer
        Pseudonyms.
    scenario, motion, track, queries
        What is played.
    past
        Life so far, from the journal.
    start_ns
        Wall time of the start, ns since the epoch; capture times begin here, or right after the latest of `past`.
    seed
        Named in the origin of what is not played but made.
    hears_answers
        False: nobody answers, so the wearer states the intent a fixed time after each query.
    """

    def __init__(self, name: str, wearer: str, scenario: Scenario, motion: Motion, track: Track, queries: Queries, *,
                 past: Past, start_ns: int, seed: int, hears_answers: bool) -> None:
        self.name, self.wearer, self.scenario = name, wearer, scenario
        self.sessions = past.sessions
        self.elapsed_ns = 0
        self._motion, self._track, self._queries = motion, track, queries
        self._next = dict(past.next_numbers)
        self._base_ns = max(start_ns, past.last_capture_ns + 1_000_000)
        self._synthetic = f"synthetic:{seed}"
        self._resumed = past.sessions > 0
        self._hears_answers = hears_answers
        self._session_from_ns: int | None = None
        self._open: dict[int, str] = {}
        self._thumbs: list[_Thumb] = []

    @property
    def now_ns(self) -> int:
        """Capture clock: ns since the epoch at the start of the next period."""
        return self._base_ns + self.elapsed_ns

    @property
    def waits(self) -> bool:
        """Whether an answer or a feedback is still to come."""
        return bool(self._open or self._thumbs)

    def period(self) -> list[Captured]:
        """Capture the next batch period: begins sessions, and ends one whose scenario is over."""
        out: list[Captured] = []
        if self._session_from_ns is not None and self.elapsed_ns - self._session_from_ns >= self.scenario.duration_ns:
            out += self.end()
        if self._session_from_ns is None:
            self._session_from_ns = self.elapsed_ns
            self.sessions += 1
            out.append(self._state("resumed" if self._resumed else "started", self.elapsed_ns))
            self._resumed = False
        start_ns = self.elapsed_ns - self._session_from_ns
        end_ns = start_ns + PERIOD_NS
        every_ns = self.scenario.state_every_ns
        out += [self._state("running", self._session_from_ns + t) for t in _ticks(max(start_ns, 1), end_ns, 0, every_ns)]
        out.append(self._imu(start_ns, end_ns))
        for t in _ticks(start_ns, end_ns, 0, _SECOND_NS):
            fix = self._track.fix(t // _SECOND_NS)
            out.append(self._capture("location", [self._session_from_ns + t], fix, self._track.recording.origin))
        for t in _ticks(start_ns, end_ns, self.scenario.query_from_ns, self.scenario.query_every_ns):
            out.append(self._query(self._session_from_ns + t))
        return out + self.feedback_period()

    def feedback_period(self) -> list[Captured]:
        """Let a period pass in which the wearer does nothing but give the feedback that is due."""
        self.elapsed_ns += PERIOD_NS
        due = sorted((t for t in self._thumbs if t.due_ns < self.elapsed_ns), key=lambda thumb: thumb.due_ns)
        self._thumbs = [t for t in self._thumbs if t.due_ns >= self.elapsed_ns]
        if not due:
            return []
        columns: dict[str, list[Any]] = {
            "target": [t.target for t in due], "form": [t.form for t in due], "thumb": [t.thumb for t in due],
            "chosen_intent": [t.chosen_intent for t in due], "text": [None] * len(due), "rating": [None] * len(due),
            "second_rating": [None] * len(due)}
        return [self._capture("feedback", [t.due_ns for t in due], columns, self._queries.recording.origin)]

    def end(self) -> list[Captured]:
        """End the session, if one is open, with its last event."""
        if self._session_from_ns is None:
            return []
        ended = self._state("ended", self.elapsed_ns)
        self._session_from_ns = None
        return [ended]

    def asked(self, number: int, utterance: str) -> None:
        """Expect the answer to a query of an earlier run that only now reaches the broker."""
        intent = self._queries.intent(utterance)
        if intent is not None and self._hears_answers:
            self._open[number] = intent

    def answered(self, number: int, intent: str, elapsed_ns: int) -> None:
        """Hear the answer to query `number` at `elapsed_ns` since the start; the wearer reacts a while later.

        Answers come in the order of the queries, so earlier queries without one were refused and are given up.
        """
        annotated = self._open.get(number)
        if annotated is None:
            return
        self._open = {n: i for n, i in self._open.items() if n > number}
        due_ns = max(elapsed_ns, self.elapsed_ns) + self.scenario.feedback_delay_ns
        self._thumbs.append(_Thumb(due_ns, self._answer_id(number), "thumb", 1 if intent == annotated else -1, annotated))

    def _answer_id(self, number: int) -> str:
        return format_id(self.name, "answer", number)

    def _query(self, t_ns: int) -> Captured:
        number = self._next.get(self.scenario.streams["voice_query"], 0)
        utterance, intent = self._queries.query(number)
        if self._hears_answers:
            self._open[number] = intent
            if len(self._open) > OPEN_QUERIES_MAX:
                del self._open[next(iter(self._open))]
        else:
            self._thumbs.append(_Thumb(t_ns + self.scenario.feedback_delay_ns, self._answer_id(number), "choice", 0, intent))
        return self._capture("voice_query", [t_ns], {"trigger": ["wake-word"], "language": ["en"], "text": [utterance]},
                             self._queries.recording.origin)

    def _imu(self, start_ns: int, end_ns: int) -> Captured:
        first, after = -(-start_ns // _SAMPLE_NS), -(-end_ns // _SAMPLE_NS)
        times = [(self._session_from_ns or 0) + i * _SAMPLE_NS for i in range(first, after)]
        return self._capture("imu", times, self._motion.samples(self.sessions, first, after - first), self._motion.recording.origin)

    def _state(self, session: str, t_ns: int) -> Captured:
        battery = max(_BATTERY_LOW_PERCENT, _BATTERY_FULL_PERCENT - t_ns // (_BATTERY_STEP_S * _SECOND_NS))
        return self._capture("device_state", [t_ns], {"session": [session], "battery_percent": [battery], "thermal": ["cool"]},
                             self._synthetic)

    def _capture(self, kind: str, times_ns: Sequence[int], columns: Mapping[str, Sequence[Any]], origin: str) -> Captured:
        """Make the batch of events at `times_ns` since the start: next numbers, contexts and truth by the scenario."""
        stream, count = self.scenario.streams[kind], len(times_ns)
        first = self._next.get(stream, 0)
        self._next[stream] = first + count
        segments = [self._segment(t) for t in times_ns]
        contexts = [segment.context for segment in segments]
        changes: list[Change] = [(i, after) for i, (before, after) in enumerate(pairwise(contexts), 1) if before != after]
        zones = [segment.truth[kind] for segment in segments]
        starts = [0, *(i for i, (before, after) in enumerate(pairwise(zones), 1) if before != after), count]
        steps = {after - before for before, after in pairwise(times_ns)}
        batch = Batch(
            kind=kind, source=self.name, wearer_id=self.wearer, session_id=f"s{self.sessions}", stream=stream, run=Run(first, 1, count),
            t0_ns=self._base_ns + times_ns[0], dt_ns=min(steps, default=0), origin=origin, context=contexts[0], columns=columns,
            t_ns=[self._base_ns + t for t in times_ns] if len(steps) > 1 else None, changes=tuple(changes))
        return Captured(batch, tuple((Run(first + a, 1, b - a), zones[a]) for a, b in pairwise(starts)))

    def _segment(self, t_ns: int) -> Segment:
        # What comes after the scenario's end (late feedback, the end itself) happens where the wearer was last.
        in_session_ns = min(t_ns - (self._session_from_ns or 0), self.scenario.duration_ns - 1)
        return self.scenario.segment(self.sessions, in_session_ns)


def _ticks(start_ns: int, end_ns: int, first_ns: int, every_ns: int) -> range:
    """Times first, first + every, ... that lie in [start, end)."""
    skipped = max(0, -(-(start_ns - first_ns) // every_ns))
    return range(first_ns + skipped * every_ns, end_ns, every_ns)
