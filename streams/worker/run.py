"""One worker process: its Faust apps and the followers of topics, in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import faust
from aiokafka.errors import KafkaConnectionError

from streams import files, limits, metrics, topology
from streams.cycles import collect_cycles
from streams.ends import NOTHING_LOST, End, end_process, end_with
from streams.errors import InputError, SightlineError, UnavailableError, reason
from streams.events.record import AgentSpec
from streams.kafka.lookout import Lookout
from streams.kafka.standing import refuse_losses
from streams.kafka.topics import declare
from streams.processing.operators import Operators
from streams.processing.shipped import SHIPPED_OPERATORS
from streams.settings import KEYS
from streams.settings.kafka import Broker, KafkaSettings
from streams.worker.agents import build_app
from streams.worker.follower import OnRecord, TableFollower

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 4.5
_OWNED_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Settings of a worker.

    Parameters
    ----------
    broker
        `host:port`; the topics of `topology` are declared on it first.
    policy
        Name or TOML file of a policy, for topics that have none yet.
    partitions
        Partition count of the topics that are partitioned by device.
    pairs
        (device, wearer) that the operator pairs by configuration.
    accept_loss
        Skip records that were deleted before they were read, and record the loss.
    group_prefix
        Prefix of the names of the agents' consumer groups; if it is empty, the topic prefix is used.
    metrics_path
        File to which the metrics are written every METRICS_INTERVAL_S; None: not written.
    operators
        The shipped operators, and those of extensions.
    keys
        Directory of the key store, which is made if the topics have nothing that is sealed.
    """

    broker: Broker
    policy: str
    partitions: int = topology.PARTITIONS_DEFAULT
    pairs: Sequence[tuple[str, str]] = ()
    accept_loss: bool = False
    group_prefix: str = ""
    metrics_path: Path | None = None
    operators: Operators = SHIPPED_OPERATORS
    keys: Path = KEYS

    @property
    def groups_begin_with(self) -> str:
        """What the names of the agents' groups begin with."""
        return KafkaSettings.of(self.broker).group_prefix(self.group_prefix)


@dataclass
class WorkerContext:
    """What `prepare` needs to make agents: settings, a way to follow topics, and a directory.

    `closing` collects what must be closed when the worker stops. `directory` is the worker's temporary
    directory; None if there is none.
    """

    settings: WorkerSettings
    directory: Path | None = None
    followers: list[TableFollower] = field(default_factory=list)
    closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    async def follow(self, topic: str, on_record: OnRecord) -> TableFollower:
        """Read `topic` to its end with `on_record`, and follow it until the worker stops."""
        follower = TableFollower(self.settings.broker, topic, on_record)
        # Registered before the start, which may be cancelled.
        self.followers.append(follower)
        await follower.start()
        return follower


#: Reads what agents need before they start, and returns the agents to run.
Prepare = Callable[[WorkerContext], Awaitable[Sequence[AgentSpec]]]


def run_worker(
    settings: WorkerSettings, prepare: Prepare, on_ready: Callable[[], None] = lambda: None
) -> int:
    """Run the agents until SIGINT or SIGTERM; returns the exit code.

    Delivery: exactly once, per agent. On a signal, open transactions are finished or aborted and the worker
    leaves its groups, within 5 s. `prepare` is awaited in the worker's event loop when the topics exist;
    `on_ready` is called when all apps have started and own the partitions that they were assigned. A
    partition that cannot be owned ends the process before that.

    Raises
    ------
    UnavailableError
        The broker is absent.
    InputError
        The topics are not as declared, or records were deleted before they were read.
    """

    async def work() -> int:
        path = settings.metrics_path
        measuring = asyncio.create_task(_write_metrics(path)) if path else None
        try:
            return await _run(settings, prepare, on_ready)
        finally:
            if measuring is not None:
                measuring.cancel()

    return asyncio.run(work())


async def _write_metrics(path: Path) -> None:
    """Write the metrics periodically, and once more when cancelled, so that the file has the final values."""
    # Loads the Prometheus client, which nothing else needs.
    from streams.metrics.exposition import write  # noqa: PLC0415

    while True:
        try:
            await asyncio.sleep(limits.METRICS_INTERVAL_S)
        finally:
            try:
                write(path, metrics.PROCESS)
            except (OSError, InputError) as error:
                log.warning("Metrics could not be written: %s", reason(error))


async def _run(settings: WorkerSettings, prepare: Prepare, on_ready: Callable[[], None]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    work = asyncio.create_task(_serve(settings, prepare, stop, on_ready))
    asked = asyncio.create_task(stop.wait())
    await asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
    if not work.done():
        # `_serve` waits for the same event: it cancels the preparation, or stops the apps in order.
        done, _ = await asyncio.wait({work}, timeout=STOP_TIMEOUT_S)
        if not done:
            end_process(
                f"The worker did not stop within {STOP_TIMEOUT_S:.1f} s; {NOTHING_LOST}", end=End.SLOW
            )
    asked.cancel()
    await work
    return 0


async def _serve(
    settings: WorkerSettings, prepare: Prepare, stop: asyncio.Event, on_ready: Callable[[], None]
) -> None:
    apps: list[faust.App] = []
    helpers: list[asyncio.Task[None]] = []
    with files.working_directory("worker") as directory:
        context = WorkerContext(settings, directory)
        with context.closing:
            try:
                specs = await _prepared(context, prepare, stop)
                if specs is None:
                    return
                if not settings.accept_loss:
                    await refuse_losses(settings.broker, specs, settings.groups_begin_with)
                apps += [_app(settings, spec, directory / spec.name) for spec in specs]
                lookout = Lookout(settings.broker, settings.partitions, [app.consumer for app in apps])
                context.closing.callback(metrics.before_reading(lookout.show))
                # Started before the apps, because an app's start waits for its first assignment for any time.
                helpers.append(asyncio.create_task(lookout.run(), name="lookout"))
                helpers[0].add_done_callback(end_with)
                for app in apps:
                    await _started(app, settings.broker)
                helpers.append(asyncio.create_task(collect_cycles()))
                if await _owned(apps, stop):
                    on_ready()
                await _until_stopped(apps, stop)
            finally:
                for helper in helpers:
                    helper.cancel()
                await asyncio.gather(
                    *(app.stop() for app in apps), *(follower.stop() for follower in context.followers)
                )


def _app(settings: WorkerSettings, spec: AgentSpec, directory: Path) -> faust.App:
    return build_app(
        spec,
        settings.broker,
        directory,
        prefix=settings.groups_begin_with,
        partitions=settings.partitions,
        accept_loss=settings.accept_loss,
    )


async def _started(app: faust.App, broker: Broker) -> None:
    """Start an app and wait for its first assignment; UnavailableError if the broker fails meanwhile."""
    try:
        await app.start()
    except KafkaConnectionError as error:
        raise UnavailableError(
            f"The broker {broker} went away while the agent {app.conf.id} started. Start the worker again."
        ) from error


async def _owned(apps: Sequence[faust.App], stop: asyncio.Event) -> bool:
    """Wait until every assigned partition is owned; return False if the worker stops before that.

    Only an owner finds out whether state, commit and log of its partition fit, and ends the process if not.
    """
    while not (stop.is_set() or any(app.should_stop for app in apps)):
        if all(len(app.consumer.ownerships()) >= len(app.consumer.assignment()) for app in apps):
            return True
        await asyncio.sleep(_OWNED_LOOK_S)
    return False


async def _prepared(
    context: WorkerContext, prepare: Prepare, stop: asyncio.Event
) -> Sequence[AgentSpec] | None:
    """Prepare, and return the agents; None if the worker is asked to stop meanwhile.

    The preparation is then cancelled at once, because there is nothing to finish yet.
    """

    async def work() -> Sequence[AgentSpec]:
        await declare(context.settings.broker, context.settings.partitions)
        return await prepare(context)

    preparing, asked = asyncio.create_task(work()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({preparing, asked}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        asked.cancel()
        preparing.cancel()
        await asyncio.gather(preparing, return_exceptions=True)
    return None if stop.is_set() else preparing.result()


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
