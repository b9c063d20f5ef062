"""Policies on `glasses.policies` are not trusted: a child process checks them, and refusals are recorded."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator

import orjson
import pytest
import pytest_asyncio

from streams import limits
from streams.errors import MalformedError, UnavailableError
from streams.events.record import Outgoing, StoredRecord
from streams.pipeline.live import LiveGlasses
from streams.pipeline.partition import PartitionState
from streams.policy import versions
from streams.policy.load import parse, version_of
from streams.policy.policy import Policy
from streams.policy.source import bundle, find
from streams.policy.versions import CURRENT_KEY, NEXT_KEY, PolicyTable, PolicyVersions, pointer_to, record_of
from streams.topology import POLICIES, REJECTED
from streams.worker import bootstrap, checking
from streams.worker.checking import Checker
from streams.worker.on_topics import policies_of
from streams.worker.run import WorkerContext, WorkerSettings
from tests import build
from tests.patience import PATIENCE_S

HOUSEHOLD = bundle(find("household"))
BOMBS = {
    "brackets": HOUSEHOLD.replace('when = "', 'when = "' + "(" * 100_000, 1),
    "loops": HOUSEHOLD.replace('when = "', 'when = "' + "categories.all(zone, " * 500, 1),
    "arrays": HOUSEHOLD + "\nx = " + "[" * 100_000,
    "tables": HOUSEHOLD + "\nx = " + "{a = " * 20_000,
    "keys": HOUSEHOLD + "\n[x" + ".x" * 40_000 + "]",
    "long": HOUSEHOLD + "#" * limits.POLICY_BYTES_MAX,
}


def published(text: str, offset: int, **other: str) -> StoredRecord:
    """A record of `glasses.policies` with a text under its own version."""
    version = version_of(text)
    value = {"v": 1, "version": version, "name": "x", "text": text, **other}
    return StoredRecord(offset, 1000 + offset, f"policy/{version}".encode(), orjson.dumps(value))


def pointing(to: Policy, offset: int, key: bytes = CURRENT_KEY) -> StoredRecord:
    return StoredRecord(offset, 1000 + offset, key, pointer_to(to))


def crashed(_text: str) -> str:
    """Run in the child."""
    os.abort()


def slow(_text: str) -> str:
    """Run in the child."""
    time.sleep(600)
    return ""


def greedy(_text: str) -> str:
    """Run in the child."""
    return str(len(bytearray(4 * limits.POLICY_CHECK_BYTES_MAX)))


@pytest.fixture(autouse=True)
def nothing_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests checked is not known here."""
    monkeypatch.setattr(checking, "_passed", set())


@pytest_asyncio.fixture
async def checker() -> AsyncIterator[Checker]:
    made = Checker()
    yield made
    made.close()


async def test_bombs_are_refused_and_what_is_in_force_stays(checker: Checker) -> None:
    good = parse(HOUSEHOLD, "x")
    records = [published(HOUSEHOLD, 0), pointing(good, 1)]
    for bomb in BOMBS.values():
        at = len(records)
        records += [
            published(bomb, at),
            StoredRecord(at + 1, 0, CURRENT_KEY, b'{"version":"%s"}' % version_of(bomb).encode()),
        ]
    found = (await policies_of(records, checker)).now
    assert (found.current, set(found.versions)) == (good.version, {good.version})
    assert [one.offset for one in found.refused] == list(range(2, len(records)))
    assert not any("categories" in one.reason or "((" in one.reason for one in found.refused)
    # A restart works with the hostile policies on the topic and a good one after them.
    other = parse(HOUSEHOLD + "# changed\n", "x")
    records += [published(other.text, 100), pointing(other, 101), pointing(good, 102, NEXT_KEY)]
    again = (await policies_of(records, checker)).now
    assert (again.current, again.next, set(again.versions)) == (
        other.version,
        good.version,
        {good.version, other.version},
    )


@pytest.mark.parametrize("ends", [crashed, slow])
async def test_a_child_that_ends_over_a_policy_is_its_refusal(
    ends: object, checker: Checker, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies = PolicyTable(PolicyVersions.of(parse(HOUSEHOLD, "x")))
    in_force = policies.now.current
    monkeypatch.setattr(checking, "against", ends)
    monkeypatch.setattr(checker._child, "_wait_s", 1.0)
    waited = 0

    async def others_go_on() -> None:
        nonlocal waited
        while True:
            waited += 1
            await asyncio.sleep(0.05)

    others = asyncio.create_task(others_go_on())
    with pytest.raises(MalformedError, match="the child process that checks policies"):
        await policies.learn(published(HOUSEHOLD + "# changed\n", 7), checker)
    others.cancel()
    assert waited > 5
    assert (policies.now.current, policies.turned_down, [one.offset for one in policies.now.refused]) == (
        in_force,
        1,
        [7],
    )
    monkeypatch.undo()
    with pytest.raises(MalformedError):
        await policies.learn(published("x = 1", 8), checker)
    await policies.learn(published(HOUSEHOLD + "# again\n", 9), checker)
    assert len(policies.now.versions) == 2


async def test_a_text_that_this_process_loaded_itself_needs_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = Checker(HOUSEHOLD)
    monkeypatch.setattr(loaded, "_child", None)
    await loaded.check(HOUSEHOLD)


async def test_a_text_that_passed_in_this_process_is_not_checked_again(
    checker: Checker, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = HOUSEHOLD.replace('when = "', 'when = "(', 1)
    await checker.check(HOUSEHOLD)
    with pytest.raises(MalformedError):
        await checker.check(bad)
    other = Checker()
    monkeypatch.setattr(other, "_child", None)
    await other.check(HOUSEHOLD)
    for text in (bad, f"{HOUSEHOLD} "):
        with pytest.raises(AttributeError):
            await other.check(text)


async def test_memory_of_the_child_is_bounded(checker: Checker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checker._child, "_wait_s", PATIENCE_S)
    with pytest.raises(MemoryError):
        await checker._child.run(greedy, "")
    await checker.check(HOUSEHOLD)


class Nobody:
    """Accepts every text, and counts the calls."""

    def __init__(self) -> None:
        self.asked = 0

    async def check(self, _text: str) -> None:
        self.asked += 1


async def test_a_record_is_looked_at_once() -> None:
    policies, nobody = PolicyTable(), Nobody()
    for record in [published(HOUSEHOLD, 3), published(HOUSEHOLD, 3), published(HOUSEHOLD, 4)]:
        await policies.learn(record, nobody)
    bad = StoredRecord(5, 0, CURRENT_KEY, b"{}")
    with pytest.raises(MalformedError):
        await policies.learn(bad, nobody)
    await policies.learn(bad, nobody)
    assert (nobody.asked, policies.offset, len(policies.now.refused)) == (1, 6, 1)


async def test_another_text_under_a_known_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attacker can find a text with the same 64 bits of a digest."""
    policies = PolicyTable()
    await policies.learn(published(HOUSEHOLD, 0), Nobody())
    (version,) = policies.now.versions
    monkeypatch.setattr(versions, "version_of", lambda _text: version)
    forged = StoredRecord(
        1, 0, f"policy/{version}".encode(), published(HOUSEHOLD + "#", 1, version=version).value
    )
    with pytest.raises(MalformedError, match="another text under a version that is known"):
        await policies.learn(forged, Nobody())
    assert policies.now.versions[version].text == HOUSEHOLD


async def test_versions_that_a_worker_knows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POLICY_VERSIONS_MAX", 2)
    found = (await policies_of([published(HOUSEHOLD + "#" * at, at) for at in range(4)], Nobody())).now
    assert (len(found.versions), [one.offset for one in found.refused]) == (2, [2, 3])
    assert "found more than 2 versions" in found.refused[0].reason


async def test_who_is_called_off_has_not_looked_at_it() -> None:
    class Forever:
        async def check(self, _text: str) -> None:
            await asyncio.sleep(600)

    policies = PolicyTable()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(policies.learn(published(HOUSEHOLD, 0), Forever()), 0.05)
    assert (policies.offset, len(policies.now.refused)) == (0, 0)
    await policies.learn(published(HOUSEHOLD, 0), Nobody())
    assert policies.now.versions


def on_record(records: list[Outgoing]) -> tuple[list[int], list[int]]:
    """Offsets of refused policies in the table and on the topic."""
    rows = [row["offset"] for row in build.lineage(records).get("rejected", ()) if row["topic"] == POLICIES]
    places = [
        dict(one.headers)["sightline-place"].decode().split() for one in records if one.topic == REJECTED
    ]
    return rows, [int(offset) for topic, _, offset in places if topic == POLICIES]


async def refused_by(of: LiveGlasses, count: int, begin: int) -> None:
    for at in range(begin, begin + count):
        with pytest.raises(MalformedError):
            await of.followed.policies.learn(StoredRecord(at, 5, b"policy/x", b"{}"), Nobody())


async def test_what_is_refused_is_put_on_record_once_by_partition_0() -> None:
    of = build.core()
    await refused_by(of, 2, 10)
    other = await build.stepped(of, build.begun(), build.fetch([build.batch(source="g2")], 0, 1))
    assert on_record(list(other.outputs)) == ([], [])
    first = await build.stepped(of, build.begun(), build.fetch([build.batch()]))
    assert on_record(list(first.outputs)) == ([10, 11], [10, 11])
    assert first.checkpoint
    state = of.restore(0, of.save(None, first.state))
    assert state == first.state
    assert isinstance(state, PartitionState)
    await refused_by(of, 1, 12)
    again = await build.stepped(of, state, build.fetch([build.batch(first=20)], 1), silent=True)
    assert on_record(list(again.outputs)) == ([], [])
    second = await build.stepped(of, state, build.fetch([build.batch(first=20)], 1))
    assert on_record(list(second.outputs)) == ([12], [12])
    third = await build.stepped(of, second.state, build.fetch([build.batch(first=40)], 2))
    assert (on_record(list(third.outputs)), third.checkpoint) == (([], []), False)


async def test_a_flood_of_them_is_put_on_record_fetch_by_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    of, state, offsets = build.core(), build.begun(), list[int]()
    await refused_by(of, 150, 0)
    for at in range(3):
        made = await build.stepped(of, state, build.fetch([build.batch(first=20 * at)], at))
        state, rows = made.state, on_record(list(made.outputs))[0]
        assert len(rows) <= limits.POLICY_REFUSALS_PER_FETCH_MAX
        offsets += rows
    assert offsets == list(range(150))
    await refused_by(of, limits.POLICY_REFUSALS_MAX + 7, 150)
    assert len(of.followed.policies.now.refused) == limits.POLICY_REFUSALS_MAX


async def test_a_start_does_not_write_another_policy_over_one_that_it_does_not_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The refused policy may be in force for an older Sightline, which accepted more."""
    older = HOUSEHOLD.replace("place == 'clinic'", "place.matches('clinic')")
    records = [
        published(older, 0),
        StoredRecord(1, 0, CURRENT_KEY, b'{"version":"%s"}' % version_of(older).encode()),
    ]

    async def read_all(_broker: str, _topic: str) -> list[StoredRecord]:
        return records

    monkeypatch.setattr(bootstrap, "read_all", read_all)
    context = WorkerContext(WorkerSettings("nowhere:9", "household"))
    with (
        context.closing,
        pytest.raises(UnavailableError, match=r"holds 1 policies that are not taken .* and none that is in"),
    ):
        await bootstrap.prepare(context)


async def test_none_in_force_while_one_could_not_be_checked_is_no_reason_to_write_another() -> None:
    class Down:
        async def check(self, _text: str) -> None:
            raise UnavailableError("the child process that checks policies ended")

    table = await policies_of([published(HOUSEHOLD, 0), pointing(parse(HOUSEHOLD, "x"), 1)], Down())
    assert (table.now.current, table.turned_down) == ("", 1)


def test_a_record_of_ours_is_one() -> None:
    key, value = record_of(parse(HOUSEHOLD, "x"))
    assert (key, orjson.loads(value)["text"]) == (published(HOUSEHOLD, 0).key, HOUSEHOLD)
