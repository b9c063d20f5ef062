"""The race: every subject processes the same batches, one subject at a time, in rounds.

The order rotates with each round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import click

from bench import consents
from bench.bars import Held, quartiles
from bench.count import Counted, Output, count, create, missing_from, remove
from bench.load import AGE_NS, DEVICES, Sender, fill
from bench.races import READ_AHEAD_BYTES, Aim, Race
from bench.subjects import AIOKAFKA, TRANSPORT, Subject
from bench.traffic import span_ns
from streams import clock, settings, topology
from streams.events.codec import encode
from streams.kafka.broker import EmbeddedBroker, free_port
from streams.kafka.topics import declare
from streams.policy.load import load
from streams.topology import CAPTURED, ZONED

TIMEOUT_S = 180.0
_WARM_SHARE = 0.25
Say = Callable[[str], None]
Ids = Mapping[int, Sequence[bytes]]


def run(asked: Race, directory: Path, rounds: int, say: Say, *, batches: int, tiny: bool) -> dict[str, Any]:
    """Run one race on its own broker, with the same conditions for all subjects; return its bars too."""
    directory.mkdir()
    broker = EmbeddedBroker()
    try:
        say(f"{asked.name}: {rounds} rounds of {len(asked.subjects)} subjects, {asked.traffic.about}")
        broker.start(directory / "kafka", free_port(), say)
        ids = asyncio.run(prepared(broker.address, asked, batches, 0 if tiny else READ_AHEAD_BYTES))
        counted = asyncio.run(race(broker, directory, ids, asked, rounds, say, warm=not tiny))
    finally:
        broker.stop()
    return {
        "about": asked.traffic.about,
        "encoding": asked.traffic.encoding,
        "events_per_batch": round(asked.traffic.events_per_batch, 1),
        "batches": batches,
        "subjects": {
            subject.name: _summary(subject, asked, counted[subject.name]) for subject in asked.subjects
        },
        "bars": bars(asked, counted),
    }


async def prepared(broker: str, asked: Race, batches: int, read_ahead_bytes: int) -> Ids:
    """Declare the topics and fill glasses.captured, once for all rounds.

    Returns the ids of the first `batches` by partition, in order.
    """
    await create(broker, [], [topology.topic(ZONED)])
    await declare(broker)
    await consents.publish(broker, load(settings.POLICY))
    some = list(asked.traffic.batches(0, 100, 0, DEVICES))
    whole = batches + round(read_ahead_bytes / mean(len(encode(batch)) for batch in some))
    async with Sender(broker, CAPTURED) as sender:
        start_ns = clock.now_ns() - AGE_NS - span_ns(asked.traffic, whole, DEVICES)
        ids = await fill(sender, asked.traffic, whole, start_ns)
    return {partition: mine[: len(mine) * batches // whole] for partition, mine in ids.items()}


def part_of(ids: Ids, share: float) -> frozenset[bytes]:
    """Ids of the first batches of each partition."""
    return frozenset(one for some in ids.values() for one in some[: max(1, round(len(some) * share))])


async def race(
    broker: EmbeddedBroker,
    directory: Path,
    ids: Ids,
    asked: Race,
    rounds: int,
    say: Say,
    *,
    warm: bool = True,
) -> dict[str, list[Counted]]:
    """Let each subject process the load `rounds` times; if `warm`, two of them run once before, uncounted."""
    subjects = asked.subjects
    counted: dict[str, list[Counted]] = {subject.name: [] for subject in subjects}
    for subject in (AIOKAFKA, TRANSPORT) if warm else ():
        # The broker compiles frequent code at first, which would slow down the first subject.
        await _one(subject, broker, directory, part_of(ids, _WARM_SHARE), rounds)
    for number in range(rounds):
        at = number * (len(subjects) // rounds + 1) % len(subjects)
        for subject in (*subjects[at:], *subjects[:at]):
            output = await _one(subject, broker, directory, part_of(ids, subject.share), number)
            counted[subject.name].append(output)
            say(
                f"{asked.name}  round {number + 1}  {subject.name:13} {output.batches_per_s:>8,.0f} batches/s"
                f"   CPU a batch {output.cpu_us:>6.1f} µs, broker {output.broker_cpu_us:.1f} µs"
            )
    return counted


async def _one(
    subject: Subject, broker: EmbeddedBroker, directory: Path, wanted: frozenset[bytes], number: int
) -> Counted:
    target = subject.target(number)
    if not subject.own_target:
        return await _counted(subject, broker, directory, wanted, number)
    await create(broker.address, [target])
    try:
        return await _counted(subject, broker, directory, wanted, number)
    finally:
        # Removed when it has no reader left, because clients request a missing topic again and again.
        await remove(broker.address, target)


async def _counted(
    subject: Subject, broker: EmbeddedBroker, directory: Path, wanted: frozenset[bytes], number: int
) -> Counted:
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


def _summary(subject: Subject, asked: Race, counted: Sequence[Counted]) -> dict[str, Any]:
    rates = [one.batches_per_s for one in counted]
    low, middle, high = quartiles(rates)
    return {
        "does": subject.does,
        "delivery": subject.delivery,
        "batches_per_s": middle,
        "events_per_s": round(middle * asked.traffic.events_per_batch),
        "low": low,
        "high": high,
        "rounds": rates,
        "cpu_us": median(one.cpu_us for one in counted),
        "broker_cpu_us": median(one.broker_cpu_us for one in counted),
        "first_output_s": [one.first_s for one in counted],
        "repeated": sum(one.repeated for one in counted),
        "batches": [one.batches for one in counted],
        "checksums": [one.checksum for one in counted],
    }


def bars(asked: Race, counted: Mapping[str, Sequence[Counted]]) -> list[Held]:
    """Each bar of a race whose subjects ran; a ratio compares two rates of the same round."""
    held = []
    for aim in asked.asked:
        ours = [one.batches_per_s for one in counted.get(aim.subject.name, ())]
        if isinstance(aim, Aim):
            figures = [rate * asked.traffic.events_per_batch for rate in ours]
        else:
            theirs = [one.batches_per_s for one in counted.get(aim.over.name, ())]
            figures = [rate / max(over, 1e-9) for rate, over in zip(ours, theirs, strict=False)]
        if figures:
            held.append(asked.bar(aim).held(figures))
    return held
