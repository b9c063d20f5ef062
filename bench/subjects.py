"""What is raced: programs that read the same topic and write one of their own, each in its own process."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from bench.processes import start
from streams.demo import Part
from streams.topology import CAPTURED, ZONED

ONCE, AT_LEAST_ONCE = "exactly once", "at least once"
_FORWARDS = "two headers added, forwarded"


@dataclass(frozen=True, slots=True)
class Subject:
    """One program: what it does, whether it can repeat records, and how it is started.

    `package` is what it needs beside our own dependencies. `share` is the part of the load that it works off:
    the first batches of each partition, the rate is computed on those. `own_target` says that it can be told
    where to write; the pipeline writes to glasses.zoned.
    """

    name: str
    does: str
    delivery: str
    module: tuple[str, ...]
    package: str = ""
    share: float = 1.0
    own_target: bool = True

    def target(self, run: int) -> str:
        """Topic that the output of a run is counted on."""
        return f"bench.{self.name}.{run}" if self.own_target else ZONED

    def missing(self) -> str:
        """Why it cannot run here, or nothing."""
        if self.package and importlib.util.find_spec(self.package) is None:
            return f"the package {self.package} is not installed here; `make bench` installs it"
        return ""

    def start(self, broker: str, run: int, directory: Path) -> Part:
        """Start it on `broker` as if it had never run before; it logs into `directory`."""
        values = {
            "BROKER": broker,
            "SOURCE": CAPTURED,
            "TARGET": self.target(run),
            "GROUP": f"bench-{self.name}-{run}",
        }
        return start(
            f"{self.name}-{run}", [values.get(argument, argument) for argument in self.module], directory
        )


def _ours(name: str, does: str, mode: str, *options: str) -> Subject:
    return Subject(
        name,
        does,
        ONCE,
        ("bench.worker", "BROKER", "--mode", mode, "--agent", "GROUP", *options),
        own_target=bool(options),
        share=1.0 if options else 0.6,
    )


TRANSPORT = _ours("transport", _FORWARDS, "forward", "--target", "TARGET")
ZONES = _ours("zones", "decode, check, tag, lineage: the zones stage alone", "zones")
SIGHTLINE = _ours("sightline", "stages 1-4, lineage, policy, state: the whole pipeline", "on")
OFF = _ours("off", "the whole pipeline without zones and lineage, constant headers", "off")
_PEER = ("BROKER", "SOURCE", "TARGET", "GROUP")
FAUST = Subject("faust", _FORWARDS, AT_LEAST_ONCE, ("bench.peers.stock_faust", *_PEER), share=0.1)
QUIX = Subject("quix", _FORWARDS, AT_LEAST_ONCE, ("bench.peers.quix", *_PEER), "quixstreams", 0.6)
QUIX_ZSTD = Subject(
    "quix-zstd",
    _FORWARDS,
    AT_LEAST_ONCE,
    ("bench.peers.quix", *_PEER, "at-least-once", "zstd"),
    "quixstreams",
    0.6,
)
QUIX_ONCE = Subject(
    "quix-once", _FORWARDS, ONCE, ("bench.peers.quix", *_PEER, "exactly-once"), "quixstreams", 0.6
)
BYTEWAX = Subject("bytewax", _FORWARDS, AT_LEAST_ONCE, ("bench.peers.bytewax_flow", *_PEER), "bytewax")
BYTEWAX_ZSTD = Subject(
    "bytewax-zstd", _FORWARDS, AT_LEAST_ONCE, ("bench.peers.bytewax_flow", *_PEER, "zstd"), "bytewax"
)
AIOKAFKA = Subject("aiokafka", _FORWARDS, AT_LEAST_ONCE, ("bench.peers.plain_aiokafka", *_PEER))
AIOKAFKA_ZSTD = Subject(
    "aiokafka-zstd", _FORWARDS, AT_LEAST_ONCE, ("bench.peers.plain_aiokafka", *_PEER, "zstd")
)

SUBJECTS = (
    TRANSPORT,
    AIOKAFKA,
    AIOKAFKA_ZSTD,
    BYTEWAX,
    BYTEWAX_ZSTD,
    QUIX,
    QUIX_ZSTD,
    QUIX_ONCE,
    FAUST,
    ZONES,
    OFF,
    SIGHTLINE,
)


@dataclass(frozen=True, slots=True)
class Bar:
    """A ratio that is asked for: rate of one subject over that of another, at least `least`."""

    subject: Subject
    over: Subject
    least: float


BARS = (
    Bar(TRANSPORT, BYTEWAX, 1.25),
    Bar(TRANSPORT, QUIX, 2.5),
    Bar(TRANSPORT, FAUST, 25.0),
    Bar(TRANSPORT, AIOKAFKA, 0.7),
    Bar(ZONES, QUIX, 1.2),
    Bar(SIGHTLINE, QUIX, 1.0),
    Bar(SIGHTLINE, OFF, 0.9),
)
