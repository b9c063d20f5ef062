"""Rounds of erasures: wearers are erased among faults, and each erasure is killed again and again on its way.

In the end nothing of the erased is left in the store or opens, and of the others nothing is missing or twice.
The ledger counts the others alone, from their journals against the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams import clock
from streams.errors import UnavailableError
from streams.queries.store import Store
from streams.sealing.key_store import KeyStore
from tests.recovery import checks
from tests.recovery.drain import drained
from tests.recovery.pipeline import Pipeline
from tests.recovery.processes import Child
from tests.recovery.schedule import KINDS, Fault, schedule
from tests.recovery.watch import quiet_client

#: Wearers who are erased, how often each erasure is killed, and after how many seconds.
ERASED, KILLS, KILLED_AFTER_S = 3, 4, (0.5, 9.0)
#: Share of the round during which their devices send, seconds that an erasure may take in all.
SENDING_SHARE, PATIENCE_S = 0.25, 420.0
DRAIN_WAIT_S, _LOOK_S = 300.0, 0.2
#: The device that comes back brings a journal of its own, which is another matter.
_KINDS = tuple(kind for kind in KINDS if kind != "backlog")


@dataclass
class Outcome:
    """What a round showed; it is clean when nothing was found."""

    seed: int
    faults: Sequence[Fault]
    kills: int
    erased: dict[str, list[dict[str, Any]]]
    ledger: dict[str, Any]
    findings: list[str]

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "seed": self.seed,
            "clean": self.clean,
            "findings": self.findings,
            "schedule": list(map(str, self.faults)),
            "kills": self.kills,
            **self.erased,
            "ledger": self.ledger,
        }

    def lines(self) -> list[str]:
        """For people."""
        erasures = self.erased.get("erasures", [])
        return [
            f"seed      {self.seed}",
            *(f"          {fault}" for fault in self.faults),
            f"erasures  {len(erasures)}, killed {self.kills} times on their way",
            *(
                f"          {each['state']}: {each['keys destroyed']} keys, "
                f"{each['model versions withdrawn']} model versions, {each['rows taken out']} rows"
                for each in erasures
            ),
            f"others    {self.ledger.get('events_sent', 0):,} events sent, "
            f"{self.ledger.get('events_missing', -1):,} missing, "
            f"{self.ledger.get('events_twice', -1):,} twice",
            *(f"FOUND     {finding}" for finding in self.findings),
            "clean" if self.clean else "not clean",
        ]


@dataclass(kw_only=True)
class Erasing(Pipeline):
    """A pipeline some of whose wearers, those with the highest numbers, are erased."""

    kills: int = 0

    @property
    def numbers(self) -> range:
        """Numbers of the devices and wearers that are erased."""
        return range(self.devices - ERASED + 1, self.devices + 1)

    def sends(self, rate: float, duration_s: float) -> list[Child]:
        """Start the devices of those who stay, and for a part of the time those of the erased."""
        stay = self.devices - ERASED
        return [
            self._play(
                "devices",
                scenario="load",
                backlog_s=0.0,
                rate=rate,
                duration_s=duration_s,
                first=1,
                devices=stay,
            ),
            self._play(
                "erased devices",
                scenario="load",
                backlog_s=0.0,
                journal=self.directory / "journal-of-the-erased",
                rate=rate * ERASED / stay,
                duration_s=duration_s * SENDING_SHARE,
                first=self.numbers.start,
                devices=ERASED,
            ),
        ]

    async def erase(self, number: int, draw: random.Random) -> None:
        """Erase a wearer; the command is killed at any of its steps, and goes on with the next start."""
        name = f"eraser-{number}"
        where = ("--broker", self.address, "--keys", str(self.keys), "--store", str(self.store))
        receipt = ("--receipt", str(self.directory / f"receipt-{number}.json"))
        child = Child(
            name,
            ("streams.cli", "rights", "erase", "--wearer", f"w{number}", *where, *receipt, "--json"),
            self.directory / f"{name}.log",
        )
        self.children[name] = child
        for _ in range(KILLS):
            child.start()
            await asyncio.sleep(draw.uniform(*KILLED_AFTER_S))
            if child.pid is not None:
                child.kill()
                self.kills += 1
        over_s = clock.monotonic_s() + PATIENCE_S
        while clock.monotonic_s() < over_s:
            child.start()
            while child.pid is not None and clock.monotonic_s() < over_s:
                await asyncio.sleep(_LOOK_S)
            if child.code == 0:
                return
            if child.code not in (None, UnavailableError.exit_code):
                break
            await asyncio.sleep(1.0)
        self.findings.append(f"{name} ended with code {child.code}: {child.last_line()}")


async def erasures(
    directory: Path, seed: int, duration_s: float, rate: float, devices: int, say: Callable[[str], None]
) -> Outcome:
    """Play one round in a directory, and judge what is left."""
    faults = schedule(seed, duration_s, kinds=_KINDS)
    pipeline = Erasing(directory, seed, devices + ERASED, say)
    with quiet_client():
        try:
            await pipeline.start()
            began_s = clock.monotonic_s()
            playing = pipeline.sends(rate, duration_s)
            striking = asyncio.create_task(pipeline.strike(faults, began_s))
            await pipeline.played(playing[1])
            say(f"seed {seed}: {ERASED} wearers are erased")
            draws = [random.Random(f"erasures/{seed}/{number}") for number in pipeline.numbers]
            await asyncio.gather(*map(pipeline.erase, pipeline.numbers, draws))
            await striking
            await pipeline.played(playing[0])
            if late := await drained(pipeline.address, pipeline.store, DRAIN_WAIT_S):
                pipeline.findings.append(late)
            await pipeline.stop()
            return await _judged(pipeline, faults)
        finally:
            pipeline.sweep()


async def _judged(pipeline: Erasing, faults: Sequence[Fault]) -> Outcome:
    findings = pipeline.findings
    ledger = await checks.ledger(pipeline.journal, None, pipeline.store)
    findings += ledger["findings"]
    with contextlib.closing(KeyStore(pipeline.keys)) as keys:
        kept = {f"w{number}": keys.count_of(f"w{number}") for number in pipeline.numbers}
        unfinished = [each.number for each in keys.erasures.all() if each.next_step is not None]
        count = len(keys.erasures.all())
    findings += [f"{wearer} has {left} keys" for wearer, left in kept.items() if left]
    findings += [f"erasure {number} is not finished" for number in unfinished]
    if count != ERASED:
        findings.append(f"{count} erasures are on record, expected {ERASED}: each was requested once")
    findings += [
        f"the store's {table} has {rows} rows of {name}"
        for number in pipeline.numbers
        for name in (f"w{number}", f"g{number}")
        for table, rows in left_of(pipeline.store, name).items()
    ]
    done = await checks.sightline("rights", "show", "--keys", str(pipeline.keys), "--json")
    shown = checks.answer_of(done)
    return Outcome(pipeline.seed, faults, pipeline.kills, shown, ledger, findings)


def left_of(store: Path, name: str) -> dict[str, int]:
    """Rows by table with a value that names a wearer or a device, alone or in an id or a list.

    What came after an erasure and was refused for that stays on record under the device's name.
    """
    left, refused_later = {}, "AND rule <> 'erased'"
    with Store.open(store) as opened:
        tables = [
            table
            for (table,) in opened.sql(
                "SELECT DISTINCT table_name FROM information_schema.columns WHERE table_name IN "
                "('streams', 'events', 'edges', 'decisions', 'rejected', 'shadow', 'feedback', 'inputs', "
                "'training_checks', 'promotions', 'training_runs', 'zone_runs', 'spans')"
            ).rows
        ]
        for table in tables:
            # Names are words of their own: `w1` is not in `w12`.
            found = opened.sql(
                f"SELECT count(*) FROM {table} AS row WHERE regexp_matches(row::VARCHAR, '(^|[^a-z0-9]){name}"
                f"([^a-z0-9]|$)') {refused_later if table == 'rejected' else ''}"
            ).rows[0][0]
            if found:
                left[table] = found
    return left
