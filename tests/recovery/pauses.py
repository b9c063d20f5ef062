"""Rounds of pauses: everything stops, time and people change the world, and it starts again.

What happens is a function of the seed. The harness keeps its own account of which records nobody can have
read; at the end the ledger, `ask missing` and a replay are asked, and all must name that.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import random
import re
import shutil
import subprocess
import tarfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from streams import clock, topology
from streams.kafka.broker import EmbeddedBroker
from streams.kafka.reader import committed_offsets, log_bounds
from streams.kafka.topics import declare
from tests.kafka import world
from tests.patience import PATIENCE_S
from tests.recovery import checks
from tests.recovery.drain import drained
from tests.recovery.pipeline import Pipeline
from tests.recovery.processes import Child
from tests.recovery.report import Account, Round
from tests.recovery.schedule import SNAPSHOTS, WORKERS
from tests.recovery.watch import quiet_client

ROOT = Path(__file__).parents[2]
#: The commit whose workers may stand beside ours.
LAST_VERSION = "665a5ae"
SHIFTED = Path(__file__).with_name("shifted")
#: Batches a second, seconds of one play, devices.
RATE, PLAY_S, DEVICES = 400.0, 4.0, 3
_LOOK_S = 0.2
#: What a worker says while workers of the last version run, which assign partitions in another way.
_STANDS_BY = re.compile(
    r"in the group glasses \(state Stable, assigned by roundrobin\) are \S+ at 127\.0\.0\.1; "
    r"glasses reads nothing until they have left: workers share a group with workers of this version alone"
)


@dataclass(kw_only=True)
class Pauses(Pipeline):
    """A pipeline that is put to sleep and woken up; findings say what was not as it should be."""

    begins_with_last_version: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.account = Account()
        self._moves = 0

    def add_children(self) -> None:
        """Make workers and snapshots; the workers of the last version where the round begins with those."""
        super().add_children()
        if self.begins_with_last_version:
            self.becomes_last_version(*WORKERS)

    def becomes_last_version(self, *names: str) -> None:
        """Let the next starts of these run code and policy of the last version, which reads JSON alone."""
        self.encoding = "json"
        tree = self.directory / "last-version"
        policy = tree / "streams/policy/policies/household.toml"
        if not tree.exists():
            tree.mkdir()
            packed = subprocess.run(
                ["git", "-C", str(ROOT), "archive", LAST_VERSION], capture_output=True, check=True
            ).stdout
            with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                archive.extractall(tree, filter="data")
        for name in names:
            child = self.children[name]
            child.directory = tree
            # Ours goes on under the policy that is in force: the shipped one has changed since.
            child.environment |= {"PYTHONPATH": str(tree), "SIGHTLINE_POLICY": str(policy)}

    def becomes_ours(self, *names: str) -> None:
        """Let the next starts of these run our code again."""
        for name in names:
            child = self.children[name]
            child.directory = None
            child.environment.pop("PYTHONPATH", None)

    async def play(self, duration_s: float = PLAY_S) -> None:
        """Let the devices send for a while; what nobody acknowledged they send again."""
        await self.played(self.load(RATE, duration_s))

    async def sleep(self, *, killed: bool = False) -> None:
        """Stop workers and snapshots, in order or at once, when all that was sent is stored."""
        if late := await drained(self.address, self.store, PATIENCE_S):
            self.findings.append(late)
        self.kept.clear()
        for name in WORKERS:
            await (
                asyncio.to_thread(self.children[name].kill) if killed else self._stopped(self.children[name])
            )
        await self._stopped(self.children[SNAPSHOTS])

    async def wake(self, *arguments: str) -> None:
        """Start a worker, this time with some arguments more, and snapshots; wait until they are ready."""
        first = WORKERS[0]
        self.keep(SNAPSHOTS)
        self.children[first].start(*arguments)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while not (self.children[first].ready and self.children[SNAPSHOTS].ready):
                    await asyncio.sleep(_LOOK_S)
                return
        self.findings.append(f"{first} did not start again: {self.children[first].last_line()}")

    async def refused(self, name: str, code: int, *words: str) -> str:
        """Start somebody who must end with a code and a sentence that has some words; return that."""
        child = self.children[name]
        child.start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while child.pid is not None:
                    await asyncio.sleep(_LOOK_S)
        said = child.last_line()
        if child.pid is not None or child.code != code or not all(word in said for word in words):
            await self._stopped(child)
            self.findings.append(f"{name} ended with {child.code}, expected {code} and {words}: {said}")
        self.account.sentences.append(said)
        return said

    async def stands_by(self, child: Child) -> None:
        """Wait until a worker has said that it waits, and for whom: one of the last version runs."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while not child.times_said(_STANDS_BY):
                    await asyncio.sleep(_LOOK_S)
        said = child.last_line()
        self.account.sentences.append(said)
        if child.ready or not child.times_said(_STANDS_BY):
            self.findings.append(f"{child.name} does not stand by beside the last version: {said}")

    async def unread(self) -> dict[int, tuple[int, int]]:
        """By partition of glasses.captured: what is read next, and the end."""
        committed = await committed_offsets(self.address, "glasses", [topology.CAPTURED])
        bounds = await log_bounds(self.address, topology.CAPTURED)
        return {
            number: (committed.get((topology.CAPTURED, number), 0), end)
            for number, (_, end) in bounds.items()
        }


# -- what happens while it sleeps ----------------------------------------


async def pause(pipeline: Pauses, _draw: random.Random) -> None:
    """A quiet weekend; the devices go on sending."""
    await pipeline.play(2.0)
    await pipeline.wake()


async def retention(pipeline: Pauses, _draw: random.Random) -> None:
    """Retention removes all that was read: nothing is lost."""
    read = {number: at for number, (at, _) in (await pipeline.unread()).items()}
    await world.retention(pipeline.address, topology.CAPTURED, read)
    await pipeline.wake()


async def overtaken(pipeline: Pauses, draw: random.Random) -> None:
    """The devices go on sending, and retention removes some of it before anybody reads it."""
    await pipeline.play(2.0)
    before = {
        number: draw.randint(at, end) for number, (at, end) in (await pipeline.unread()).items() if end > at
    }
    places = await pipeline.unread()
    lost = sum(offset - places[number][0] for number, offset in before.items())
    await world.retention(pipeline.address, topology.CAPTURED, before)
    if lost:
        await pipeline.refused(WORKERS[0], 2, f"{lost:,} records were removed before they were read")
        pipeline.account.lost_records += lost
    await pipeline.wake(*(["--accept-loss"] if lost else []))


async def expired(pipeline: Pauses, draw: random.Random) -> None:
    """The groups were empty for too long; the log may have gone too."""
    places = await pipeline.unread()
    await world.expire(pipeline.address, *topology.AGENTS)
    if draw.random() < 0.5:
        await world.retention(
            pipeline.address, topology.CAPTURED, {one: at for one, (at, _) in places.items()}
        )
    await pipeline.play(2.0)
    await pipeline.wake()


async def remade(pipeline: Pauses, _draw: random.Random) -> None:
    """Somebody deletes glasses.captured and makes it again."""
    await world.remade(pipeline.address, topology.CAPTURED, topology.PARTITIONS_DEFAULT)
    await pipeline.refused(WORKERS[0], 2, "was deleted and made again")
    pipeline.account.remade = True
    await pipeline.wake("--accept-loss")


async def clock_step(pipeline: Pauses, draw: random.Random) -> None:
    """The clock of worker and snapshots is wrong by hours from now on, in one direction or the other."""
    for name in (*WORKERS, SNAPSHOTS):
        pipeline.children[name].environment |= {
            "PYTHONPATH": f"{SHIFTED}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            "SHIFTED_S": str(draw.choice((-7200, 7200))),
        }
    await pipeline.play(2.0)
    await pipeline.wake()


async def other_broker(pipeline: Pauses, _draw: random.Random) -> None:
    """For a while another broker answers at the address; the store takes nothing of it."""
    port = int(pipeline.address.rpartition(":")[2])
    await asyncio.to_thread(pipeline.broker.stop)
    other = EmbeddedBroker()
    try:
        await asyncio.to_thread(other.start, pipeline.directory / f"other-{clock.monotonic_ns()}", port)
        await declare(other.address)
        await pipeline.refused(SNAPSHOTS, 2, "another log")
    finally:
        await asyncio.to_thread(other.stop)
        await asyncio.to_thread(pipeline.broker.start, pipeline.directory / "kafka", port)
    await pipeline.wake()


async def moved_store(pipeline: Pauses, _draw: random.Random) -> None:
    """The store's directory gets another name."""
    pipeline._moves += 1
    moved = pipeline.directory / f"store-{pipeline._moves}"
    pipeline.store.rename(moved)
    pipeline.store = moved
    pipeline.children[SNAPSHOTS].add("--store", str(moved))
    await pipeline.play(2.0)
    await pipeline.wake()


async def cut_segment(pipeline: Pauses, draw: random.Random) -> None:
    """A file of the store loses its end: that is said, and a copy is brought back."""
    copy = pipeline.directory / "copy"
    shutil.copytree(pipeline.store, copy, symlinks=True)
    for cut in (pipeline.store / "segments").glob("events*.parquet"):
        cut.chmod(0o600)
        os.truncate(cut, cut.stat().st_size * draw.randint(1, 9) // 10)
    done = await checks.sightline("ask", "missing", "--store", str(pipeline.store))
    if done.code != 3:
        pipeline.findings.append(f"ask missing ended with {done.code} over a cut segment: {done.err}")
    shutil.rmtree(pipeline.store)
    copy.rename(pipeline.store)
    await pipeline.wake()


async def rolling(pipeline: Pauses, _draw: random.Random) -> None:
    """A worker of the last version runs; ours stands by, and takes over as soon as that has left.

    All states are of the last version until then: what ours has written that one does not read.
    """
    ours, other = WORKERS
    pipeline.children[other].start()
    await pipeline.play(2.0)
    pipeline.becomes_ours(ours)
    pipeline.children[ours].start()
    await pipeline.play(2.0)
    await pipeline.stands_by(pipeline.children[ours])
    await pipeline._stopped(pipeline.children[other])
    pipeline.becomes_ours(other)
    await pipeline.wake()
    pipeline.encoding = "mixed"


async def foreign_commit(pipeline: Pauses, draw: random.Random) -> None:
    """Somebody commits other offsets in the group of the agent; they are not followed."""
    await pipeline.play(2.0)
    bounds = await log_bounds(pipeline.address, topology.CAPTURED)
    offsets = {number: draw.randint(begin, end) for number, (begin, end) in bounds.items()}
    await world.commit(pipeline.address, "glasses", topology.CAPTURED, offsets)
    await pipeline.wake()


#: With what a round may begin: workers of the last version run until this step.
OPENING = "rolling upgrade"
#: What may happen, and how often it is in the deck; the opening is not. Nor are raised partitions: no topic
#: has fewer again (`tests/kafka/test_groups.py`).
STEPS: dict[str, tuple[Callable[[Pauses, random.Random], Awaitable[None]], int]] = {
    "pause": (pause, 2),
    "retention": (retention, 2),
    "retention of unread": (overtaken, 3),
    "expired commits": (expired, 3),
    "clock step": (clock_step, 1),
    "other broker": (other_broker, 1),
    "moved store": (moved_store, 1),
    "cut segment": (cut_segment, 1),
    "remade topic": (remade, 1),
    OPENING: (rolling, 0),
    "foreign commit": (foreign_commit, 2),
}


def sequence(seed: int, count: int) -> list[tuple[str, bool]]:
    """What happens in a round, and whether it begins with a kill: dealt from a shuffled deck.

    Every second seed begins with a rolling upgrade.
    """
    draw, steps = random.Random(f"pauses/{seed}"), list[tuple[str, bool]]()
    if seed % 2 == 0:
        steps.append((OPENING, draw.random() < 0.4))
    deck: list[str] = []
    while len(steps) < count:
        if not deck:
            deck = [name for name, (_, share) in STEPS.items() for _ in range(share)]
            draw.shuffle(deck)
        steps.append((deck.pop(), draw.random() < 0.4))
    return steps


async def pauses(
    directory: Path, seed: int, steps: Sequence[tuple[str, bool]], say: Callable[[str], None]
) -> Round:
    """Play one round in a directory, and judge what is left."""
    draw = random.Random(f"pauses/{seed}/details")
    pipeline = Pauses(directory, seed, DEVICES, say, begins_with_last_version=steps[0][0] == OPENING)
    with quiet_client():
        try:
            await pipeline.start()
            await pipeline.play()
            for name, killed in steps:
                say(f"seed {seed}: {name}{' after a kill' if killed else ''}")
                await pipeline.sleep(killed=killed)
                await STEPS[name][0](pipeline, draw)
            # Later numbers of every stream show which ones before them are missing.
            await pipeline.play(2 * PLAY_S)
            if late := await drained(pipeline.address, pipeline.store, PATIENCE_S):
                pipeline.findings.append(late)
            await pipeline.stop()
            return await _judged(pipeline, directory, steps)
        finally:
            pipeline.sweep()


async def _judged(pipeline: Pauses, directory: Path, steps: Sequence[tuple[str, bool]]) -> Round:
    account, findings = pipeline.account, pipeline.findings
    found = await checks.ledger(pipeline.journal, pipeline.address, pipeline.store)
    missing = await checks.missing(pipeline.store)
    replay, replayed_lost = await checks.replay(
        pipeline.journal, pipeline.store, pipeline.keys, directory / "replayed"
    )
    findings += [said for said in found["findings"] if not any(words in said for words in _LOSS)]
    if found.get("records_lost") != account.lost_records:
        findings.append("the ledger names another number of lost records than were removed")
    if missing.get("lost_records", 0) != account.lost_records:
        findings.append("ask missing names another number of lost records than were removed")
    if found.get("events_missing") != missing.get("missing_events"):
        findings.append("ledger and ask missing name another number of missing events")
    if not account.lost_records and not account.remade and found.get("events_missing"):
        findings.append("events are missing although nothing was lost")
    if account.remade:
        if "of two logs of glasses.captured" not in replay:
            findings.append("the replay does not say that the topic was made again")
    elif pipeline.begins_with_last_version:
        # What the last version derived this one derives otherwise.
        alike = await asyncio.to_thread(checks.captured_alike, pipeline.store, directory / "replayed")
        if not alike or replayed_lost != account.lost_records:
            findings.append(f"the replay has other captured events, and left out {replayed_lost} records")
    elif replay != "equal" or replayed_lost != account.lost_records:
        findings.append(f"the replay left out {replayed_lost} records")
    findings += [f"{one} ({count} times)" for one, count in pipeline.ended.items()]
    return Round(pipeline.seed, steps, account, found, missing, replay, findings)


#: Findings of the ledger that are about what was lost, which is what it must say.
_LOSS = (
    "records were removed before they were read",
    "a topic was made again",
    "were sent and are neither stored nor rejected",
    "were sent and are neither on glasses.zoned nor on glasses.rejected",
)
