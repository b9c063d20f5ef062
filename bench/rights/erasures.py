"""Whole erasures of some wearers of a large store, with readers on and others' devices sending."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import orjson

from bench.bars import ERASED, LEFT_ALONE, Measured
from bench.processes import ROOT, start
from bench.race import Say
from bench.rig import Load, Rig, rig
from bench.rights.grown import Grown, Sums, grow, of_devices, of_wearers
from bench.rights.withdrawals import WORKERS
from bench.store.rows import Rows, moved
from bench.traffic import IMU_20
from streams import clock
from streams.consent.record import pairing_record
from streams.demo import Part
from streams.errors import UnavailableError
from streams.kafka.publish import publish_now
from streams.queries.store import Store

EDGES, WEARERS, ERASURES, READERS = 10_000_000, 24, 5, 2
_DEVICES, _PER_S = 40, 100.0
_STORED_WAIT_S, _LOOK_S = 120.0, 0.5


@dataclass(frozen=True, slots=True)
class Erased:
    """One erasure: its wearer, when (ns) the command began and had ended, and what it printed."""

    wearer: str
    began_ns: int
    ended_ns: int
    printed: Mapping[str, Any]

    @property
    def took_s(self) -> float:
        """Seconds of the whole command."""
        return (self.ended_ns - self.began_ns) / 1e9


async def erasures(directory: Path, source: Path | None, edges: int, count: int, say: Say) -> Measured:
    """Erase `count` of 24 wearers, one after the other, from a store of `edges` edges or a few more.

    `source` is the store of a demo, whose rows are copied; None plays one first.
    """
    rows = Rows.read(source or _demo(directory / "demo", say))
    async with rig(directory / "rig") as made:
        grown = await asyncio.to_thread(grow, rows, made.store, -(-edges // rows.edges), WEARERS)
        say(f"grown: {grown.edges:,} edges")
        pairs = [pairing_record(device, of, bound=True) for device, of in sorted(grown.wearers.items())]
        await publish_now(made.broker.address, pairs)
        made.serve(WORKERS)
        made.write_store()
        await made.ready()
        wearers = sorted(set(grown.wearers.values()))
        before = _held(made.store)
        load = Load(made.broker.address, IMU_20, _DEVICES)
        async with load.sender:
            pacing = asyncio.create_task(load.pace(_PER_S, float("inf")))
            try:
                with _reading(
                    made.directory, made.store, _answer_of_others(rows, grown, wearers[count:])
                ) as looks:
                    done = [await _erase(made, wearer, say) for wearer in wearers[:count]]
            finally:
                pacing.cancel()
                await asyncio.gather(pacing, return_exceptions=True)
        wrong = await _live_wrong(made, load)
        rss_mb = made.rss_mb()["snapshots"]
        wrong += harmed(before, _held(made.store), grown, [one.wearer for one in done])
        told, rows_of = list(looks()), _rows(made.store, done)
    wrong += misled(told, done)
    for sentence in wrong:
        say(f"WRONG: {sentence}")
    return Measured(
        {
            f"{count} times one of {len(wearers)} wearers erased, {grown.edges:,} edges, {READERS} readers, "
            f"{_PER_S:.0f} batches/s": rows_of,
            f"Meanwhile, {len(told):,} questions of readers": [
                {"question, median": f"{np.median([one['took_s'] for one in told]):.2f} s"}
                | {"longest": f"{max(one['took_s'] for one in told):.2f} s"}
                | {"writer's memory at the end": f"{rss_mb:.0f} MB", "wrong": len(wrong)}
            ],
        },
        [ERASED.held([max(one.took_s for one in done)]), LEFT_ALONE.held([len(wrong)])],
    )


def _demo(store: Path, say: Say) -> Path:
    say("playing a demo first, whose rows are copied")
    command = [sys.executable, "-m", "streams.cli", "demo", "--speed", "20", "--json", "--store", str(store)]
    store.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    return store


def _answer_of_others(rows: Rows, grown: Grown, others: Sequence[str]) -> str:
    """An answer that a wearer got who stays."""
    ids = [f"{source}-0/{stream}/{at}" for source, stream, at in rows.answers()]
    copies = {int(device.rpartition("-")[2]) for device in grown.wearers}
    every = (moved(each, number) for number in sorted(copies) for each in ids)
    return next(each for each in every if grown.wearers.get(each.partition("/")[0]) in others)


def _held(path: Path) -> tuple[dict[str, Sums], dict[str, Sums]]:
    with Store.open(path) as opened:
        return of_wearers(opened), of_devices(opened)


@contextmanager
def _reading(directory: Path, store: Path, answer: str) -> Iterator[Any]:
    """Readers in processes of their own during the block; what they were told, after it."""
    arguments = ("bench.rights.reader", str(store), answer)
    readers = [start(f"reader-{number}", arguments, directory) for number in range(READERS)]

    def looks() -> Iterator[dict[str, Any]]:
        for reader in readers:
            for line in reader.log.read_text("utf-8").splitlines():
                yield {"reader": reader.name, **_look_of(line, reader)}

    try:
        yield looks
        for reader in readers:
            reader.watch()
    finally:
        for reader in readers:
            reader.kill()


def _look_of(line: str, reader: Part) -> dict[str, Any]:
    try:
        return dict(orjson.loads(line))
    except orjson.JSONDecodeError:
        # It may have been killed while it wrote its last line.
        if line == reader.last_line():
            return {}
        raise click.ClickException(f"the {reader.name} said: {line}") from None


async def _erase(made: Rig, wearer: str, say: Say) -> Erased:
    """Run the command."""
    where = ("--broker", made.broker.address, "--keys", str(made.keys), "--store", str(made.store))
    command = ("-m", "streams.cli", "rights", "erase", "--wearer", wearer, *where, "--json")
    receipt = ("--receipt", str(made.directory / f"receipt-{wearer}.json"))
    made.check()
    began_ns = clock.now_ns()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *command, *receipt), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    one = Erased(wearer, began_ns, clock.now_ns(), orjson.loads(out.splitlines()[-1]) if out else {})
    if process.returncode:
        raise click.ClickException(f"the erasure ended with code {process.returncode}: {err.decode()}")
    say(f"erased {wearer}: {one.took_s:.1f} s")
    return one


def _rows(store: Path, done: Sequence[Erased]) -> list[dict[str, Any]]:
    """A line for each erasure, with seconds since the command began."""
    with Store.open(store) as opened:
        applied = opened.sql("SELECT number, rewritten_ns, absent_ns, files FROM erasures").rows
    by_number = {number: rest for number, *rest in applied}
    rows = []
    for one in done:
        rewritten_ns, absent_ns, files = by_number[int(one.printed["erasure"])]
        rows.append(
            {
                "wearer": one.wearer,
                "rows": f"{one.printed['rows taken out']:,}",
                "files": files,
                "an epoch without her": f"{(rewritten_ns - one.began_ns) / 1e9:.1f} s",
                "no file has her": f"{(absent_ns - one.began_ns) / 1e9:.1f} s",
                "whole": f"{one.took_s:.1f} s",
            }
        )
    return rows


async def _live_wrong(made: Rig, load: Load) -> list[str]:
    """What is missing or twice of what was sent meanwhile, once all of it is in the store."""
    expected, deadline_s = sent(load.sent_ns), clock.monotonic_s() + _STORED_WAIT_S
    while True:
        try:
            with Store.open(made.store) as opened:
                stored = of_devices_captured(opened, expected)
        except UnavailableError:
            stored = {}
        wrong = [
            f"{device}: stored {stored.get(device)}"
            for device in expected
            if stored.get(device) != expected[device]
        ]
        if not wrong or clock.monotonic_s() > deadline_s:
            return wrong
        made.check()
        await asyncio.sleep(_LOOK_S)


def of_devices_captured(store: Store, devices: Iterable[str]) -> dict[str, Sums]:
    """Number of captured events by device, and the sum of their numbers."""
    names = ", ".join(f"'{name}'" for name in devices)
    rows = store.sql(
        'SELECT source, sum("count")::BIGINT, '  # noqa: S608 - names of ours
        'sum("count" * "first"::HUGEINT + step * ("count" * ("count" - 1) // 2))::VARCHAR '
        f"FROM events WHERE topic = 'glasses.captured' AND source IN ({names}) GROUP BY ALL"
    ).rows
    return {name: (count, int(numbers)) for name, count, numbers in rows}


def sent(batches: Iterable[tuple[str, str, int]]) -> dict[str, Sums]:
    """The same of batches (device, stream, first number) as they were sent."""
    each, found = IMU_20.events_per_batch, dict[str, Sums]()
    for device, _, first in batches:
        count, numbers = found.get(device, (0, 0))
        found[device] = count + each, numbers + each * first + each * (each - 1) // 2
    return found


def harmed(
    before: tuple[Mapping[str, Sums], Mapping[str, Sums]],
    after: tuple[Mapping[str, Sums], Mapping[str, Sums]],
    grown: Grown,
    erased: Sequence[str],
) -> list[str]:
    """What is left of the erased, and what others have lost or have twice, of events and of edges."""
    wrong = list[str]()
    for name, (was, now) in {"events": (before[0], after[0]), "edges": (before[1], after[1])}.items():
        whose = {who: who if name == "events" else grown.wearers.get(who, "") for who in was}
        for who, sums in was.items():
            expected = None if whose[who] in erased else sums
            if now.get(who) != expected:
                wrong.append(f"{name} of {who}: {now.get(who)}, expected {expected}")
    return wrong


def misled(told: Sequence[Mapping[str, Any]], done: Sequence[Erased]) -> list[str]:
    """Wrong answers of readers: others' events that changed, or somebody's in part, again or too late."""
    wrong = list[str]()
    for reader in sorted({one["reader"] for one in told}):
        looks = [one for one in told if one["reader"] == reader and "told" in one]
        first, gone = looks[0], set[str]()
        erased = {one.wearer: one for one in done}
        for look in looks:
            if look["ancestors"] != first["ancestors"]:
                wrong.append(f"{reader}: {look['ancestors']} ancestors, expected {first['ancestors']}")
            for wearer, sums in first["told"].items():
                now = look["told"].get(wearer)
                if wearer in erased:
                    late = look["began_ns"] > erased[wearer].ended_ns
                    if now is None:
                        gone.add(wearer)
                    if now is None or (now == sums and wearer not in gone and not late):
                        continue
                elif now == sums or wearer.startswith("w"):
                    # What devices send meanwhile grows; it is compared with what was sent.
                    continue
                wrong.append(f"{reader}: {now} of {wearer}, expected {sums}")
    return wrong
