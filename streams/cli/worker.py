"""`sightline worker`: stages 1-5, two Faust apps in one process."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from streams import clock, files, settings, topology
from streams.cli.extending import operators_option
from streams.cli.measuring import exported, measured
from streams.cli.names import pair
from streams.cli.output import keys_option
from streams.cli.staying import stays
from streams.connection.address import broker_option
from streams.extras import require
from streams.kafka import tracing
from streams.kafka.groups import check_prefix
from streams.policy.load import load
from streams.printing import say
from streams.processing.operators import Operators
from streams.readiness import Ready
from streams.settings.kafka import Broker
from streams.urls import http_parts
from streams.worker.bootstrap import prepare
from streams.worker.run import WorkerSettings, run_worker


def _pairs(
    _context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    return tuple(pair(*text.partition("=")[::2]) for text in texts)


def _prefix(_context: click.Context, _parameter: click.Parameter, prefix: str) -> str:
    check_prefix(prefix)
    return prefix


def _collector(_context: click.Context, _parameter: click.Parameter, url: str | None) -> str | None:
    if url is None:
        return None
    parts = http_parts(url)
    if parts is None or parts.port == 0 or parts.query or parts.fragment:
        raise click.BadParameter(
            "found no address of a collector, expected one such as http://127.0.0.1:4318, without a name or "
            "password in it (OTEL_EXPORTER_OTLP_HEADERS has what a collector asks for)"
        )
    return url


@click.command("worker")
@broker_option()
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
@keys_option
@operators_option
@click.option(
    "--group-prefix",
    default=settings.GROUP_PREFIX,
    callback=_prefix,
    metavar="TEXT",
    help="What the names of the consumer groups begin with; the same for all workers of these topics."
    "  [default: the topic prefix]",
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
@click.option(
    "--traces-to",
    callback=_collector,
    metavar="URL",
    help="Send a span of each fetch and its stages to a collector of OpenTelemetry (OTLP over HTTP), such as"
    " http://127.0.0.1:4318.",
)
@measured
@stays
@click.pass_context
def command(
    context: click.Context,
    broker: Broker,
    policy: str,
    partitions: int,
    pairs: tuple[tuple[str, str], ...],
    keys: Path,
    operators: Operators,
    group_prefix: str,
    accept_loss: bool,
    metrics: Path | None,
    traces_to: str | None,
    metrics_port: int | None,
    metrics_host: str,
    ready_fd: int | None,
    ready_file: Path | None,
) -> None:
    """Run the stages zones, processing, assistant, feedback and training until Ctrl-C.

    Every batch is processed exactly once; on Ctrl-C the open transaction is finished or aborted.
    """
    # Check all settings before waiting for a broker.
    require("worker", *(("otel",) if traces_to else ()))
    load(policy, clock.date_today(), operators.kinds)
    if metrics is not None:
        with files.written(metrics):
            pass
    with Ready(ready_fd, ready_file) as ready, exported("worker", metrics_host, metrics_port):

        def on_ready() -> None:
            say(f"worker ready on {broker}")
            ready.say()

        told = WorkerSettings(
            broker, policy, partitions, pairs, accept_loss, group_prefix, metrics, operators, keys
        )
        with tracing.PROCESS.exporting(traces_to) if traces_to else contextlib.nullcontext():
            code = run_worker(told, prepare, on_ready)
    context.exit(code)
