"""The race: every subject works off the same batches, one at a time, in rounds.

The order turns with each round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import click

from bench import consents
from bench.count import Counted, Output, count, create, missing_from
from bench.load import AGE_NS, EVENTS_PER_BATCH, Sender, fill, span_ns
from bench.subjects import AIOKAFKA, BARS, TRANSPORT, Subject
from streams import clock, settings, topology
from streams.kafka.broker import EmbeddedBroker
from streams.kafka.topics import declare
from streams.policy.load import load
from streams.topology import CAPTURED, ZONED

TIMEOUT_S = 180.0
#: The topic holds as many more than anybody works off: clients read ahead up to 64 MB, and who may live from
#: that looks faster than it is.
READ_AHEAD_BATCHES = 60_000
_WARM_SHARE = 0.25
Say = Callable[[str], None]
Ids = Mapping[int, Sequence[bytes]]


async def prepared(broker: str, batches: int, read_ahead: int = READ_AHEAD_BATCHES) -> Ids:
    """Declare the topics and fill glasses.captured, once for all rounds.

    Returns the ids of the first `batches` by partition, in order.
    """
    await create(broker, [], [topology.topic(ZONED)])
    await declare(broker)
    await consents.publish(broker, load(settings.POLICY))
    whole = batches + read_ahead
    async with Sender(broker, CAPTURED) as sender:
        ids = await fill(sender, whole, clock.now_ns() - AGE_NS - span_ns(whole))
    return {partition: some[: len(some) * batches // whole] for partition, some in ids.items()}


def part_of(ids: Ids, share: float) -> frozenset[bytes]:
    """Ids of the first batches of each partition."""
    return frozenset(one for some in ids.values() for one in some[: max(1, round(len(some) * share))])


async def race(
    broker: EmbeddedBroker,
    directory: Path,
    ids: Ids,
    subjects: Sequence[Subject],
    rounds: int,
    say: Say,
    *,
    warm: bool = True,
) -> dict[str, list[Counted]]:
    """Let each subject work off the load, `rounds` times; when `warm`, two of them once before, uncounted."""
    counted: dict[str, list[Counted]] = {subject.name: [] for subject in subjects}
    for subject in (AIOKAFKA, TRANSPORT) if warm else ():
        # The broker compiles what it does often; whoever comes first would pay for it.
        await _one(subject, broker, directory, part_of(ids, _WARM_SHARE), rounds)
    for number in range(rounds):
        at = number * (len(subjects) // rounds + 1) % len(subjects)
        for subject in (*subjects[at:], *subjects[:at]):
            found = await _one(subject, broker, directory, part_of(ids, subject.share), number)
            counted[subject.name].append(found)
            say(
                f"round {number + 1}  {subject.name:10} {found.batches_per_s:>8,.0f} batches/s   "
                f"CPU a batch {found.cpu_us:>6.1f} µs, broker {found.broker_cpu_us:.1f} µs"
            )
    return counted


async def _one(
    subject: Subject, broker: EmbeddedBroker, directory: Path, wanted: frozenset[bytes], number: int
) -> Counted:
    if subject.own_target:
        await create(broker.address, [subject.target(number)])
    async with Output(broker.address, subject.target(number)) as output:
        part = subject.start(broker.address, number, directory)
        try:
            return await count(output, wanted, [part], broker.pid, TIMEOUT_S)
        except TimeoutError:
            code = part.process.poll()
            what = f"ran for {TIMEOUT_S:.0f} s" if code is None else f"ended with code {code}"
            raise click.ClickException(
                f"{subject.name} {what}; {len(missing_from(output, wanted)):,} of {len(wanted):,} batches "
                f"are missing from its output: {part.last_line()}"
            ) from None
        finally:
            await asyncio.to_thread(part.stop)


def summary(subjects: Sequence[Subject], counted: Mapping[str, Sequence[Counted]]) -> dict[str, Any]:
    """What is kept of the race, by subject."""
    return {subject.name: _summary(subject, counted[subject.name]) for subject in subjects}


def _summary(subject: Subject, counted: Sequence[Counted]) -> dict[str, Any]:
    rates = [one.batches_per_s for one in counted]
    return {
        "does": subject.does,
        "delivery": subject.delivery,
        "batches_per_s": median(rates),
        "events_per_s": round(median(rates) * EVENTS_PER_BATCH),
        "lowest": min(rates),
        "highest": max(rates),
        "rounds": rates,
        "cpu_us": median(one.cpu_us for one in counted),
        "broker_cpu_us": median(one.broker_cpu_us for one in counted),
        "first_output_s": [one.first_s for one in counted],
        "repeated": sum(one.repeated for one in counted),
        "batches": [one.batches for one in counted],
        "checksums": [one.checksum for one in counted],
    }


def ratios(counted: Mapping[str, Sequence[Counted]]) -> list[dict[str, Any]]:
    """Each bar whose two subjects ran: the median over the rounds of the ratio within a round."""
    found = []
    for bar in BARS:
        ours, theirs = counted.get(bar.subject.name), counted.get(bar.over.name)
        if ours and theirs:
            ratio = median(
                one.batches_per_s / max(other.batches_per_s, 1e-9)
                for one, other in zip(ours, theirs, strict=True)
            )
            found.append(
                {
                    "subject": bar.subject.name,
                    "over": bar.over.name,
                    "ratio": round(ratio, 2),
                    "least": bar.least,
                    "reached": ratio >= bar.least,
                }
            )
    return found
