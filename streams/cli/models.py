"""`sightline models`: go back to an earlier model version."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
from msgspec import to_builtins

from streams import clock
from streams.cli.extending import kinds_option
from streams.cli.output import emit_facts, emit_json, emit_rows, json_option, keys_option
from streams.connection.address import broker_option
from streams.errors import InputError
from streams.events.codec import codec_of
from streams.events.kinds import Kinds
from streams.extras import require
from streams.kafka.publish import publish_now
from streams.models.pointer import WHY_CHARACTERS_MAX, Rollback
from streams.pipeline.comparing import Compared, compared
from streams.pipeline.going_back import check_back, known_version
from streams.pipeline.judging import judged_now
from streams.settings.kafka import Broker
from streams.training.seed import licensed
from streams.worker.models import going_back, known_models
from streams.worker.sealing import examples_of


@click.group("models")
def command() -> None:
    """Choose which model version answers, and compare families of models."""


@command.command()
@click.option("--to", "number", type=click.IntRange(1), required=True, help="Version that is to serve again.")
@click.option("--why", required=True, help="Reason, which the store keeps; no names of persons.")
@broker_option()
@keys_option
@kinds_option
@json_option
def rollback(*, number: int, why: str, broker: Broker, keys: Path, kinds: Kinds, as_json: bool) -> None:
    """Let an earlier model version serve again: workers take it up with their next fetches.

    The gate judges its examples again first: a version that learned from what was withdrawn or has expired
    since is refused, and so is a declined one. Later versions are compared with this one, and serve if they
    are not worse.
    """
    require("worker")
    if not 0 < len(why.strip()) <= WHY_CHARACTERS_MAX or not why.isprintable():
        raise InputError(
            f"--why: expected a sentence of at most {WHY_CHARACTERS_MAX} printable characters, which the "
            "store keeps"
        )
    answer = asyncio.run(_back(broker, keys, number, why.strip(), kinds))
    if as_json:
        emit_json(answer)
    else:
        emit_facts(answer)


@command.command()
@click.option(
    "--version", "number", type=click.IntRange(1), help="Of this version.  [default: the one that serves]"
)
@broker_option()
@keys_option
@kinds_option
@json_option
def compare(*, number: int | None, broker: Broker, keys: Path, kinds: Kinds, as_json: bool) -> None:
    """Fit other families of models on what a version learned from, and compare them.

    Of its manifest, that is what the gate still admits. All are measured on the same utterances, none of
    which was learned; better and worse are against the family that training uses. Nothing is published.
    """
    require("worker")
    version, rows = asyncio.run(_compared(broker, keys, number, kinds))
    if as_json:
        emit_json({"version": version, "families": to_builtins(rows)})
    else:
        emit_facts({"version": version})
        emit_rows([to_builtins(row) for row in rows])


async def _compared(
    broker: Broker, keys: Path, number: int | None, kinds: Kinds
) -> tuple[int, list[Compared]]:
    side, _ = await known_models(broker)
    number = number or side.models.serving
    version = known_version(number, side.models)
    policy = side.policies.version(side.policies.current)
    examples = await examples_of(broker, keys, policy, "sightline models compare")
    candidates = judged_now(examples, codec_of(kinds), side, clock.now_ns())
    return number, compared(version, candidates, licensed(), clock.monotonic_s)


async def _back(broker: Broker, keys: Path, number: int, why: str, kinds: Kinds) -> dict[str, object]:
    now_ns = clock.now_ns()
    side, records = await known_models(broker)
    policy = side.policies.version(side.policies.current)
    history = await examples_of(broker, keys, policy, "sightline models rollback")
    before = side.models.serving
    check_back(number, side, history, codec_of(kinds), now_ns)
    # Reading the topics took a while.
    at_ns = clock.now_ns()
    # What erasures withdrew stays known where training has not read them yet.
    last = side.models.rollback
    back = Rollback(number, before, why, at_ns, withdrawn=last.withdrawn if last is not None else ())
    await publish_now(broker, going_back(records, back))
    return {"served before": f"version {before}", "serves": f"version {number}", "why": why}
