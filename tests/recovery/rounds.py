"""One round: start, load, strike, drain, judge, stop.

Also the calm measurement of what the same set-up sustains.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams import clock
from tests.patience import PATIENCE_S
from tests.recovery import checks
from tests.recovery.drain import drained
from tests.recovery.pipeline import RETURNED, Pipeline
from tests.recovery.report import Result
from tests.recovery.schedule import KINDS, PACE_S, Fault, schedule
from tests.recovery.watch import Watch, quiet_client, stalls

_SENT_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Options:
    """What a round is asked for; `rate` in batches/s of all devices."""

    duration_s: float
    rate: float
    devices: int
    kinds: Sequence[str] = tuple(KINDS)
    pace_s: tuple[float, float] = PACE_S


@asynccontextmanager
async def _running(
    directory: Path, seed: int, devices: int, say: Callable[[str], None]
) -> AsyncIterator[tuple[Pipeline, Watch]]:
    """A pipeline and a watch on it; whatever happens inside, no process is left."""
    pipeline = Pipeline(directory, seed, devices, say)
    watching: asyncio.Task[None] | None = None
    with quiet_client():
        try:
            await pipeline.start()
            watch = Watch(pipeline.address, say=lambda sentence: say(f"seed {seed}: {sentence}"))
            watching = asyncio.create_task(watch.run())
            yield pipeline, watch
        finally:
            if watching is not None:
                watching.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watching
            pipeline.sweep()


async def chaos(
    directory: Path,
    seed: int,
    options: Options,
    say: Callable[[str], None],
    faults: Sequence[Fault] | None = None,
) -> Result:
    """Run `faults` against a pipeline of its own in `directory`, and judge what is left.

    By default they are the schedule of `seed`.
    """
    if faults is None:
        faults = schedule(seed, options.duration_s, kinds=options.kinds, pace_s=options.pace_s)
    say(
        f"seed {seed}: {len(faults)} faults in {options.duration_s:.0f} s at {options.rate:g} batches/s; "
        f"logs in {directory}"
    )
    async with _running(directory, seed, options.devices, say) as (pipeline, watch):
        began_s = clock.monotonic_s()
        devices = pipeline.load(options.rate, options.duration_s)
        await pipeline.strike(faults, began_s)
        playing = [devices, *(child for name, child in pipeline.children.items() if name == RETURNED)]
        await asyncio.gather(*map(pipeline.played, playing))
        sent_s = clock.monotonic_s() - began_s
        say(f"seed {seed}: all is sent, draining")
        late = await drained(pipeline.address, pipeline.store, PATIENCE_S)
        drained_s = clock.monotonic_s() - began_s - sent_s
        await pipeline.stop()
        left = sum(child.sweep() for child in pipeline.children.values())
        say(f"seed {seed}: drained, counting")
        places = pipeline.journal, pipeline.address, pipeline.store
        ledger = await checks.ledger(*places)
        lineage = await checks.lineage(*places, pipeline.keys, directory / "replayed")
        progress = "".join(
            f"{at_s - began_s:.1f},{done},{captured}\n" for at_s, done, captured in watch.samples
        )
        (directory / "progress.csv").write_text(progress, encoding="utf-8")
        findings = [*pipeline.findings, *([late] if late else [])]
        return Result(
            seed,
            pipeline.struck,
            round(sent_s, 1),
            round(drained_s, 1),
            ledger,
            lineage,
            stalls(watch, pipeline.struck, "worker SIGKILL"),
            stalls(watch, pipeline.struck, "broker SIGKILL"),
            pipeline.ended,
            left,
            findings,
        )


async def calm(directory: Path, seed: int, options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """What the same set-up sustains without faults, batches/s committed.

    Measured while a backlog is sent at full speed, and without sending.

    The devices take CPU too; the rate without them is the higher one, so it is what a share is measured
    against.
    """
    send_s = options.duration_s * _SENT_SHARE
    async with _running(directory, seed, options.devices, say) as (pipeline, watch):
        devices = pipeline.load(0.0, send_s)
        await pipeline.played(devices)
        ended_s = clock.monotonic_s()
        late = await drained(pipeline.address, pipeline.store, PATIENCE_S)
        await pipeline.stop()
    moved = [(at_s, done) for at_s, done, _ in watch.samples]
    first = next((i for i, (_, done) in enumerate(moved) if done), 0)
    last = next(i for i, (_, done) in enumerate(moved) if done == moved[-1][1])
    sent = [i for i, (at_s, _) in enumerate(moved) if first <= i and at_s <= ended_s]
    alone = [i for i, (at_s, _) in enumerate(moved) if at_s >= ended_s and i <= last]
    return {
        "batches": moved[-1][1],
        "late": late,
        "batches_per_s": _rate(moved[first : last + 1]),
        "while_sent_batches_per_s": _rate([moved[i] for i in sent]),
        "not_sent_batches_per_s": _rate([moved[i] for i in alone]),
    }


def _rate(moved: Sequence[tuple[float, int]]) -> float | None:
    if len(moved) < 2 or moved[-1][0] <= moved[0][0]:
        return None
    return round((moved[-1][1] - moved[0][1]) / (moved[-1][0] - moved[0][0]), 1)
