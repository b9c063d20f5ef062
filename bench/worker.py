"""Sightline as a subject: `sightline worker` with another agent name.

`python -m bench.worker HOST:PORT --mode on --agent NAME --keys DIRECTORY` runs it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from bench.cores import ForwardCore, ZonesCore, without_lineage
from streams import settings
from streams.cli.staying import stays
from streams.events.record import AgentSpec, LiveCore
from streams.pipeline.followed import Followed
from streams.readiness import Ready
from streams.topology import CAPTURED, ZONED
from streams.worker import bootstrap
from streams.worker.run import WorkerContext, WorkerSettings, run_worker

MODES = ("forward", "zones", "off", "on")


def _core(mode: str, followed: Followed, target: str) -> LiveCore[Any]:
    if mode == "forward":
        return ForwardCore(target)
    if mode == "zones":
        return ZonesCore(followed)
    return without_lineage(followed)


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
@click.option(
    "--keys",
    type=click.Path(path_type=Path),
    required=True,
    help="Directory of the key store: one for all that run on the same broker.",
)
@stays
def main(
    *,
    broker: str,
    mode: str,
    agent: str,
    source: str,
    target: str,
    keys: Path,
    ready_fd: int | None,
    ready_file: Path | None,
) -> None:
    """Run one worker until a signal."""

    async def prepare(context: WorkerContext) -> list[AgentSpec]:
        # Every run reads the topic from the beginning, because committed offsets belong to the agent's name.
        if mode == "on":
            glasses, training = await bootstrap.prepare(context)
            return [replace(glasses, name=agent, topic=source), training]
        followed = await bootstrap.followed_topics(context)
        return [AgentSpec(agent, source, _core(mode, followed, target))]

    with Ready(ready_fd, ready_file) as ready:
        code = run_worker(WorkerSettings(broker, settings.POLICY, keys=keys), prepare, ready.say)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
