"""Connecting to a broker: which errors end it, which do not, and whether the client logs afterwards."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, RequestTimedOutError, TopicAuthorizationFailedError

from streams import logs
from streams.connection import connect
from streams.connection.connect import let_go
from streams.errors import InputError, UnavailableError
from tests.patience import PATIENCE_S

BROKER = "127.0.0.1:9"


class Client:
    """Raises each of some errors once, then starts."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.attempts = 0

    async def start(self) -> str:
        self.attempts += 1
        if self.errors:
            raise self.errors.pop(0)
        return "started"


@pytest.fixture(autouse=True)
def client_log() -> Iterator[logging.Logger]:
    log = logging.getLogger("aiokafka")
    level = log.level
    logs.unconnected()
    yield log
    log.setLevel(level)


async def test_an_error_that_does_not_pass_ends_a_wait_that_has_an_end() -> None:
    client = Client(TopicAuthorizationFailedError())
    with pytest.raises(UnavailableError, match="answered with an error"):
        await connect.reach(BROKER, client.start, 60.0)
    assert client.attempts == 1


async def test_an_error_that_passes_is_tried_again() -> None:
    client = Client(RequestTimedOutError())
    assert await connect.reach(BROKER, client.start, 60.0) == "started"
    assert client.attempts == 2


async def test_a_wait_without_an_end_outlasts_whatever_the_broker_answers() -> None:
    client = Client(TopicAuthorizationFailedError(), KafkaError())
    assert await connect.reach(BROKER, client.start, math.inf) == "started"
    assert client.attempts == 3


async def test_a_client_stays_silent_for_a_program_that_reports_by_itself(client_log: logging.Logger) -> None:
    await connect.reach(BROKER, Client().start, client_logs=False)
    assert client_log.level == logging.CRITICAL
    await connect.reach(BROKER, Client().start)
    assert client_log.level == logging.NOTSET


async def test_an_address_that_is_none_is_wrong_input() -> None:
    with pytest.raises(InputError, match=r"'127\.0\.0\.1': found no address of a Kafka, expected HOST:PORT"):
        await connect.reach("127.0.0.1", Client().start)


class Stopping:
    """A client whose `stop` ends as it is told, with connections that are closed apart, like aiokafka's."""

    def __init__(self, stop: Callable[[], Awaitable[None]]) -> None:
        self._stop, self._client, self.closed = stop, self, 0

    async def stop(self) -> None:
        await self._stop()

    async def close(self) -> None:
        self.closed += 1


async def _cancelled() -> None:
    raise asyncio.CancelledError


async def _failed() -> None:
    raise KafkaError


async def _endless() -> None:
    await asyncio.sleep(3600)


async def _in_order() -> None:
    pass


@pytest.mark.parametrize(("stop", "closed"), [(_cancelled, 1), (_failed, 1), (_endless, 1), (_in_order, 0)])
async def test_connections_are_closed_where_a_stop_does_not_come_that_far(
    stop: Callable[[], Awaitable[None]], closed: int
) -> None:
    client = Stopping(stop)
    await let_go(client, 0.05)
    assert client.closed == closed


class StartedProducer(AIOKafkaProducer):  # type: ignore[misc]
    """A producer that records whether it was stopped, and does nothing else."""

    def __init__(self) -> None:
        self._closed = True
        self.ended: bool = False

    async def stop(self) -> None:
        self.ended = True


class StartedConsumer(AIOKafkaConsumer):  # type: ignore[misc]
    """The same for a consumer."""

    def __init__(self) -> None:
        self._closed = True
        self.ended: bool = False

    async def stop(self) -> None:
        self.ended = True


class StartedAdmin(AIOKafkaAdminClient):  # type: ignore[misc]
    """The same for an admin client."""

    def __init__(self) -> None:
        self.ended: bool = False

    async def close(self) -> None:
        self.ended = True


@pytest.mark.parametrize("kind", [StartedProducer, StartedConsumer, StartedAdmin])
async def test_who_is_cancelled_at_any_moment_leaves_no_client_connected(kind: type[Any]) -> None:
    came_back = set[bool]()
    for turns in range(8):
        client, answered = kind(), asyncio.Event()

        async def start(client: Any = client, answered: asyncio.Event = answered) -> Any:
            try:
                await answered.wait()
            except asyncio.CancelledError:
                client.ended = True
                raise
            return client

        reaching = asyncio.create_task(connect.reach(BROKER, start))
        for _ in range(4):
            await asyncio.sleep(0)
        answered.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        reaching.cancel()
        (outcome,) = list[Any](await asyncio.gather(reaching, return_exceptions=True))
        assert outcome is client or (isinstance(outcome, asyncio.CancelledError) and client.ended), turns
        came_back.add(outcome is client)
    assert came_back == {False, True}, "cancelled before and behind its end"


@pytest.mark.parametrize("ends", [True, False])
async def test_a_start_is_cancelled_only_when_it_does_not_end_by_itself(
    monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    monkeypatch.setattr(connect, "_GIVE_UP_S", PATIENCE_S if ends else 0.01)
    client, begun, answered, cancelled = StartedProducer(), asyncio.Event(), asyncio.Event(), list[bool]()

    async def start() -> StartedProducer:
        begun.set()
        try:
            await answered.wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return client

    reaching = asyncio.create_task(connect.reach(BROKER, start))
    await begun.wait()
    reaching.cancel()
    await asyncio.sleep(0)
    if ends:
        answered.set()
    with pytest.raises(asyncio.CancelledError):
        await reaching
    assert (client.ended, bool(cancelled)) == (ends, not ends)


async def test_a_first_question_is_not_cancelled_and_its_connection_is_closed() -> None:
    answered, closed = asyncio.Event(), asyncio.Event()

    class Client:
        """As aiokafka's: a connection is known to it only when the first question is answered."""

        cancelled = connected = False

        async def bootstrap(self) -> None:
            try:
                await answered.wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
            self.connected = True

        async def close(self) -> None:
            if self.connected:
                closed.set()

    client = Client()
    connect.ask_to_the_end(client)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await client.bootstrap()
    await client.close()
    answered.set()
    async with asyncio.timeout(PATIENCE_S):
        await closed.wait()
    assert not client.cancelled
