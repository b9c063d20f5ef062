"""How long after its cause `sightline watch` tells of an alert, on a pipeline that runs under load."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import cast

import click
import orjson
from msgspec.structs import replace

from bench.bars import ALERT, Measured, quartiles
from bench.load import Sender
from bench.race import Say
from bench.rig import Load, Rig, rig
from bench.traffic import IMU_20
from device_sim.kafka import partition_of
from streams import clock
from streams.consent.record import pairing_record
from streams.events.batch import Batch
from streams.events.record import Outgoing
from streams.kafka.publish import publish_now
from streams.topology import CAPTURED, PARTITIONS_DEFAULT

_DEVICES, _PER_S = 40, 200.0
_WAIT_S = 60.0
#: Enough for the rule, and few enough for one fetch.
_REFUSED = 200
#: A paired device whose wearer has said nothing, so no zone takes what it sends.
_SILENT, _WEARER = "silent", "w-silent"
#: Windows of seconds, so that an alert ends soon and can begin again in the next round.
_RULES = """\
[unconfigured]
recent_s = 4

[refusals-rising]
recent_s = 4
before_s = 4
factor = 1
"""


async def alerts(directory: Path, rounds: int, say: Say) -> Measured:
    """Time from the acknowledgement of what causes an alert to the line that tells of it, for two rules.

    One of them learns its cause from the store's epochs, the other from glasses.rejected.
    """
    async with rig(directory) as made:
        await publish_now(made.broker.address, [pairing_record(_SILENT, _WEARER, bound=True)])
        made.work()
        made.write_store()
        await made.ready()
        broker, batches = made.broker.address, IMU_20.batches(0, 2**40, clock.now_ns(), 1)
        causes = {
            "unconfigured": partial(_unconsented, broker, batches),
            "refusals-rising": partial(_malformed, broker),
        }
        load = Load(broker, IMU_20, _DEVICES)
        async with load.sender:
            pacing = asyncio.create_task(load.pace(_PER_S, float("inf")))
            try:
                async with _watching(made) as told:
                    took_s = {
                        rule: [await told.after(rule, cause) for _ in range(rounds)]
                        for rule, cause in causes.items()
                    }
            finally:
                pacing.cancel()
                await asyncio.gather(pacing, return_exceptions=True)
    rows = []
    for rule, some in took_s.items():
        low, middle, high = quartiles(some)
        rows.append(
            {"alert": rule, "median": f"{middle:.2f} s", "quartiles": f"{low:.2f} to {high:.2f} s"}
            | {"longest": f"{max(some):.2f} s"}
        )
        say(f"{rule}: {middle:.2f} s")
    title = f"From the cause to the alert, beside {_PER_S:.0f} batches/s, {rounds} rounds each"
    return Measured({title: rows}, [ALERT.held([one for some in took_s.values() for one in some])])


async def _unconsented(broker: str, batches: Iterator[Batch]) -> None:
    """Send the next batches of a device whose wearer has given no consent."""
    some = [replace(batch, source=_SILENT, wearer_id=_WEARER) for batch in islice(batches, 10)]
    async with Sender(broker, CAPTURED) as sender:
        await asyncio.gather(*await sender.send(some))


async def _malformed(broker: str) -> None:
    """Send records that are no batches."""
    place, now_ms = partition_of(_SILENT, PARTITIONS_DEFAULT), clock.now_ns() // 1_000_000
    record = Outgoing(CAPTURED, place, _SILENT.encode(), b"no batch", (), now_ms)
    await publish_now(broker, [record] * _REFUSED)


class _Told:
    """What a `sightline watch` prints, with when each line came."""

    def __init__(self, lines: asyncio.StreamReader) -> None:
        self._lines = lines

    async def after(self, rule: str, cause: Callable[[], Awaitable[None]]) -> float:
        """Cause an alert; return after how many seconds it was told, once it has ended again."""
        await cause()
        began_s = clock.monotonic_s()
        await self._until(rule, "begins")
        took_s = clock.monotonic_s() - began_s
        await self._until(rule, "ends")
        return took_s

    async def _until(self, rule: str, state: str) -> None:
        try:
            async with asyncio.timeout(_WAIT_S):
                async for line in self._lines:
                    change = orjson.loads(line)
                    if (change["rule"], change["state"]) == (rule, state):
                        return
        except TimeoutError:
            raise click.ClickException(f"{rule}: nothing {state} within {_WAIT_S:.0f} s") from None
        raise click.ClickException("`sightline watch` ended before it was asked to")


@contextlib.asynccontextmanager
async def _watching(made: Rig) -> AsyncIterator[_Told]:
    """A `sightline watch` with a broker, as a privacy officer runs it, during the block."""
    rules = made.directory / "rules.toml"
    rules.write_text(_RULES)
    words = ("watch", "--json", "--store", str(made.store), "--broker", made.broker.address)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streams.cli", *words, "--role", "privacy-officer", "--rules", str(rules)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield _Told(cast("asyncio.StreamReader", process.stdout))
    finally:
        process.terminate()
        await process.wait()
