"""Each step of assignment and commit, made to fail on its own: nothing is lost, twice or out of order."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import KafkaConnectionError, KafkaError, ProducerFenced

from streams import limits, metrics
from streams.errors import UnavailableError
from streams.events.record import AgentSpec, Fetch, Outcome
from streams.kafka import checkpoint, partition, restore
from streams.kafka.groups import Commit
from streams.kafka.ownership import Delivery
from streams.kafka.partition import PartitionOwner
from streams.kafka.transaction import TransactionWriter, _close, _counted, _new_producer, _PatientSender
from streams.topology import CAPTURED
from streams.worker import agents
from tests.kafka.conftest import Room, numbers_by_partition, until, values_by_partition
from tests.kafka.test_transport import batch, dealt
from tests.kafka.toy import ToyCore

#: Step of `TransactionWriter.write` -> method of the producer, and whether it does its work before it fails.
STEPS = {
    "1 begin": ("begin_transaction", False),
    "2 send": ("send_batch", False),
    "3 delivery": ("send_batch", False),
    "4 offsets": ("send_offsets_to_transaction", False),
    "4 offsets, answer lost": ("send_offsets_to_transaction", True),
    "5 commit": ("commit_transaction", False),
    "5 commit, answer lost": ("commit_transaction", True),
}


@pytest.mark.kafka
@pytest.mark.parametrize("step", STEPS)
async def test_a_step_of_the_commit_that_fails_costs_nothing(
    room: Room, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    name, works = STEPS[step]
    real, failures = getattr(AIOKafkaProducer, name), [True] * 4

    async def failing(self: AIOKafkaProducer, *arguments: Any, **named: Any) -> Any:
        if not failures or not str(self._txn_manager.transactional_id).startswith(room.agent):
            return await real(self, *arguments, **named)
        failures.pop()
        if works:
            await real(self, *arguments, **named)
        if step != "3 delivery":
            raise KafkaError("staged")
        refused = asyncio.get_running_loop().create_future()
        refused.set_exception(KafkaError("staged"))
        return refused

    monkeypatch.setattr(AIOKafkaProducer, name, failing)
    monkeypatch.setattr(limits, "CHECKPOINT_INTERVAL_S", 0.0)
    await room.produce(batch(0, 40))
    async with room.running(ToyCore(room.target)):
        await until(lambda: not failures)
        await room.wait_for(40)
        await room.produce(batch(40, 40))
        found = await room.wait_for(80)
    assert values_by_partition(found) == dealt(0, 80)
    assert numbers_by_partition(found) == {number: list(range(1, 21)) for number in range(4)}
    assert not room.ended


class Noted:
    """A feed that notes what it is asked, and gives nothing."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    async def seek(self, tp: TopicPartition, offset: int) -> None:
        self.calls.append(f"seek {offset}")

    async def flowing(self) -> None:
        self.calls.append("flowing")
        await asyncio.sleep(3600)


async def test_the_assignment_order(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def noting(name: str, answer: Any) -> Any:
        async def call(*_arguments: Any, **_named: Any) -> Any:
            calls.append(name)
            return answer

        return call

    monkeypatch.setattr(TransactionWriter, "start", noting("fence", None))
    monkeypatch.setattr(TransactionWriter, "close", noting("close", None))
    monkeypatch.setattr(partition, "committed", noting("committed", {("t", 0): Commit(7, ours=True)}))
    monkeypatch.setattr(partition, "log_ids", noting("logs", {}))
    monkeypatch.setattr(restore, "log_bounds", noting("bounds", {0: (0, 9)}))
    monkeypatch.setattr(checkpoint, "load", noting("state", checkpoint.Checkpoint({"seen": b"3"}, 5)))
    monkeypatch.setattr(restore._Rerun, "over", noting("silent run", 5))
    owner = PartitionOwner("nowhere:1", "a", ToyCore("x"), TopicPartition("t", 0), Noted(calls))  # type: ignore[arg-type]
    running = asyncio.create_task(owner.run())
    await until(lambda: "flowing" in calls)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert calls == [
        "fence",
        "committed",
        "logs",
        "bounds",
        "state",
        "silent run",
        "seek 7",
        "flowing",
        "close",
    ]


async def test_an_assertion_of_the_client_is_no_end_of_an_owner(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries = list[bool]()
    subscribed = SubscriptionState()
    subscribed.subscribe({"t"})

    async def asserting(_self: object) -> None:
        tries.append(True)
        if len(tries) == 1:
            # As yet without an assignment: aiokafka's own assertion.
            subscribed.seek(TopicPartition("t", 0), 7)
        await asyncio.sleep(3600)

    monkeypatch.setattr(PartitionOwner, "_own", asserting)
    owner = PartitionOwner("nowhere:1", "a", ToyCore("x"), TopicPartition("t", 0), Noted([]))  # type: ignore[arg-type]
    running = asyncio.create_task(owner.run())
    await until(lambda: len(tries) == 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert "a t partition 0 goes through assignment again in 0.1 s: AssertionError" in caplog.text


class Away(ToyCore):
    """Something that it needs is away for the first three attempts."""

    def __init__(self, target: str, error: Exception) -> None:
        super().__init__(target)
        self.error, self.attempts = error, list[float]()

    async def process(
        self, state: int, fetch: Fetch, inputs: object, *, silent: bool, poisoned: Mapping[int, str]
    ) -> Outcome[int]:
        if fetch.partition == 0 and len(self.attempts) < 4:
            self.attempts.append(asyncio.get_running_loop().time())
            if len(self.attempts) < 4:
                raise self.error
        return await super().process(state, fetch, inputs, silent=silent, poisoned=poisoned)


@pytest.mark.kafka
@pytest.mark.parametrize(
    "error",
    [UnavailableError("the oracle is away"), KafkaConnectionError("away"), OSError(28, "No space left")],
    ids=["unavailable", "broker", "disk"],
)
async def test_an_outside_failure_is_tried_again_with_growing_pauses_and_nothing_is_rejected(
    room: Room, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    core = Away(room.target, error)
    await room.produce(batch(0, 8))
    with caplog.at_level(logging.WARNING):
        async with room.running(core):
            found = await room.wait_for(8)
    assert values_by_partition(found) == dealt(0, 8)
    assert re.findall(
        r"cannot be processed now, nothing is skipped; tried again in ([\d.]+) s", caplog.text
    ) == ["0.1", "0.2", "0.4"]
    pauses = [later - earlier for earlier, later in zip(core.attempts, core.attempts[1:], strict=False)]
    assert all(pause >= said for pause, said in zip(pauses, (0.1, 0.2, 0.4), strict=True))
    assert metrics.read("fetch_retried_total", agent=room.agent) == 3
    assert not room.ended


@pytest.mark.kafka
async def test_a_partition_has_two_fetches_in_flight_and_each_is_bounded(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FETCH_RECORDS_FIRST", 5)
    handed: dict[int, int] = dict.fromkeys(range(4), 0)
    real = Delivery.__init__

    def counting(self: Delivery, ownership: Any, fetch: Fetch, size_bytes: int) -> None:
        handed[fetch.partition] += 1
        assert len(fetch.records) <= 5
        real(self, ownership, fetch, size_bytes)

    monkeypatch.setattr(Delivery, "__init__", counting)
    core = ToyCore(room.target, pause_s=3600)
    await room.produce(batch(0, 200))
    async with room.running(core):
        await until(lambda: all(count == limits.FETCHES_IN_FLIGHT_MAX for count in handed.values()))
        await asyncio.sleep(1.0)
        assert set(handed.values()) == {limits.FETCHES_IN_FLIGHT_MAX}


@pytest.mark.kafka
async def test_small_fetches_fill_up_and_large_ones_do_not_wait(room: Room) -> None:
    core = ToyCore(room.target)
    async with room.running(core):
        await room.produce([b"0"])
        await room.wait_for(1)
        for number in range(1, 41):
            await room.produce([b"%d" % number])
        await room.wait_for(41)
    sizes = [count for number, count, _silent in core.calls if number == 0]
    assert sum(sizes) == 41
    assert max(sizes) > 1, "what comes within the time that lets a small fetch fill is one transaction"


def test_back_off_by_kind_of_error() -> None:
    sender = _PatientSender.__new__(_PatientSender)
    sender._retry_backoff = 100.0
    calm = limits.TRANSACTION_BACKOFF_MS / 1000
    assert sender._retry_backoff == calm, "CONCURRENT_TRANSACTIONS comes after nearly every commit"
    pauses = []
    for _ in range(12):
        sender.reached(answered=False)
        pauses.append(sender._retry_backoff)
    assert pauses == [min(calm * 2**i, limits.CONNECTION_BACKOFF_MAX_S) for i in range(1, 13)]
    sender.reached(answered=True)
    assert sender._retry_backoff == calm


async def test_both_ways_to_meet_no_broker_are_counted() -> None:
    sender = _PatientSender.__new__(_PatientSender)

    async def refused() -> None:
        raise KafkaConnectionError("staged")

    async def not_ready() -> bool:
        return False

    calm = sender._retry_backoff
    with pytest.raises(KafkaConnectionError):
        await _counted(refused, sender)()
    assert sender._retry_backoff == calm * 2
    await _counted(not_ready, sender)()
    assert sender._retry_backoff == calm * 4


@pytest.mark.parametrize("fails", ["before", "with the next turn", "while it is closed", "once nobody waits"])
async def test_a_producer_that_was_fenced_goes_without_a_traceback(
    fails: str, caplog: pytest.LogCaptureFixture
) -> None:
    gc.collect()
    caplog.clear()  # of what other tests left
    producer = _new_producer("127.0.0.1:1", "a")
    producer._txn_manager.set_pid_and_epoch(1, 0)
    await producer.begin_transaction()
    undrained = producer.create_batch()
    undrained.append(key=None, value=b"0", timestamp=0)
    delivery = await producer._message_accumulator.add_batch(undrained, TopicPartition("t", 0), 1)
    turn = asyncio.Event()

    async def sender() -> None:
        if fails in {"while it is closed", "once nobody waits"}:
            await turn.wait()
        raise ProducerFenced

    task = producer._sender._sender_task = asyncio.ensure_future(sender())
    task.add_done_callback(producer._sender._fail_all)
    if fails == "before":
        await asyncio.wait([task])
        await asyncio.sleep(0)
    elif fails == "with the next turn":
        await asyncio.sleep(0)
    closing = asyncio.ensure_future(_close(producer))
    await asyncio.sleep(0)
    if fails == "once nobody waits":
        closing.cancel()
        await asyncio.wait([closing])
    turn.set()
    await asyncio.wait([closing, task])
    with pytest.raises(ProducerFenced):
        await delivery
    await asyncio.sleep(0)
    del producer, undrained, delivery, closing, task
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_what_must_be_set_is_set(tmp_path: Path) -> None:
    app = agents.build_app(AgentSpec("glasses", CAPTURED, ToyCore("x")), "127.0.0.1:1", tmp_path)
    found = app.conf
    assert (found.broker_session_timeout, found.broker_heartbeat_interval) == (6.0, 0.3)
    assert (found.web_enabled, found.topic_allow_declare, found.stream_wait_empty) == (False, False, False)
    assert found.consumer_auto_offset_reset == "none"
    assert limits.TRANSACTION_TIMEOUT_MS == 10_000
    consumer = app.transport.Consumer
    assert (consumer.agent, consumer.broker.brokers) == ("glasses", "127.0.0.1:1")
