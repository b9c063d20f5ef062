"""How long after an erasure's request a model answers that learned from its wearer, and when a refit does."""

from __future__ import annotations

import asyncio
import contextlib
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np

from bench.bars import REFITTED, Measured
from bench.race import Say
from bench.rig import Load, Rig, rig
from bench.rights.withdrawals import WORKERS
from bench.traffic import TALK
from streams import clock, settings
from streams.events.codec import codec_of
from streams.events.headers import PARENTS, unpack_parents
from streams.events.identity import EventId
from streams.events.record import Received
from streams.events.shipped import SHIPPED
from streams.kafka.reader import read_through
from streams.models.version import CURRENT_KEY, ModelVersion
from streams.models.withdrawn import Withdrawn
from streams.policy.load import load
from streams.sealing.key_store import KeyStore
from streams.topology import ANSWERS, TRAINING_SOURCE
from streams.worker.erasure import erase_wearer
from streams.worker.erasure_models import Place
from streams.worker.models import known_models

REFITS = 30
#: Of real time: so that training keeps up with the examples of so many, of which it fits more and more.
_PACE = 0.5
#: A minute of talk is sent again and again, and with the bound of the shipped policy no version would be made
#: after some minutes. Nothing else changes: what a wearer repeats counts once.
_REPEATS = "\n[training]\nrepeated_percent_max = 100\n"
#: Wearers who stay: enough that somebody is answered several times a second until the end.
_STAYING = 30
_LEARNED_WAIT_S, _LOOK_S, _AFTER_S = 180.0, 1.0, 20.0


@dataclass
class Seen:
    """Wearers whom each model version learned from, and when (ns) each erasure was requested."""

    wearers: dict[int, frozenset[str]] = field(default_factory=dict)
    requested_ns: dict[str, int] = field(default_factory=dict)
    #: Highest version when an erasure was requested.
    newest: dict[str, int] = field(default_factory=dict)
    #: Offset of the newest version on the topic.
    read_to: int = -1

    async def look(self, broker: str) -> int:
        """Read the versions again; returns the one that serves.

        All records of the topic are read, because an erasure takes the value of a version off, and whom it
        learned from.
        """
        side, records = await known_models(broker)
        for record in records:
            if record.offset > self.read_to and record.key != CURRENT_KEY:
                self.read_to = record.offset
                if not Withdrawn.begins(record.value):
                    version = ModelVersion.load(record.value)
                    self.wearers[version.version] = frozenset(version.manifest.wearers)
        return side.models.serving


async def refits(directory: Path, count: int, say: Say) -> Measured:
    """Erase `count` wearers one after the other, each once the model that serves has learned from her.

    By the broker's time: from the request to the last answer of a version that learned from her, 0 if none
    came, and to the first answer of a version that was fitted after it without her.
    """
    seen = Seen()
    async with rig(directory, training=True) as made:
        policy = made.directory / "policy.toml"
        policy.write_text(load(settings.POLICY).text + _REPEATS, encoding="utf-8")
        made.serve(WORKERS, "--policy", str(policy))
        await made.ready()
        talk = Load(made.broker.address, TALK, count + _STAYING)
        async with talk.sender:
            per_s = _PACE * TALK.batches_per_s * (count + _STAYING)
            pacing = asyncio.create_task(talk.pace(per_s, float("inf")))
            try:
                for turn in range(count):
                    await _erased(made, seen, f"w{turn}")
                    say(f"erased {turn + 1} of {count}")
                await asyncio.sleep(_AFTER_S)
            finally:
                pacing.cancel()
                await asyncio.gather(pacing, return_exceptions=True)
        await made.drained()
        await seen.look(made.broker.address)
        answered = await _answered(made.broker.address)
    old_s = [served_s(seen, answered, wearer) for wearer in seen.requested_ns]
    new_s = [each for wearer in seen.requested_ns if (each := refitted_s(seen, answered, wearer))]
    rows = [
        {"from the request to": what, "erasures": len(some)}
        | {name: f"{np.quantile(some, share):.2f} s" for name, share in _SHARES.items()}
        for what, some in (
            ("the last answer of a model that learned from her", old_s),
            ("the first answer of a refit without her", new_s),
        )
    ]
    if len(new_s) < count:
        raise RuntimeError(f"{count - len(new_s)} of {count} erasures were never followed by a refit")
    return Measured(
        {f"Refits, {WORKERS} workers, beside {per_s:.0f} batches/s": rows}, [REFITTED.held([max(old_s)])]
    )


_SHARES = {"median": 0.5, "p99": 0.99, "longest": 1.0}


async def _erased(made: Rig, seen: Seen, wearer: str) -> None:
    """Erase a wearer as the command does, but for stores."""
    broker, deadline_s = made.broker.address, clock.monotonic_s() + _LEARNED_WAIT_S
    while wearer not in seen.wearers.get(serving := await seen.look(broker), ()):
        made.check()
        if clock.monotonic_s() > deadline_s:
            newest = max(seen.wearers)
            raise click.ClickException(
                f"no model that serves learned from {wearer} in {_LEARNED_WAIT_S:.0f} s: {serving} serves; "
                f"the newest, {newest}, learned from {len(seen.wearers[newest])}"
            )
        await asyncio.sleep(_LOOK_S)
    receipt = made.directory / f"receipt-{wearer}.json"
    place = Place(broker, made.keys, codec_of(SHIPPED), None, receipt)
    seen.newest[wearer] = max(seen.wearers)
    with contextlib.closing(KeyStore(made.keys)) as keys:
        erased = await erase_wearer(place, keys, wearer, lambda _: None)
    seen.requested_ns[wearer] = erased.requested.steps["requested"].at_ns


async def _answered(broker: str) -> list[tuple[int, int]]:
    """Append time (ns) and model version of every answer, in order of time."""
    answered = list[tuple[int, int]]()

    def look(record: Received) -> None:
        headers = dict(record.headers)
        event = EventId.parse((headers["ce_id"] or b"").decode())
        parents = unpack_parents(event.source, event.number, headers[PARENTS] or b"")
        versions = [parent.first for parent in parents if parent.source == TRAINING_SOURCE]
        answered.extend((record.timestamp * 1_000_000, version) for version in versions)

    await read_through(broker, ANSWERS, look)
    return sorted(answered)


def served_s(seen: Seen, answered: list[tuple[int, int]], wearer: str) -> float:
    """Seconds from the request to the last answer of a version that learned from a wearer."""
    since_ns = seen.requested_ns[wearer]
    later = [at_ns for at_ns, version in answered if wearer in seen.wearers[version]]
    return max(later[-1] - since_ns, 0) / 1e9


def refitted_s(seen: Seen, answered: list[tuple[int, int]], wearer: str) -> float:
    """Seconds to the first answer of a version that was made since, without a wearer; 0 if none came."""
    since_ns, newest = seen.requested_ns[wearer], seen.newest[wearer]
    for at_ns, version in answered[bisect_right(answered, (since_ns, 0)) :]:
        if version > newest and wearer not in seen.wearers[version]:
            return (at_ns - since_ns) / 1e9
    return 0.0
