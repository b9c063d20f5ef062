"""Connecting to a broker, for at most a given time.

Every Kafka client of this repository starts through `reach`, so an absent broker is reported in one sentence.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, KafkaError

from streams import clock, limits, logs
from streams.connection.credentials import client_options
from streams.connection.refusal import refusal
from streams.errors import UnavailableError
from streams.settings.kafka import OAUTH, Broker, KafkaSettings

log = logging.getLogger(__name__)

WAIT_S_DEFAULT = 5.0
STOP_WAIT_S = 2.0
_BACKOFF_FIRST_S = 0.1
_GIVE_UP_S = 1.0
#: Tasks that outlive who began them; asyncio itself keeps none.
_LATE = set[asyncio.Future[None]]()

T = TypeVar("T")


async def reach(
    broker: Broker,
    start: Callable[[], Awaitable[T]],
    wait_s: float = WAIT_S_DEFAULT,
    *,
    client_logs: bool = True,
) -> T:
    """Call `start` until it reaches the broker, with pauses growing to 1 s, for at most `wait_s` seconds.

    With an infinite `wait_s` every error of the broker is retried. With `client_logs` the Kafka client's own
    errors are logged from now on; without it they stay unlogged, because the program reports them itself.

    Raises
    ------
    UnavailableError
        `broker` did not answer in that time, answered with an error that is not temporary, or refuses clients
        with these settings; a refusal is detected within REFUSAL_LOOK_S plus REFUSAL_WAIT_S for each address.
        The message names the address and what to do.
    InputError
        `broker` is not HOST:PORT, or a file that its settings name cannot be read.
    """
    deadline_s = clock.monotonic_s() + wait_s
    pause_s = _BACKOFF_FIRST_S
    kafka = KafkaSettings.of(broker)
    while True:
        try:
            started = await _begun(kafka, start, final=not math.isinf(wait_s))
        except KafkaConnectionError as error:
            if clock.monotonic_s() + pause_s > deadline_s:
                raise UnavailableError(absent(broker, wait_s)) from error
        except KafkaError as error:
            final = not error.retriable and not math.isinf(wait_s)
            if final or clock.monotonic_s() + pause_s > deadline_s:
                raise UnavailableError(
                    f"The broker {broker} answered with an error: {error!r}. Look into its log."
                ) from error
        else:
            if client_logs:
                logs.connected()
            return started
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, limits.CONNECTION_BACKOFF_MAX_S)


async def _begun(kafka: KafkaSettings, start: Callable[[], Awaitable[T]], *, final: bool) -> T:
    """Call `start`; if it fails or takes long, check whether the broker refuses clients with these settings.

    aiokafka reports a wrong password, an untrusted certificate and an absent broker by the same error, and
    waits 40 s for an answer of a broker that expects TLS. A refusal is raised if `final`; otherwise it is
    logged and retried.
    """
    if kafka.mechanism == OAUTH:
        # aiokafka takes the refusal of a token for success, and would start with a cluster of no brokers.
        await _check_taken(kafka, final=final)
    starting = asyncio.ensure_future(start())
    try:
        await asyncio.wait((starting,), timeout=limits.REFUSAL_LOOK_S)
        failed = starting.done() and isinstance(starting.exception(), KafkaConnectionError)
        if failed or not starting.done():
            await _check_taken(kafka, final=final)
        return await starting
    except BaseException:
        await _give_up(starting)
        raise


async def _give_up(starting: asyncio.Future[T]) -> None:
    """End a start whose result is no longer needed, and close the client that it made.

    It gets _GIVE_UP_S to end by itself. If it were cancelled at once, aiokafka could lose the connection by
    which it asks for the brokers (`AIOKafkaClient.bootstrap`), and asyncio one whose TLS has not begun.
    """
    try:
        await asyncio.wait((starting,), timeout=_GIVE_UP_S)
    finally:
        starting.cancel()
        (ended,) = await asyncio.gather(starting, return_exceptions=True)
        if not isinstance(ended, BaseException):
            await _release(ended)


def ask_to_the_end(client: AIOKafkaClient) -> None:
    """Let a client's first question go on if whoever awaits it is cancelled, and close the client then.

    aiokafka would lose the connection by which it asks for the brokers (`AIOKafkaClient.bootstrap`).
    """
    bootstrap = client.bootstrap

    async def ask() -> None:
        asking = asyncio.ensure_future(bootstrap())
        try:
            await asyncio.shield(asking)
        except asyncio.CancelledError:
            late = asyncio.ensure_future(_closed_behind(asking, client))
            _LATE.add(late)
            late.add_done_callback(_LATE.discard)
            raise

    client.bootstrap = ask


async def _closed_behind(asking: asyncio.Future[None], client: AIOKafkaClient) -> None:
    # Its failure is nobody's any more.
    await asyncio.gather(asking, return_exceptions=True)
    await _done(client.close(), STOP_WAIT_S)


async def _check_taken(kafka: KafkaSettings, *, final: bool) -> None:
    """Raise if every broker refuses clients with these settings."""
    if sentence := await refusal(kafka):
        if final:
            raise UnavailableError(sentence)
        log.warning("%s It is tried again", sentence)
        raise KafkaConnectionError


@asynccontextmanager
async def administering(broker: Broker, wait_s: float = WAIT_S_DEFAULT) -> AsyncIterator[AIOKafkaAdminClient]:
    """Yield an admin client, closed after the block; UnavailableError if `broker` is absent for `wait_s`."""

    async def start() -> AIOKafkaAdminClient:
        admin = AIOKafkaAdminClient(**client_options(broker))
        try:
            await admin.start()
        except BaseException:
            await admin.close()
            raise
        return admin

    admin = await reach(broker, start, wait_s)
    try:
        yield admin
    finally:
        await admin.close()


async def _release(started: object) -> None:
    """Close a client that `start` returned; other results need no closing."""
    if isinstance(started, AIOKafkaAdminClient):
        await _done(started.close(), STOP_WAIT_S)
    elif isinstance(started, AIOKafkaConsumer | AIOKafkaProducer):
        await let_go(started)


async def let_go(client: Any, wait_s: float = STOP_WAIT_S) -> None:
    """Stop a consumer or a producer within twice `wait_s` seconds, whatever the broker does.

    It runs as a task of its own: without a broker, aiokafka's `stop` can end with the cancellation of one of
    its parts, which would otherwise cancel the caller.
    """
    if not await _done(client.stop(), wait_s):
        # `stop` closes the connections last. If it did not get there, they are closed here, not by the
        # garbage collector.
        await _done((client.client if hasattr(client, "client") else client._client).close(), wait_s)


async def _done(stop: Coroutine[Any, Any, None], wait_s: float) -> bool:
    """Run `stop`, cancelled after `wait_s` seconds; return whether it finished without an error."""
    stopping = asyncio.ensure_future(stop)
    await asyncio.wait((stopping,), timeout=wait_s)
    if not stopping.done():
        stopping.cancel()
        return False
    if stopping.cancelled():
        return False
    if stopping.exception() is not None:
        log.debug("a Kafka client did not stop in order: %r", stopping.exception())
    return stopping.exception() is None


def absent(broker: Broker, wait_s: float) -> str:
    """Return the sentence about a broker that did not answer in `wait_s` seconds."""
    return (
        f"No Kafka answers at {broker} (tried for {wait_s:g} s). Start one with `sightline broker`, "
        "or name the one that runs with --broker HOST:PORT."
    )
