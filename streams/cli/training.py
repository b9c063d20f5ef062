"""`sightline training`: what the next training run would do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
from msgspec import to_builtins

from streams import clock, limits
from streams.cli.extending import kinds_option
from streams.cli.output import emit_facts, emit_json, emit_rows, json_option, keys_option
from streams.connection.address import broker_option
from streams.connection.connect import WAIT_S_DEFAULT
from streams.errors import InputError
from streams.events.codec import codec_of
from streams.events.kinds import Kinds
from streams.extras import require
from streams.kafka import checkpoint
from streams.pipeline.next_run import NextRun, next_run
from streams.pipeline.training_state import STATE_KEY, TrainingState
from streams.printing import say
from streams.settings.kafka import Broker
from streams.training.seed import licensed
from streams.worker.models import known_models
from streams.worker.sealing import examples_of


@click.command("training")
@click.option("--dry-run", is_flag=True, help="Show what a run would take, refuse and cost; required.")
@broker_option()
@keys_option
@kinds_option
@json_option
def command(*, dry_run: bool, broker: Broker, keys: Path, kinds: Kinds, as_json: bool) -> None:
    """Show what the next training run would do if it began now, without training.

    All examples are judged under the policy and the consents of now, what the run is made from as a whole
    under the policy's [training_assets], and the examples against its [training] (docs/loop.md). A worker
    begins a run by itself, after enough examples. Which devices contradict all others is not known before
    models are fitted.
    """
    require("worker")
    if not dry_run:
        raise InputError(
            "training: found no --dry-run, expected it; a worker begins a training run by itself, after "
            f"every {limits.RETRAIN_EVERY_EXAMPLES} examples that its gate admits"
        )
    answer = asyncio.run(_next(broker, keys, kinds))
    plain = {**to_builtins(answer), "forbidden": answer.forbidden, "held": answer.held}
    parts = plain.pop("assets")
    checks = [
        {**check, "percent": each.percent}
        for check, each in zip(plain.pop("checks"), answer.checks, strict=True)
    ]
    if as_json:
        emit_json({**plain, "assets": parts, "checks": checks})
        return
    refused = plain.pop("refused")
    emit_facts({name.replace("_", " "): value for name, value in plain.items() if value != ""})
    for rule, count in refused.items():
        say(f"refused  {count:,}  {rule}")
    for rows in (parts, checks):
        say("")
        emit_rows(rows)


async def _next(broker: Broker, keys: Path, kinds: Kinds) -> NextRun:
    now_ns = clock.now_ns()
    side, _ = await known_models(broker)
    stored = await checkpoint.load(broker, "training", 0, wait_s=WAIT_S_DEFAULT)
    state = TrainingState.load(stored.entries[STATE_KEY]) if STATE_KEY in stored.entries else TrainingState()
    policy = side.policies.version(side.policies.current)
    history = await examples_of(broker, keys, policy, "sightline training --dry-run")
    return next_run(state, side, history, codec_of(kinds), licensed(), now_ns)
