"""A follower of a compacted topic never dies silently, whatever stands there or becomes of the broker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from streams import limits, metrics
from streams.errors import MalformedError
from streams.events.record import Received
from streams.worker import follower as following
from streams.worker.follower import TableFollower
from tests.patience import PATIENCE_S


class Record:
    """A record as a consumer returns it."""

    partition, timestamp, key, headers = 0, 0, None, ()

    def __init__(self, offset: int) -> None:
        self.offset, self.value = offset, b"a word of a wearer"


class Log:
    """Stands for the consumer: polls return what is put there, and raise it where it is an error."""

    def __init__(self, *polled: list[Record] | BaseException) -> None:
        self._polled = list(polled)
        self.empty = asyncio.Event()

    def __call__(self, _broker: str, _topic: str) -> Log:
        return self

    async def start(self) -> None:
        """Nothing to connect to."""

    async def stop(self) -> None:
        """Nothing to let go."""

    async def end_offsets(self) -> dict[int, int]:
        return {0: 0}

    async def positions(self) -> dict[int, int]:
        return {0: 0}

    async def poll(self, _timeout_ms: int, _max_records: int) -> dict[int, list[Record]]:
        if not self._polled:
            self.empty.set()
            await asyncio.sleep(600)
        found = self._polled.pop(0)
        if isinstance(found, BaseException):
            raise found
        return {0: found}


class _Panic(BaseException):
    """What a library raises that means no Exception by it."""


async def followed(
    log: Log, take: Callable[[Received], None], monkeypatch: pytest.MonkeyPatch
) -> TableFollower:
    """Follow the log to its end."""
    monkeypatch.setattr(metrics.PROCESS, "_values", {})
    monkeypatch.setattr(following, "Follower", log)
    monkeypatch.setattr(following, "_RETRY_PAUSE_S", 0.0)
    follower = TableFollower("nowhere:9", "glasses.toy", take)
    await follower.start()
    async with asyncio.timeout(PATIENCE_S):
        await log.empty.wait()
    task = follower._task
    assert task is not None
    assert not task.done()
    await follower.stop()
    return follower


@pytest.mark.parametrize(
    "error",
    [
        _Panic("a word of a wearer"),
        RecursionError("a word of a wearer"),
        ValueError("a word of a wearer"),
        asyncio.CancelledError("a word of a wearer"),
        MalformedError("toy: found a number, expected a word"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_a_callback_raises_is_passed_over(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[int] = []

    def take(record: Received) -> None:
        if record.offset == 1:
            raise error
        taken.append(record.offset)

    follower = await followed(Log([Record(0), Record(1), Record(2)], [Record(3)]), take, monkeypatch)
    assert (taken, follower.refused) == ([0, 2, 3], 1)
    assert metrics.read("passed_over_total", topic="glasses.toy") == 1
    (said,) = [one.getMessage() for one in caplog.records]
    assert said.startswith("glasses.toy partition 0 offset 1 is passed over (1 so far): ")
    assert "wearer" not in said


async def test_one_that_waits_lets_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, let_go, taken = asyncio.Event(), asyncio.Event(), list[int]()

    async def wait(_record: Received) -> None:
        begun.set()
        await let_go.wait()

    monkeypatch.setattr(following, "Follower", Log([Record(0)]))
    slow = TableFollower("nowhere:9", "glasses.slow", wait)
    await slow.start()
    await begun.wait()
    await followed(Log([Record(0)], [Record(1)]), lambda record: taken.append(record.offset), monkeypatch)
    assert (taken, let_go.is_set()) == ([0, 1], False)
    await slow.stop()


async def test_a_follower_that_fails_goes_on_and_says_so_ever_less_often(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[int] = []
    errors = [OSError("gone"), _Panic(), asyncio.CancelledError(), *(OSError("gone") for _ in range(97))]
    await followed(Log(*errors, [Record(7)]), lambda record: taken.append(record.offset), monkeypatch)
    assert taken == [7]
    assert metrics.read("follow_failed_total", topic="glasses.toy") == 100
    said = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert [sentence.split(" times")[0].rsplit(" ", 1)[1] for sentence in said[:-1]] == [
        "1", "2", "4", "8", "16", "32", "64",
    ]  # fmt: skip
    assert said[-1] == "Following glasses.toy goes on after 100 attempts that failed"


async def test_a_flood_of_bad_records_is_counted_whole_and_said_in_part(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def take(_record: Received) -> None:
        raise MalformedError("toy: found a number, expected a word")

    most = limits.PASSED_OVER_SAID_MAX
    await followed(Log([Record(at) for at in range(10 * most)]), take, monkeypatch)
    assert metrics.read("passed_over_total", topic="glasses.toy") == 10 * most
    assert len(caplog.records) == most + 1 + 9


async def test_a_follower_that_is_stopped_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log([Record(0)])
    follower = await followed(log, lambda _record: None, monkeypatch)
    assert follower._task is None
