"""One way to reach a broker: what ends it, what does not, and whether the client is heard afterwards."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator

import pytest
from aiokafka.errors import KafkaError, RequestTimedOutError, TopicAuthorizationFailedError

from streams import connection, logs
from streams.errors import InputError, UnavailableError

BROKER = "127.0.0.1:9"


class Client:
    """Answers with each of some errors once, then starts."""

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
        await connection.reach(BROKER, client.start, 60.0)
    assert client.attempts == 1


async def test_an_error_that_passes_is_tried_again() -> None:
    client = Client(RequestTimedOutError())
    assert await connection.reach(BROKER, client.start, 60.0) == "started"
    assert client.attempts == 2


async def test_a_wait_without_an_end_outlasts_whatever_the_broker_answers() -> None:
    client = Client(TopicAuthorizationFailedError(), KafkaError())
    assert await connection.reach(BROKER, client.start, math.inf) == "started"
    assert client.attempts == 3


async def test_a_client_stays_silent_for_a_program_that_reports_by_itself(client_log: logging.Logger) -> None:
    await connection.reach(BROKER, Client().start, client_logs=False)
    assert client_log.level == logging.CRITICAL
    await connection.reach(BROKER, Client().start)
    assert client_log.level == logging.NOTSET


async def test_an_address_that_is_none_is_wrong_input() -> None:
    with pytest.raises(InputError, match=r"'127\.0\.0\.1': found no address of a Kafka, expected HOST:PORT"):
        await connection.reach("127.0.0.1", Client().start)
