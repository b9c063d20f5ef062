"""A worker goes on right after any pause; what is lost is said, and left behind on record only.

All cases of the table are played at once, each with topics and a group of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiokafka.admin import NewTopic

from streams import limits, topology
from streams.ends import End
from streams.errors import InputError
from streams.events.record import Fetch, Loss, Outcome, Outgoing
from streams.kafka import checkpoint, topics, transport
from streams.kafka.reader import log_bounds
from streams.kafka.standing import refuse_losses
from streams.printing import say
from streams.worker import agents
from tests.kafka import world
from tests.kafka.conftest import PARTITIONS, Room, now_ms, until
from tests.kafka.toy import ToyCore
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.kafka


class PausingCore(ToyCore):
    """Writes lineage beside its outputs, as every core does, and tells of a loss there."""

    knows_repeats = True

    def __init__(self, room: Room) -> None:
        super().__init__(room.target)
        self.agent, self.told, self.moves = room.agent, list[Loss](), list[int]()

    def _lineage(self, partition: int, value: bytes) -> Outgoing:
        return Outgoing(
            topology.LINEAGE, partition, f"{self.agent}/{partition}".encode(), value, (), now_ms()
        )

    async def process(
        self, state: int, fetch: Fetch, inputs: object, *, silent: bool, poisoned: Mapping[int, str]
    ) -> Outcome[int]:
        made = await super().process(state, fetch, inputs, silent=silent, poisoned=poisoned)
        return Outcome(made.state, [*made.outputs, self._lineage(fetch.partition, b"{}")])

    def tell(self, loss: Loss) -> Sequence[Outgoing]:
        self.told.append(loss)
        return [self._lineage(loss.partition, b"lost")]

    def moved(self, state: int, offset: int) -> int:
        self.moves.append(offset)
        return state


Change = Callable[[Room], Awaitable[None]]


@dataclass(frozen=True)
class Case:
    """What happens while nobody runs.

    `read` records of each partition are processed before, `unread` are written after the stop; then the world
    changes. `lost` records of each partition are gone unread. Who is `refused` says so, and goes on with
    --accept-loss only. `behind` are offsets that were processed and that the state has not seen.
    """

    what: str
    change: Change
    read: int = 10
    unread: int = 0
    lost: int = 0
    refused: str = ""
    behind: tuple[int, int] | None = None
    after: int = 2
    partitions: int = 1


async def nothing(_room: Room) -> None:
    """The weekend was quiet."""


def retention(before: int) -> Change:
    async def change(room: Room) -> None:
        bounds = await log_bounds(room.broker, room.source)
        await world.retention(room.broker, room.source, dict.fromkeys(bounds, before))

    return change


async def expired(room: Room) -> None:
    await world.expire(room.broker, room.agent)


async def killed(room: Room) -> None:
    """Its last checkpoint is of the fifth record, as of one that was killed."""
    entries = {"seen": b"5", checkpoint.CHECKPOINT_NAME: b'{"offset":5}'}
    await world.write_state(room.broker, room.agent, 0, entries)


async def stateless(room: Room) -> None:
    entries = {"seen": None, checkpoint.CHECKPOINT_NAME: None}
    await world.write_state(room.broker, room.agent, 0, entries)


async def remade(room: Room) -> None:
    await world.remade(room.broker, room.source, 1)


def stranger(offset: int) -> Change:
    async def change(room: Room) -> None:
        await world.commit(room.broker, room.agent, room.source, {0: offset})

    return change


async def cut(room: Room) -> None:
    """As many records more were read as the log has lost at its end."""
    await world.write_lineage(room.broker, room.agent, 0, 50)
    await world.commit(room.broker, room.agent, room.source, {0: 50})


def both(*changes: Change) -> Change:
    async def change(room: Room) -> None:
        for one in changes:
            await one(room)

    return change


CASES = [
    Case("nothing", nothing, unread=3),
    Case("retention up to the commit", retention(10)),
    Case("the commit expired", expired, unread=3),
    Case("retention up to the commit, which expired", both(retention(10), expired)),
    Case("killed behind its checkpoint, commit expired", both(killed, expired), unread=3),
    Case("killed, retention up to the commit", both(killed, retention(10)), behind=(5, 9)),
    Case("retention of unread records", retention(12), unread=5, lost=2, refused="8 records", partitions=4),
    Case(
        "killed, retention of unread, commit expired",
        both(killed, retention(12), expired),
        unread=5,
        lost=2,
        refused="10 to 11",
        behind=(5, 9),
    ),
    Case("never committed, log begins above 0", retention(4), read=0, unread=5, lost=4, refused="4 records"),
    Case("the topic was made again", remade, refused="an unknown number of records"),
    Case("the state is gone", stateless, unread=3, refused="holds no checkpoint of it"),
    Case("a stranger committed before us", stranger(5), read=0, unread=5, refused="somebody else committed"),
    Case("a stranger committed where the log begins", stranger(0), read=0, unread=5),
    Case("a stranger committed beyond the end", stranger(1000), unread=3),
    Case("the end was cut off", cut, refused="ends at offset 10", after=0, behind=(10, 49)),
]


@dataclass
class Played:
    """What came of a case: outputs by value, losses that were told, sentences, checkpoints at the end."""

    case: Case
    expected: Counter[bytes]
    found: Counter[bytes]
    numbers: dict[int, list[int]]
    told: list[Loss] = field(default_factory=list)
    moves: list[int] = field(default_factory=list)
    surveyed: str = ""
    refused: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    looked: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lost = sum(one.records or 0 for one in self.told if not one.state)
        outcome = f"refused, then goes on without {lost}" if self.refused else "goes on"
        return f"{self.case.what:46} {self.found.total():3} out of {self.expected.total():3}, {outcome}"


class Play:
    """One case in a room of its own."""

    def __init__(self, case: Case, room: Room, ended: list[str], logged: list[str]) -> None:
        self.case, self.room, self._ended, self._made = case, room, ended, 0
        self._logged = logged

    @property
    def ended(self) -> list[str]:
        return [said for said in self._ended if self.room.source in said]

    async def produce(self, each: int) -> list[bytes]:
        room, count = self.room, each * self.case.partitions
        values = [b"%d" % number for number in range(self._made, self._made + count)]
        self._made += count
        if values:
            await world.produce(room.broker, room.source, values, self.case.partitions, room.agent.encode())
        return values

    async def run(self) -> Played:
        case, room, core = self.case, self.room, PausingCore(self.room)
        read = await self.produce(case.read)
        if read:
            async with room.running(core):
                await room.wait_for(len(read))
        unread = await self.produce(case.unread)
        await case.change(room)
        surveyed, refused, looked = "", list[str](), list[str]()
        if case.refused:
            known = len(self._logged)
            try:
                await refuse_losses(room.broker, [room.spec(core)])
            except InputError as error:
                surveyed = str(error)
            looked = [said for said in self._logged[known:] if room.source in said]
            # What is said before anything is owned is said by owners too; one case shows that.
            refused = [surveyed] * bool(surveyed)
            if not surveyed or case.partitions > 1:
                async with room.running(core):
                    await until(lambda: bool(self.ended))
                refused = self.ended
                self._ended[:] = [said for said in self._ended if said not in refused]
        kept = unread[case.lost * case.partitions :]
        async with room.running(core, accept_loss=bool(case.refused)):
            kept += await self.produce(case.after)
            await room.wait_for(len(read) + len(kept))
            if case.behind:
                await until(lambda: bool(core.told))
        written = await room.outputs()
        numbers = {
            number: [int(dict(one.headers)["number"]) for one in written if one.partition == number]
            for number in range(case.partitions)
        }
        expected, found = Counter([*read, *kept]), Counter(one.value for one in written)
        return Played(
            case,
            expected,
            found,
            numbers,
            core.told,
            core.moves,
            surveyed,
            refused,
            self.ended,
            looked=looked,
        )


class Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said = list[str]()

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@pytest.fixture(scope="module")
def played(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Played]:
    """Every case by name."""
    ended: list[str] = []
    kept = Kept()

    def note(reason: str, error: BaseException | None = None, end: End = End.UNEXPECTED) -> None:
        ended.append(reason)

    async def play() -> list[Played]:
        await topics.declare(broker)
        plays = []
        for number, case in enumerate(CASES):
            name, directory = f"pause-{os.getpid()}-{number}", tmp_path_factory.mktemp("pause")
            room = Room(broker, name, f"{name}-source", f"{name}-target", Path(directory))
            async with world.administering(broker) as admin:
                made = [NewTopic(one, case.partitions, 1) for one in (room.source, room.target)]
                await admin.create_topics(made)
                await topics.until_known(admin, broker, [room.source, room.target])
            plays.append(Play(case, room, ended, kept.said))
        # Whoever fails waits for the others: their apps do not like to be cancelled.
        results = await asyncio.gather(*(one.run() for one in plays), return_exceptions=True)
        if failed := [one for one in results if isinstance(one, BaseException)]:
            raise failed[0]
        return [one for one in results if isinstance(one, Played)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transport, "end_process", note)
        patch.setattr(agents, "end_process", note)
        logging.getLogger("streams").addHandler(kept)
        results = asyncio.run(play())
        logging.getLogger("streams").removeHandler(kept)
    for number, one in enumerate(results):
        one.logged = [said for said in kept.said if f"pause-{os.getpid()}-{number}-source" in said]
        say(str(one))
    return {one.case.what: one for one in results}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_all_is_out_once_but_for_what_is_lost_and_said(played: Mapping[str, Played], case: Case) -> None:
    found, unknown = played[case.what], case.change is remade
    assert found.found == found.expected, found
    assert bool(found.refused) == bool(case.refused), found.refused
    assert not found.ended
    assert all("--accept-loss" in said for said in found.refused)
    assert not case.refused or any(case.refused in said for said in [*found.refused, found.surveyed]), found
    gone = bool(case.lost) or unknown
    unread = [one.records for one in found.told if not one.state]
    assert unread == [None if unknown else case.lost] * (case.partitions * gone)
    goes_on_at = 0 if unknown else 10
    assert found.moves == [goes_on_at] * (unknown or case.change is cut), "offsets mean other records there"
    behind = [(one.first, one.last) for one in found.told if one.state]
    assert behind == ([case.behind] if case.behind else [])
    assert not gone or found.surveyed.count(" partition ") == case.partitions, "one sentence names all"
    accepted = [said for said in found.logged if "were removed before they were read" in said]
    assert len(accepted) == case.partitions * gone
    assert all("accepted (--accept-loss)" in said for said in accepted)
    assert not any("Nothing was skipped" in said for said in accepted), "they are skipped now"
    # A member that is late on a busy machine is assigned the same again, and says the same again.
    forgot = {said for said in found.logged if "knows no offset of" in said}
    assert len(forgot) == ("expired" in case.what)
    assert not any("knows no offset of" in said for said in found.looked), "not by who only looks"
    # A state that knew all goes on counting; one that was made again counts what the log still had.
    if not case.refused and not case.behind:
        assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in found.numbers.values())


async def test_a_rest_and_a_stop_leave_a_checkpoint_at_the_commit(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def offsets() -> list[int | None]:
        return [
            (await checkpoint.load(room.broker, room.agent, number, wait_s=5)).offset
            for number in range(PARTITIONS)
        ]

    monkeypatch.setattr(limits, "CHECKPOINT_INTERVAL_S", 1.5)
    core = ToyCore(room.target)
    async with room.running(core):
        await room.produce([b"x"] * 40)
        await room.wait_for(40)
        await room.produce([b"y"] * 40)
        await room.wait_for(80)
        async with asyncio.timeout(PATIENCE_S):
            while await offsets() != [20] * PARTITIONS:
                await asyncio.sleep(0.2)
        monkeypatch.setattr(limits, "CHECKPOINT_INTERVAL_S", 1e9)
        await room.produce([b"z"] * 40)
        await room.wait_for(120)
    assert await offsets() == [30] * PARTITIONS
    assert await room.committed() == 120
