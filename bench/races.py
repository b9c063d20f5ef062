"""The races: which subjects process which traffic, and the bars for their ratios."""

from __future__ import annotations

from dataclasses import dataclass

from bench.bars import Bar
from bench.subjects import (
    AIOKAFKA,
    BYTEWAX,
    BYTEWAX_TAGS,
    FAUST,
    FORWARDING,
    OFF,
    QUIX,
    QUIX_ONCE,
    QUIX_TAGS,
    SIGHTLINE,
    TAGGING,
    TRANSPORT,
    WHOLE,
    ZONES,
    Subject,
)
from bench.traffic import GLASSES, GLASSES_BINARY, IMU_20, IMU_20_BINARY, IMU_160_BINARY, Traffic

#: The topic has this many more bytes of values than any subject processes. Clients read ahead up to 64 MB,
#: and a subject that only processes such records would look faster than it is.
READ_AHEAD_BYTES = 76_000_000


@dataclass(frozen=True, slots=True)
class Ratio:
    """The rate of one subject divided by that of another must be at least `least`."""

    subject: Subject
    over: Subject
    least: float


@dataclass(frozen=True, slots=True)
class Aim:
    """The rate of one subject, in events per second, must be at least `events_per_s`."""

    subject: Subject
    events_per_s: float


@dataclass(frozen=True, slots=True)
class Race:
    """One table: subjects that process the same batches.

    `batches` is the number that the fast subjects process in a round.
    """

    traffic: Traffic
    batches: int
    subjects: tuple[Subject, ...]
    asked: tuple[Ratio | Aim, ...]

    @property
    def name(self) -> str:
        """Name of its traffic."""
        return self.traffic.name

    def bar(self, asked: Ratio | Aim) -> Bar:
        """The bar of a ratio or an aim, as it is reported."""
        if isinstance(asked, Aim):
            return Bar(f"{self.name}: {asked.subject.name}", least=asked.events_per_s, unit=" events/s")
        return Bar(f"{self.name}: {asked.subject.name} / {asked.over.name}", least=asked.least, unit=" x")

    @property
    def bars(self) -> tuple[Bar, ...]:
        """All bars of the race."""
        return tuple(map(self.bar, self.asked))


_EQUAL = (Ratio(ZONES, QUIX_TAGS, 1.5), Ratio(ZONES, BYTEWAX_TAGS, 1.5))
_FORWARDED = (
    Ratio(TRANSPORT, BYTEWAX, 1.0),
    Ratio(TRANSPORT, QUIX, 1.2),
    Ratio(TRANSPORT, QUIX_ONCE, 1.2),
    Ratio(TRANSPORT, AIOKAFKA, 0.72),
    Ratio(TRANSPORT, FAUST, 17.5),
    Ratio(SIGHTLINE, OFF, 0.9),
)
_JSON = (*_EQUAL, Ratio(SIGHTLINE, AIOKAFKA, 0.32))
_BINARY = (*_EQUAL, Ratio(SIGHTLINE, AIOKAFKA, 0.45))
_EACH = (*TAGGING, *WHOLE)

RACES = (
    Race(IMU_20, 140_000, (*_EACH, *FORWARDING), (*_JSON, *_FORWARDED)),
    Race(IMU_20_BINARY, 140_000, _EACH, (*_BINARY, Aim(SIGHTLINE, 800_000))),
    Race(GLASSES, 40_000, _EACH, _JSON),
    Race(GLASSES_BINARY, 60_000, _EACH, _BINARY),
    Race(IMU_160_BINARY, 60_000, WHOLE, (Ratio(SIGHTLINE, AIOKAFKA, 0.45), Aim(SIGHTLINE, 3_000_000))),
)
