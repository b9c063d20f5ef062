"""`sightline worker`: stages 1-5, two Faust apps in one process."""

from __future__ import annotations

from pathlib import Path

import click

from streams import clock, files, settings, topology
from streams.cli.names import pair
from streams.cli.staying import stays
from streams.connection.address import ADDRESS
from streams.connection.settings import Broker
from streams.kafka.groups import check_prefix
from streams.policy.load import load
from streams.printing import say
from streams.readiness import Ready
from streams.worker.bootstrap import prepare
from streams.worker.run import WorkerSettings, run_worker


def _pairs(
    _context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    return tuple(pair(*text.partition("=")[::2]) for text in texts)


def _prefix(_context: click.Context, _parameter: click.Parameter, prefix: str) -> str:
    check_prefix(prefix)
    return prefix


@click.command("worker")
@click.option(
    "--broker", type=ADDRESS, default=settings.BROKER, show_default=True, help="HOST:PORT of the Kafka."
)
@click.option(
    "--policy",
    default=settings.POLICY,
    show_default=True,
    help="Policy name or TOML file, for a broker that has none yet.",
)
@click.option(
    "--partitions",
    default=topology.PARTITIONS_DEFAULT,
    show_default=True,
    help="Partitions of the topics that follow devices; must be what the topics have.",
)
@click.option(
    "--pair",
    "pairs",
    multiple=True,
    default=settings.PAIRS,
    callback=_pairs,
    metavar="DEVICE=WEARER",
    help="Bind a device to a wearer, if it never was; may be given several times.",
)
@click.option(
    "--group-prefix",
    default=settings.GROUP_PREFIX,
    callback=_prefix,
    metavar="TEXT",
    help="What the names of the consumer groups begin with; the same for all workers of these topics.",
)
@click.option(
    "--accept-loss",
    is_flag=True,
    help="Go on behind records that were removed before they were read, and record them as missing.",
)
@click.option(
    "--metrics",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write counts and gauges here every 5 s, as text that Prometheus collects.",
)
@stays
@click.pass_context
def command(
    context: click.Context,
    broker: Broker,
    policy: str,
    partitions: int,
    pairs: tuple[tuple[str, str], ...],
    group_prefix: str,
    accept_loss: bool,
    metrics: Path | None,
    ready_fd: int | None,
    ready_file: Path | None,
) -> None:
    """Run the stages zones, processing, assistant, feedback and training until Ctrl-C.

    Every batch is processed exactly once; on Ctrl-C the open transaction is finished or aborted.
    """
    # What can be wrong is found before a broker is waited for.
    load(policy, clock.date_today())
    if metrics is not None:
        with files.written(metrics):
            pass
    with Ready(ready_fd, ready_file) as ready:

        def on_ready() -> None:
            say(f"worker ready on {broker}")
            ready.say()

        told = WorkerSettings(broker, policy, partitions, pairs, accept_loss, group_prefix, metrics)
        code = run_worker(told, prepare, on_ready)
    context.exit(code)
