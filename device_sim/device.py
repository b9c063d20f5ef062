"""One pair of glasses: clock, sequence numbers, sessions and batching.

It is pure: time only passes when the caller asks for the next period.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from typing import Any

from msgspec import structs

from device_sim.incarnations import named
from device_sim.own_consent import KIND as CONSENT_CHANGE
from device_sim.own_consent import OwnConsent, acknowledgement
from device_sim.playback import Timeline
from device_sim.scenarios import PERIOD_NS, THERMAL_PERIODS, Planned, Scenario, Segment, Stream
from device_sim.wearer import CONSENT_AGAIN_NS, Wearer
from streams.events.batch import Batch, Change, Context
from streams.events.codec import codec_of
from streams.events.runs import Run
from streams.events.shipped import SHIPPED

_SECOND_NS = 1_000_000_000
_BATTERY_FULL_PERCENT, _BATTERY_LOW_PERCENT, _BATTERY_STEP_S = 96, 20, 60
STATE_STREAM, QUERY_STREAM, FEEDBACK_STREAM = "device-state", "voice-query", "feedback"


@dataclass(frozen=True, slots=True)
class Past:
    """State of a device from its journal.

    It has the next number of each stream, the number of sessions, the latest capture time in ns, the
    incarnation, the consent of each wearer, and the context that was last reported.
    """

    next_numbers: Mapping[str, int] = field(default_factory=dict)
    sessions: int = 0
    last_capture_ns: int = 0
    incarnation: int = 1
    consents: Mapping[str, OwnConsent] = field(default_factory=dict)
    context: Context | None = None


@dataclass(frozen=True, slots=True)
class Captured:
    """A batch to be sent, and its truth: the zone of each run of events according to the scenario."""

    batch: Batch
    truth: tuple[tuple[Run, str], ...]


@dataclass(frozen=True, slots=True)
class Clock:
    """The device's clock: its start in ns since the epoch, and its errors.

    `drift_ppm` is how much too fast it runs, in parts per million. `shift_ns` returns the sum of its jumps at
    a time since the start.
    """

    start_ns: int
    drift_ppm: int = 0
    shift_ns: Callable[[int], int] = lambda _elapsed_ns: 0

    def at(self, elapsed_ns: int) -> int:
        """Time that the clock shows `elapsed_ns` after the start."""
        return (
            self.start_ns + elapsed_ns + elapsed_ns * self.drift_ppm // 1_000_000 + self.shift_ns(elapsed_ns)
        )


class Device:
    """One device playing a scenario, session after session.

    Guarantees: numbers of a stream have no holes, even across restarts (`past`). Capture times of a stream
    never decrease, within and between sessions and across restarts, unless the clock itself jumps. A batch is
    never split where the context changes; it contains the change instead. A consent number is only used after
    the change that records it. The device numbers its consents itself: where the scenario has a consent, the
    events name the newest one that was given, and none after a withdrawal. The wearer is asked for consent in
    the first session without one, and gives it again some seconds after looking at a notice that changed.

    Parameters
    ----------
    name, pseudonym
        Names of the device and of its wearer.
    scenario, sampled
        The scenario, and a function from stream and session (from 1) to samples.
    wearer
        Asks queries and reacts to answers.
    past
        Earlier state, from the journal.
    clock
        Capture times begin at its start, or right after the latest of `past`.
    seed
        Part of the origin of synthetic data.
    packs
        Whether sensor data is sent packed, as MessagePack; interactions are always JSON.
    """

    def __init__(
        self,
        name: str,
        pseudonym: str,
        scenario: Scenario,
        sampled: Callable[[Stream, int], Timeline],
        wearer: Wearer,
        *,
        past: Past,
        clock: Clock,
        seed: int,
        packs: bool = False,
    ) -> None:
        self.name, self.pseudonym, self.scenario, self.wearer = name, pseudonym, scenario, wearer
        self.sessions = past.sessions
        self.consent = past.consents.get(pseudonym, OwnConsent())
        self._notices: dict[str, None] = {}
        self._agrees_ns: int | None = None
        self.elapsed_ns = 0
        self.begin_incarnation(past.incarnation)
        self._sampled, self._packs = sampled, packs
        self._next = dict(past.next_numbers)
        self._clock = replace(clock, start_ns=max(clock.start_ns, past.last_capture_ns + 1_000_000))
        self._synthetic = f"synthetic:{seed}"
        self._resumed = past.sessions > 0
        self._first = False
        self._session_from_ns: int | None = None
        self._timelines: list[tuple[Stream, Timeline]] = []
        self._captured_to_ns = 0
        self._played_to_ns = 0

    @property
    def now_ns(self) -> int:
        """Time of the device's clock at the start of the next period, ns since the epoch."""
        return self._clock.at(self.elapsed_ns)

    def begin_incarnation(self, number: int) -> None:
        """Use incarnation `number` for everything that is captured from now on."""
        self._incarnation = number
        self.wearer.answers = named("answer", number)

    def notified(self, version: str) -> None:
        """Take a notice for the wearer; it is acknowledged in the next period, if the wearer looks at it."""
        if version not in self.consent.shown and self.wearer.looks_at(version):
            self._notices[version] = None

    def period(self) -> list[Captured]:
        """Let one batch period pass; begins sessions, and ends a session at the end of the scenario."""
        out: list[Captured] = []
        if (
            self._session_from_ns is not None
            and self.elapsed_ns - self._session_from_ns >= self.scenario.duration_ns
        ):
            out += self.end()
        if self._session_from_ns is None:
            self._session_from_ns = self.elapsed_ns
            self._captured_to_ns = 0
            self.sessions += 1
            self._first = not self.consent.number if self.scenario.asks_for_consent else self.sessions == 1
            self._timelines = [
                (stream, self._sampled(stream, self.sessions)) for stream in self.scenario.streams
            ]
            out.append(self._state("resumed" if self._resumed else "started", self.elapsed_ns))
            self._resumed = False
        start_ns = self.elapsed_ns - self._session_from_ns
        self._played_to_ns = end_ns = start_ns + PERIOD_NS
        every_ns, talk = self.scenario.state_every_ns, self.scenario.talk
        out += [
            self._state("running", self._session_from_ns + t)
            for t in _ticks(max(start_ns, 1), end_ns, 0, every_ns)
        ]
        # Before the samples, because samples after a change of consent in this period already name it.
        out += [
            self._interaction(planned)
            for planned in self.scenario.planned_in(start_ns, end_ns, first=self._first)
        ]
        # A warm device wakes its radio less often, so sensor samples wait for a multiple of the period.
        if end_ns // PERIOD_NS % THERMAL_PERIODS[self.scenario.thermal_at(start_ns)] == 0:
            out += self._samples(end_ns)
        out += [
            self._query(self._session_from_ns + t)
            for t in _ticks(start_ns, end_ns, talk.from_ns, talk.every_ns)
        ]
        return out + self.feedback_period()

    def feedback_period(self) -> list[Captured]:
        """Let one period pass in which the wearer looks at notices, agrees again, and gives feedback."""
        self.elapsed_ns += PERIOD_NS
        shown = [
            self._change(acknowledgement(version), CONSENT_CHANGE.replace("_", "-"), self.elapsed_ns - 1)
            for version in self._notices
        ]
        self._notices = {}
        shown += self._agreed_again()
        groups = [
            (origin, list(due))
            for origin, due in groupby(self.wearer.due(self.elapsed_ns), key=lambda reaction: reaction.origin)
        ]
        return shown + [
            self._capture(
                "feedback",
                FEEDBACK_STREAM,
                [reaction.due_ns for reaction in due],
                {name: [reaction.columns[name] for reaction in due] for name in due[0].columns},
                origin,
            )
            for origin, due in groups
        ]

    def _agreed_again(self) -> list[Captured]:
        """Consent that is given again because the notice changed, once its moment has come."""
        if not self.consent.outdated:
            self._agrees_ns = None
        elif self._agrees_ns is None:
            self._agrees_ns = self.elapsed_ns + CONSENT_AGAIN_NS
        elif self.elapsed_ns >= self._agrees_ns:
            return [self._change(self.consent.again(), CONSENT_CHANGE.replace("_", "-"), self.elapsed_ns - 1)]
        return []

    def end(self) -> list[Captured]:
        """End the session, if one is open; returns the remaining samples and the session's last event."""
        if self._session_from_ns is None:
            return []
        ended = [*self._samples(self._played_to_ns), self._state("ended", self.elapsed_ns)]
        self._session_from_ns = None
        return ended

    def _samples(self, end_ns: int) -> list[Captured]:
        """Return a batch of each stream with new samples, up to `end_ns` of the session."""
        start_ns, self._captured_to_ns = self._captured_to_ns, end_ns
        out = []
        for stream, timeline in self._timelines:
            times, columns = timeline.between(start_ns, end_ns)
            if times:
                since_start = [t + (self._session_from_ns or 0) for t in times]
                sampled = self._capture(stream.kind, stream.name, since_start, columns, timeline.origin)
                if self._packs:
                    sampled = replace(sampled, batch=codec_of(SHIPPED).packed(sampled.batch))
                out.append(sampled)
        return out

    def _interaction(self, planned: Planned) -> Captured:
        t_ns = (self._session_from_ns or 0) + planned.at_ns
        if planned.kind == CONSENT_CHANGE:
            under = self.consent.under(planned.columns["status"][0])
            columns = {**planned.columns, "consent": [self.consent.number + 1], **under}
            return self._change(columns, planned.stream, t_ns)
        return self._capture(planned.kind, planned.stream, [t_ns], planned.columns, self._synthetic)

    def _change(self, columns: Mapping[str, Sequence[Any]], stream: str, t_ns: int) -> Captured:
        captured = self._capture(CONSENT_CHANGE, stream, [t_ns], columns, self._synthetic)
        self.consent = self.consent.after(captured.batch)
        return captured

    def _query(self, t_ns: int) -> Captured:
        utterance, origin = self.wearer.ask(self._next.get(named(QUERY_STREAM, self._incarnation), 0), t_ns)
        columns = {"trigger": ["wake-word"], "language": ["en"], "text": [utterance]}
        return self._capture("voice_query", QUERY_STREAM, [t_ns], columns, origin)

    def _state(self, session: str, t_ns: int) -> Captured:
        battery = max(_BATTERY_LOW_PERCENT, _BATTERY_FULL_PERCENT - t_ns // (_BATTERY_STEP_S * _SECOND_NS))
        thermal = self.scenario.thermal_at(self._in_session(t_ns))
        return self._capture(
            "device_state",
            STATE_STREAM,
            [t_ns],
            {"session": [session], "battery_percent": [battery], "thermal": [thermal]},
            self._synthetic,
        )

    def _capture(
        self,
        kind: str,
        stream: str,
        times_ns: Sequence[int],
        columns: Mapping[str, Sequence[Any]],
        origin: str,
    ) -> Captured:
        """Make the batch of events at `times_ns` since the start, with the next numbers.

        Contexts and truth are those of the scenario.
        """
        count = len(times_ns)
        stream = named(stream, self._incarnation)
        first = self._next.get(stream, 0)
        self._next[stream] = first + count
        segments = self._segments(times_ns)
        changes: list[Change] = [(i, self._context(segment)) for i, segment in segments[1:]]
        # The clock is read once per batch, because the intervals of a sensor do not drift with it.
        shift_ns = self._clock.at(times_ns[0]) - times_ns[0]
        steps = {after - before for before, after in pairwise(times_ns)}
        regular = len(steps) <= 1
        batch = Batch(
            kind=kind,
            source=self.name,
            wearer_id=self.pseudonym,
            session_id=f"s{self.sessions}",
            stream=stream,
            run=Run(first, 1, count),
            t0_ns=times_ns[0] + shift_ns,
            dt_ns=min(steps, default=0) if regular else 0,
            origin=origin,
            context=self._context(segments[0][1]),
            columns=columns,
            t_ns=None if regular else [t + shift_ns for t in times_ns],
            changes=tuple(changes),
        )
        ends = [*(i for i, _ in segments[1:]), count]
        truth = [
            (Run(first + start, 1, end - start), self._truth(segment, kind))
            for (start, segment), end in zip(segments, ends, strict=True)
        ]
        return Captured(batch, tuple(truth))

    def _context(self, segment: Segment) -> Context:
        """Context of a segment; if the scenario has a consent, with the device's own consent number."""
        told = segment.context
        return (
            told
            if told.consent in {0, self.consent.named}
            else structs.replace(told, consent=self.consent.named)
        )

    def _truth(self, segment: Segment, kind: str) -> str:
        """True zone of a kind in a segment; unknown if the scenario assumes a consent that was not given."""
        return segment.truth[kind] if self.consent.named or not segment.context.consent else ""

    def _segments(self, times_ns: Sequence[int]) -> list[tuple[int, Segment]]:
        """Return (index, segment) where a batch begins and wherever the context or the truth changes.

        Its events are at `times_ns`.
        """
        begins, ends = (
            self.scenario.segment(self._in_session(t_ns), first=self._first)
            for t_ns in (times_ns[0], times_ns[-1])
        )
        begins_at: list[tuple[int, Segment]] = [(0, begins)]
        for i, t_ns in enumerate(times_ns if ends is not begins else ()):
            segment = self.scenario.segment(self._in_session(t_ns), first=self._first)
            if segment is not begins_at[-1][1]:
                begins_at.append((i, segment))
        return begins_at

    def _in_session(self, t_ns: int) -> int:
        # Events after the scenario's end (late feedback, the end itself) have the last segment's context.
        return min(t_ns - (self._session_from_ns or 0), self.scenario.duration_ns - 1)


def _ticks(start_ns: int, end_ns: int, first_ns: int, every_ns: int) -> range:
    """Times first, first + every, ... that lie in [start, end)."""
    skipped = max(0, -(-(start_ns - first_ns) // every_ns))
    return range(first_ns + skipped * every_ns, end_ns, every_ns)
