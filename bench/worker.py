"""Ours as a subject: `sightline worker` under another agent's name.

`python -m bench.worker HOST:PORT --mode on --agent NAME` runs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from bench.cores import ForwardCore, ZonesCore, without_lineage
from streams import settings, topology
from streams.cli.staying import stays
from streams.events.record import Core
from streams.readiness import Ready
from streams.topology import CAPTURED, ZONED
from streams.worker import bootstrap
from streams.worker.run import WorkerContext, run_worker

MODES = ("forward", "zones", "off", "on")


def _core(mode: str, context: WorkerContext, target: str) -> Core[Any]:
    if mode == "forward":
        return ForwardCore(target)
    if mode == "zones":
        return ZonesCore(context.kept["tables"])
    return without_lineage(context.kept["tables"])


@click.command()
@click.argument("broker")
@click.option("--mode", type=click.Choice(MODES), default="on", show_default=True)
@click.option(
    "--agent",
    default="bench",
    show_default=True,
    help="Group, transactional ids and state are under this name.",
)
@click.option("--source", default=CAPTURED, show_default=True)
@click.option("--target", default=ZONED, show_default=True, help="Where mode forward writes.")
@stays
def main(
    *,
    broker: str,
    mode: str,
    agent: str,
    source: str,
    target: str,
    ready_fd: int | None,
    ready_file: Path | None,
) -> None:
    """Run one worker until a signal."""
    # Every run reads the same topic from its beginning: what remembers how far it came is the agent's name.
    topology.AGENTS = {**topology.AGENTS, agent: source}

    def make_cores(context: WorkerContext) -> Mapping[str, Core[Any]]:
        cores = (
            dict(bootstrap.make_cores(context)) if mode == "on" else {"glasses": _core(mode, context, target)}
        )
        return {agent: cores.pop("glasses"), **cores}

    with Ready(ready_fd, ready_file) as ready:
        code = run_worker(broker, settings.POLICY, make_cores, prepare=bootstrap.prepare, on_ready=ready.say)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
