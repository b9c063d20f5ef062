"""The subjects of the races: programs that read the same topic and write to another, each a process."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from bench.peers.tagging import FORWARD, TAG
from bench.processes import start
from streams.demo import Part
from streams.topology import CAPTURED, ZONED

ONCE, AT_LEAST_ONCE = "exactly once", "at least once"
_FORWARDS = "two headers added, forwarded"
_TAGS = "decoded, checked, tagged, two headers, forwarded"


@dataclass(frozen=True, slots=True)
class Subject:
    """One program: what it does, whether it can repeat records, and how it is started.

    `package` is a package that it needs in addition to our dependencies. `share` is the share of the load
    that it processes: the first batches of each partition, from which the rate is computed. `own_target`
    tells whether its output topic can be chosen; the pipeline writes to glasses.zoned.
    """

    name: str
    does: str
    delivery: str
    module: tuple[str, ...]
    package: str = ""
    share: float = 1.0
    own_target: bool = True

    def target(self, run: int) -> str:
        """Topic on which the output of a run is counted."""
        return f"bench.{self.name}.{run}" if self.own_target else ZONED

    def missing(self) -> str:
        """Reason why it cannot run here; empty if it can."""
        if self.package and importlib.util.find_spec(self.package) is None:
            return f"the package {self.package} is not installed here; `make bench` installs it"
        return ""

    def start(self, broker: str, run: int, directory: Path) -> Part:
        """Start it on `broker` as if for the first time; its log is in `directory`."""
        values = {
            "BROKER": broker,
            "SOURCE": CAPTURED,
            "TARGET": self.target(run),
            "GROUP": f"bench-{self.name}-{run}",
            "KEYS": str(directory / "keys"),
        }
        return start(
            f"{self.name}-{run}", [values.get(argument, argument) for argument in self.module], directory
        )


def _ours(name: str, does: str, mode: str, *options: str, share: float = 1.0) -> Subject:
    return Subject(
        name,
        does,
        ONCE,
        ("bench.worker", "BROKER", "--mode", mode, "--agent", "GROUP", "--keys", "KEYS", *options),
        own_target=bool(options),
        share=share,
    )


TRANSPORT = _ours("transport", _FORWARDS, "forward", "--target", "TARGET")
ZONES = _ours(
    "zones",
    "the zones stage: decoded, checked, tagged, two headers, forwarded; repeats and holes, lineage, state",
    "zones",
    share=0.6,
)
SIGHTLINE = _ours("sightline", "the whole pipeline: stages 1-4, lineage, policy, state", "on", share=0.6)
OFF = _ours("off", "the whole pipeline without zones and lineage, constant headers", "off", share=0.6)
_PEER = ("BROKER", "SOURCE", "TARGET", "GROUP")


def _peer(
    name: str,
    module: str,
    work: str,
    *options: str,
    package: str = "",
    share: float = 1.0,
    delivery: str = AT_LEAST_ONCE,
) -> Subject:
    does = _FORWARDS if work == FORWARD else _TAGS
    return Subject(name, does, delivery, (module, *_PEER, work, *options), package, share)


_QUIX, _BYTEWAX, _AIOKAFKA = "bench.peers.quix", "bench.peers.bytewax_flow", "bench.peers.plain_aiokafka"
FAUST = Subject("faust", _FORWARDS, AT_LEAST_ONCE, ("bench.peers.stock_faust", *_PEER), share=0.1)
QUIX = _peer("quix", _QUIX, FORWARD, package="quixstreams", share=0.6)
QUIX_ONCE = _peer(
    "quix-once", _QUIX, FORWARD, "exactly-once", package="quixstreams", share=0.6, delivery=ONCE
)
BYTEWAX = _peer("bytewax", _BYTEWAX, FORWARD, package="bytewax")
AIOKAFKA = _peer("aiokafka", _AIOKAFKA, FORWARD)
QUIX_TAGS = _peer("quix-tags", _QUIX, TAG, package="quixstreams", share=0.4)
BYTEWAX_TAGS = _peer("bytewax-tags", _BYTEWAX, TAG, package="bytewax", share=0.4)
AIOKAFKA_TAGS = _peer("aiokafka-tags", _AIOKAFKA, TAG, share=0.4)

#: Subjects with equal work, then the whole pipeline and bare forwarding.
TAGGING = (ZONES, AIOKAFKA_TAGS, BYTEWAX_TAGS, QUIX_TAGS)
WHOLE = (SIGHTLINE, AIOKAFKA)
FORWARDING = (
    TRANSPORT,
    BYTEWAX,
    QUIX,
    QUIX_ONCE,
    FAUST,
    OFF,
)
SUBJECTS = (*TAGGING, *WHOLE, *FORWARDING)
