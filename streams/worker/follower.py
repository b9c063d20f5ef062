"""Follow a topic that a worker reads completely."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiokafka import ConsumerRecord

from streams import clock, limits, metrics
from streams.ends import end_with
from streams.errors import MalformedError, called_off, reason
from streams.events.record import Received
from streams.kafka.reader import Follower
from streams.settings.kafka import Broker
from streams.waiting import saying

log = logging.getLogger(__name__)

_POLL_MS = 200
_OPEN_TRANSACTION_S = limits.TRANSACTION_TIMEOUT_MS / 1000 + 5.0
_RETRY_PAUSE_S = limits.CONNECTION_BACKOFF_MAX_S
OnRecord = Callable[[Received], Awaitable[None] | None]


class TableFollower:
    """Follows a compacted topic and passes every record to a callback.

    It first reads all records up to the end of the topic, then new records as they arrive.

    Delivery: each committed record at least once per process, in order within a partition, in the event loop
    in which `start` ran. A record for which the callback raises any error is counted, logged and skipped;
    there is no transaction here in which it could be rejected. If the callback waits, only this topic waits.
    """

    def __init__(self, broker: Broker, topic: str, on_record: OnRecord) -> None:
        self._broker, self._topic, self._on_record = broker, topic, on_record
        self._follower = Follower(broker, topic)
        self._task: asyncio.Task[None] | None = None
        self.refused = 0

    async def start(self) -> None:
        """Read to the (uncommitted) end of the topic, then follow it in the background.

        A transaction that is open for longer than allowed is hanging; it is not waited for. The next owner of
        its producer ends it, which may be this very worker.

        Raises
        ------
        UnavailableError
            The broker or the topic is absent.
        """
        async with saying(f"{self._topic} to be read to its end"):
            await self._read_to_end()
        self._task = asyncio.create_task(self._follow(), name=f"follower of {self._topic}")
        # The worker ends with this task, because it must not run without news of policies and consents.
        self._task.add_done_callback(end_with)

    async def _read_to_end(self) -> None:
        await self._follower.start()
        end = await self._follower.end_offsets()
        until_s = clock.monotonic_s() + _OPEN_TRANSACTION_S
        while any(
            offset < end[partition] for partition, offset in (await self._follower.positions()).items()
        ):
            if clock.monotonic_s() > until_s:
                log.warning(
                    "An open transaction hides the end of %s since more than %.0f s; gone on without it",
                    self._topic,
                    _OPEN_TRANSACTION_S,
                )
                break
            await self._poll()

    async def stop(self) -> None:
        """Stop following. Does nothing if not started."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._follower.stop()

    async def _follow(self) -> None:
        failed = 0
        while True:
            try:
                await self._poll()
                if failed:
                    log.warning("Following %s goes on after %d attempts that failed", self._topic, failed)
                failed = 0
            except (
                BaseException
            ) as error:  # otherwise the task would end and leave the worker with an old table
                if _called_off(error):
                    raise
                failed += 1
                metrics.count("follow_failed_total", topic=self._topic)
                # Log the 1st, 2nd, 4th, 8th ... failure in a row.
                if failed & (failed - 1) == 0:
                    log.warning(
                        "Following %s failed %d times in a row, tried again every %.0f s; this worker goes on"
                        " with what it has read of it: %s",
                        self._topic,
                        failed,
                        _RETRY_PAUSE_S,
                        reason(error),
                    )
                await asyncio.sleep(_RETRY_PAUSE_S)

    async def _poll(self) -> None:
        for records in (await self._follower.poll(_POLL_MS, limits.FETCH_RECORDS_MAX)).values():
            for record in records:
                await self.take(record)

    async def take(self, record: ConsumerRecord) -> None:
        """Pass one record to the callback; all errors except a request to end are counted and logged."""
        try:
            waited = self._on_record(record)
            if waited is not None:
                await waited
        except BaseException as error:  # a bad record must not stop the worker; a Rust panic is no Exception
            if _called_off(error):
                raise
            self.refused += 1
            metrics.count("passed_over_total", topic=self._topic)
            if self.refused > limits.PASSED_OVER_SAID_MAX and self.refused % limits.PASSED_OVER_SAID_MAX:
                return
            place = f"{self._topic} partition {record.partition} offset {record.offset}"
            # Without the traceback, because messages of foreign exceptions may quote values.
            why = str(error) if isinstance(error, MalformedError) else type(error).__name__
            log.error("%s is passed over (%d so far): %s", place, self.refused, why)  # noqa: TRY400
            if self.refused == limits.PASSED_OVER_SAID_MAX:
                log.error("Of what else is passed over on %s, one in %d is said", self._topic, self.refused)  # noqa: TRY400


def _called_off(error: BaseException) -> bool:
    """Whether an error is a request to end the current task; cancellation of another task is a failure."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0
    return isinstance(error, called_off())
