"""One worker process: both Faust apps in one event loop, and followers of what every worker reads whole."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faust
from aiokafka import ConsumerRecord

from streams import clock, files, limits, metrics, topology
from streams.cycles import collect_cycles
from streams.ends import End, end_process, end_with
from streams.errors import InputError, MalformedError, SightlineError, UnavailableError, called_off, reason
from streams.events.record import Core, Received
from streams.kafka.lookout import Lookout
from streams.kafka.reader import Follower
from streams.kafka.standing import refuse_losses
from streams.kafka.topics import declare
from streams.kafka.transport import NOTHING_LOST
from streams.waiting import saying
from streams.worker.agents import build_app

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 4.5
_POLL_MS = 200
_OPEN_TRANSACTION_S = limits.TRANSACTION_TIMEOUT_MS / 1000 + 5.0
_RETRY_PAUSE_S = limits.CONNECTION_BACKOFF_MAX_S
OnRecord = Callable[[Received], Awaitable[None] | None]


class TableFollower:
    """Follows a compacted topic: every record goes to a callback.

    First all to the end as it is at the start, then as they come.

    Delivery: each committed record at least once per process, in order within a partition, in the loop that
    `start` ran in. A record that the callback refuses, whatever it raises, is counted, said aloud and passed
    over: there is no transaction here to reject it in. Of a callback that has to wait, only this topic waits.
    """

    def __init__(self, broker: str, topic: str, on_record: OnRecord) -> None:
        self._broker, self._topic, self._on_record = broker, topic, on_record
        self._follower = Follower(broker, topic)
        self._task: asyncio.Task[None] | None = None
        self.refused = 0

    async def start(self) -> None:
        """Read to the (uncommitted) end of the topic, then follow it in the background.

        A transaction that is open longer than any may be hangs; its records are none, and who owns its
        producer ends it. Whoever waited for that here could be the very one that would end it.

        Raises
        ------
        UnavailableError
            The broker or the topic is absent.
        """
        async with saying(f"{self._topic} to be read to its end"):
            await self._read_to_end()
        self._task = asyncio.create_task(self._follow(), name=f"follower of {self._topic}")
        # A worker that is deaf to a policy or a consent must not go on.
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
        """Stop following. Does nothing when not started."""
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
            ) as error:  # a follower that dies silently leaves the worker with an old table
                if _called_off(error):
                    raise
                failed += 1
                metrics.count("follow_failed_total", topic=self._topic)
                # Said at the 1st, 2nd, 4th, 8th ... in a row.
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
        """Give one record to the callback; whatever it raises is counted and said, except that we end."""
        try:
            waited = self._on_record(record)
            if waited is not None:
                await waited
        except BaseException as error:  # a bad record must not stop the worker, a panic is no Exception
            if _called_off(error):
                raise
            self.refused += 1
            metrics.count("passed_over_total", topic=self._topic)
            if self.refused > limits.PASSED_OVER_SAID_MAX and self.refused % limits.PASSED_OVER_SAID_MAX:
                return
            place = f"{self._topic} partition {record.partition} offset {record.offset}"
            # Without the traceback: foreign exceptions quote the value they choke on.
            why = str(error) if isinstance(error, MalformedError) else type(error).__name__
            log.error("%s is passed over (%d so far): %s", place, self.refused, why)  # noqa: TRY400
            if self.refused == limits.PASSED_OVER_SAID_MAX:
                log.error("Of what else is passed over on %s, one in %d is said", self._topic, self.refused)  # noqa: TRY400


def _called_off(error: BaseException) -> bool:
    """Whether somebody wants an end of the task that runs; a cancellation of something else is a failure."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0
    return isinstance(error, called_off())


@dataclass
class WorkerContext:
    """What cores are made from: the broker, the policy of the command line, and what `prepare` read before.

    `accept_loss`: go on behind records that were removed before they were read. `prefix` is what the names of
    consumer groups begin with.

    `kept` is for `prepare` to leave things (a model registry, the policy) where `make_cores` finds them,
    `closing` for what must be closed when the worker stops. `directory` is the worker's own, which goes with
    it; None where there is none.
    """

    broker: str
    policy: str
    partitions: int
    pairs: Sequence[tuple[str, str]] = ()
    accept_loss: bool = False
    prefix: str = ""
    kept: dict[str, Any] = field(default_factory=dict)
    followers: list[TableFollower] = field(default_factory=list)
    closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    directory: Path | None = None

    async def follow(self, topic: str, on_record: OnRecord) -> TableFollower:
        """Read `topic` to its end through `on_record`, and go on following it until the worker stops."""
        follower = TableFollower(self.broker, topic, on_record)
        # Before its start, which may be given up in the middle.
        self.followers.append(follower)
        await follower.start()
        return follower


MakeCores = Callable[[WorkerContext], Mapping[str, Core[Any]]]
Prepare = Callable[[WorkerContext], Awaitable[None]]


async def _no_preparation(_context: WorkerContext) -> None:
    """Do nothing before the apps start."""


def run_worker(
    broker: str,
    policy: str,
    make_cores: MakeCores,
    *,
    prepare: Prepare = _no_preparation,
    partitions: int = topology.PARTITIONS_DEFAULT,
    pairs: Sequence[tuple[str, str]] = (),
    accept_loss: bool = False,
    prefix: str = "",
    on_ready: Callable[[], None] = lambda: None,
    metrics_path: Path | None = None,
) -> int:
    """Run the agents until SIGINT or SIGTERM; returns the exit code.

    Delivery: exactly once, per agent. On a signal open transactions are finished or aborted and the groups
    are left at once, within 5 s.

    Parameters
    ----------
    broker
        `host:port`; the topics of `topology` are declared on it first.
    policy
        Handed on to `prepare` and `make_cores`.
    make_cores
        The core of each agent to run, by agent name; called after `prepare`.
    prepare
        Awaited in the worker's loop once the topics are there and before the cores are made.
    partitions
        Partition count of the topics that follow devices.
    pairs
        (device, wearer) that the operator binds by configuration.
    accept_loss
        Records that were removed before they were read are put on record and left behind.
    prefix
        What the names of the agents' consumer groups begin with.
    on_ready
        Called once both apps have started.
    metrics_path
        File to which `streams.metrics` is written every METRICS_INTERVAL_S; none when None.

    Raises
    ------
    UnavailableError
        The broker is absent.
    InputError
        The topics are not as declared, or records were removed before they were read.
    """

    async def work() -> int:
        measuring = asyncio.create_task(_write_metrics(metrics_path)) if metrics_path else None
        try:
            context = WorkerContext(broker, policy, partitions, pairs, accept_loss, prefix)
            return await _run(context, make_cores, prepare, on_ready)
        finally:
            if measuring is not None:
                measuring.cancel()

    return asyncio.run(work())


async def _write_metrics(path: Path) -> None:
    """Write the metrics again and again, and once more when cancelled: the last word is how it ended."""
    while True:
        try:
            await asyncio.sleep(limits.METRICS_INTERVAL_S)
        finally:
            try:
                metrics.write(path)
            except (OSError, InputError) as error:
                log.warning("Metrics could not be written: %s", reason(error))


async def _run(
    context: WorkerContext, make_cores: MakeCores, prepare: Prepare, on_ready: Callable[[], None]
) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    work = asyncio.create_task(_serve(context, make_cores, prepare, stop, on_ready))
    asked = asyncio.create_task(stop.wait())
    await asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
    if not work.done():
        # `_serve` has seen the same event: it gives up what it prepares, or stops the apps in order.
        done, _ = await asyncio.wait({work}, timeout=STOP_TIMEOUT_S)
        if not done:
            end_process(
                f"The worker did not stop within {STOP_TIMEOUT_S:.1f} s; {NOTHING_LOST}", end=End.SLOW
            )
    asked.cancel()
    await work
    return 0


async def _serve(
    context: WorkerContext,
    make_cores: MakeCores,
    prepare: Prepare,
    stop: asyncio.Event,
    on_ready: Callable[[], None],
) -> None:
    apps: list[faust.App] = []
    beside: list[asyncio.Task[None]] = []
    with (
        files.working_directory("worker") as directory,
        context.closing,
    ):
        context.directory = Path(directory)
        try:
            if not await _prepared(context, prepare, stop):
                return
            cores = make_cores(context)
            if not context.accept_loss:
                await refuse_losses(context.broker, cores, context.prefix)
            apps += [_app(context, name, core, directory / name) for name, core in cores.items()]
            lookout = Lookout(context.broker, context.partitions, [app.consumer for app in apps])
            # Before the apps: the start of one waits for its first assignment, however long that takes.
            beside.append(asyncio.create_task(lookout.run(), name="lookout"))
            beside[0].add_done_callback(end_with)
            for app in apps:
                await app.start()
            beside.append(asyncio.create_task(collect_cycles()))
            on_ready()
            await _until_stopped(apps, stop)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(
                *(app.stop() for app in apps), *(follower.stop() for follower in context.followers)
            )


def _app(context: WorkerContext, name: str, core: Core[Any], directory: Path) -> faust.App:
    return build_app(
        name,
        core,
        context.broker,
        directory,
        prefix=context.prefix,
        partitions=context.partitions,
        accept_loss=context.accept_loss,
    )


async def _prepared(context: WorkerContext, prepare: Prepare, stop: asyncio.Event) -> bool:
    """Prepare, and return True; False when the worker is asked to stop meanwhile.

    Nothing is open yet that is worth the wait.
    """

    async def work() -> None:
        await declare(context.broker, context.partitions)
        await prepare(context)

    preparing, asked = asyncio.create_task(work()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({preparing, asked}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        asked.cancel()
        preparing.cancel()
        await asyncio.gather(preparing, return_exceptions=True)
    if stop.is_set():
        return False
    preparing.result()
    return True


async def _until_stopped(apps: list[faust.App], stop: asyncio.Event) -> None:
    waits = [
        asyncio.create_task(stop.wait()),
        *(asyncio.create_task(app.wait_until_stopped()) for app in apps),
    ]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*waits, return_exceptions=True)
    for app in apps:
        if app.crash_reason is not None:
            raise UnavailableError(
                f"The agent {app.conf.id} crashed: {reason(app.crash_reason)}. Start the worker again."
            ) from app.crash_reason
    if not stop.is_set():
        raise SightlineError(
            "An agent stopped although nobody asked it to. Start the worker again, and look into its log."
        )
