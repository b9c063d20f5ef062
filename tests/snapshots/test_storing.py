"""Rows of several polls are one epoch and one transaction, and nothing of that is skipped or done twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from streams import limits
from streams.cli.snapshots import _gathered
from streams.errors import UnavailableError
from streams.events.record import StoredRecord
from streams.kafka.reader import Follower
from streams.queries.store import Store
from streams.snapshots.intake import decode
from streams.snapshots.retrying import RetryingWriter
from streams.snapshots.rows.poll import Poll
from streams.snapshots.storing import Storing
from streams.snapshots.writer import Writer
from tests.snapshots.build import POLICY, T0_NS, batch, derived, edge, record

PARTITIONS = range(4)


def records(offset: int) -> dict[int, list[StoredRecord]]:
    """One record a partition, of a device each: 20 samples and what was made of them."""
    found = {}
    for partition in PARTITIONS:
        source, first = f"g{partition}", offset * 20
        rows = {
            "policies": [POLICY],
            "events": [
                batch(source, "imu-right", first, 20, partition=partition),
                derived(source, "activity", offset, partition=partition),
            ],
            "edges": [edge((source, "activity", offset), (source, "imu-right", first), operator="activity")],
        }
        found[partition] = [record(offset, rows, b"glasses/%d" % partition)]
    return found


class Counting:
    """A connection that keeps what it is asked to execute."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.said: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *parameters: Any) -> Any:
        self.said.append(statement.partition(" SELECT")[0])
        return self._connection.execute(statement, *parameters)


def test_what_one_transaction_costs_does_not_grow_with_partitions_and_records(tmp_path: Path) -> None:
    writer = Writer.open(tmp_path)
    writer.ingest(records(0), {}, T0_NS)
    counting = writer._hot.connection = Counting(writer._hot.connection)  # type: ignore[assignment]
    some = {partition: [*records(1)[partition], *records(2)[partition]] for partition in PARTITIONS}
    assert writer.ingest(some, {}, T0_NS) == 2 * 4 * 4
    # Of rows above the highest number nothing is looked up, nor where reading goes on.
    assert counting.said == []
    assert writer.offsets() == dict.fromkeys(PARTITIONS, 3)
    writer.publish(T0_NS)
    begin = counting.said.index("BEGIN")
    assert counting.said[begin : counting.said.index("COMMIT") + 1] == [
        "BEGIN",
        *(f"INSERT INTO {table} BY NAME FROM incoming" for table in ("segments", "spans", "classes")),
        "INSERT INTO epochs VALUES (?, ?, ?, MAP {0: 3, 1: 3, 2: 3, 3: 3}, ?, ?, ?)",
        "DELETE FROM offsets WHERE topic = ?",
        f"INSERT INTO offsets VALUES {', '.join(['(?, ?, ?)'] * 4)}",
        # The broker's time; the second only where there is none yet.
        "UPDATE keeping SET heard_ns = ?, clock_ns = ?, passed_ns = ?, began_ns = ?",
        "INSERT INTO keeping VALUES (?, ?, ?, ?)",
        "COMMIT",
    ]
    writer.close()


class Fed:
    """A follower that returns what it was given, one a poll, and then nothing."""

    def __init__(self, polls: Sequence[dict[int, list[StoredRecord]]]) -> None:
        self._polls = [*polls]
        self.asked: list[int] = []

    async def poll(self, timeout_ms: int, max_records: int) -> dict[int, list[StoredRecord]]:
        self.asked.append(max_records)
        if self._polls:
            return self._polls.pop(0)
        await asyncio.sleep(timeout_ms / 1000)
        return {}


def gathered(fed: Fed) -> dict[int, list[StoredRecord]]:
    _, found = asyncio.run(_gathered(cast("Follower", fed), threading.Event()))
    return cast("dict[int, list[StoredRecord]]", found)


def test_what_arrives_within_an_interval_is_gathered_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PUBLISH_INTERVAL_MS", 1000)
    fed = Fed([{}, records(0), records(1), {}, records(2)])
    found = gathered(fed)
    assert {key: [one.offset for one in some] for key, some in found.items()} == {
        key: [0, 1, 2] for key in PARTITIONS
    }
    assert fed.asked[:5] == [limits.FETCH_RECORDS_MAX - taken for taken in (0, 0, 4, 8, 8)]


def test_many_records_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    size = sum(len(one.value or b"") for some in records(0).values() for one in some)
    monkeypatch.setattr(limits, "GATHER_BYTES", size)
    fed = Fed([records(0), records(1)])
    assert gathered(fed).keys() == set(PARTITIONS)
    assert len(fed.asked) == 1


class Slow:
    """A patient writer that stores when it is let, and says when two ask at once."""

    def __init__(self) -> None:
        self.may, self.lock = threading.Semaphore(0), threading.Lock()
        self.stored: list[Mapping[int, int]] = []

    def take_in(self, poll: Poll, positions: Mapping[int, int], now_ns: int) -> int:
        assert self.lock.acquire(blocking=False)
        self.may.acquire()
        self.stored.append(positions)
        self.lock.release()
        if positions == {0: 13}:
            raise UnavailableError("gone")
        return len(poll.places)

    def publish_due(self, now_ns: int) -> int | None:
        return len(self.stored)


def test_one_is_stored_while_the_next_is_read_and_an_error_comes_out() -> None:
    async def run() -> None:
        slow = Slow()
        storing = Storing(cast("RetryingWriter", slow))
        await storing.next(decode.read(records(0)), {0: 1}, 0)
        # What was given is being stored; who gives the next waits for it.
        waiting = asyncio.create_task(storing.next(decode.read(records(1)), {0: 13}, 0))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        slow.may.release(3)
        await waiting
        await storing.settled()
        assert (storing.rows, storing.epoch, slow.stored) == (4, 1, [{0: 1}, {0: 13}])
        with pytest.raises(UnavailableError):
            await storing.next(None, {0: 14}, 0)
        assert slow.stored == [{0: 1}, {0: 13}]

    asyncio.run(run())


def test_what_was_stored_before_an_error_is_not_stored_again(tmp_path: Path) -> None:
    """The same decoded records are taken in again, one of them refused; the store opens anew between."""
    steps: list[int] = []

    def fail(step: int) -> None:
        steps.append(step)
        if step == 1 and steps.count(1) == 1:
            raise OSError(28, "No space left on device")

    writer = Writer.open(tmp_path, after_step=fail)
    patient = RetryingWriter(writer, lambda _: None, lambda _: False)
    some = records(0)
    some[1].append(StoredRecord(1, 0, b"glasses/1", b"no JSON"))
    poll = decode.read(some)
    patient.take_in(poll, {}, T0_NS)
    assert poll.tables["events"].num_rows == 0
    patient.publish(T0_NS)
    writer.close()
    with Store.open(tmp_path) as store:
        assert store.sql("SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM rejected)").rows == [
            (8, 1)
        ]
