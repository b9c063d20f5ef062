"""What a worker reads whole and, on empty topics, publishes once before its agents start; and the cores made from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from streams import clock
from streams.errors import InputError
from streams.events.record import Core, Outgoing, Received
from streams.fitting import FittingChild
from streams.kafka.publish import publish_once
from streams.kafka.reader import read_all
from streams.pipeline import GlassesCore, Models, TrainingCore, first_records
from streams.policy.load import load, parse
from streams.policy.policy import Policy
from streams.topology import EXAMPLES, MODELS, POLICIES
from streams.training.run import Fitted, Pair, fit_and_measure
from streams.worker import WorkerContext


async def prepare(context: WorkerContext) -> None:
    """Publish policy and seed model where there are none, check the policy in force, read every model version.

    Raises
    ------
    InputError
        The policy file is wrong, or the topics hold another policy than the one given.
    UnavailableError
        The broker is not there.
    """
    given, child = load(context.policy), FittingChild()
    if not await read_all(context.broker, POLICIES):
        await publish_once(context.broker, POLICIES, await child.run(_first_records, context.policy, clock.now_ns()))
    in_force = _policy_in_force(await read_all(context.broker, POLICIES))
    if in_force.version != given.version:
        raise InputError(f"policy {context.policy}: found version {given.version}, but the topics on {context.broker} are under "
                         f"{in_force.name} {in_force.version}; give that one, or use other topics")
    models = Models()
    await context.follow(MODELS, lambda record: models.learn(record.key, record.value))
    context.kept.update(policy=in_force, models=models, fitting=child)


def _policy_in_force(records: Sequence[Received]) -> Policy:
    texts, current = {}, ""
    for record in records:
        fields = orjson.loads(record.value or b"{}")
        if record.key == b"policy/current":
            current = fields["version"]
        else:
            texts[fields["version"]] = fields["text"]
    return parse(texts[current], POLICIES)


def make_cores(context: WorkerContext) -> Mapping[str, Core[Any]]:
    """The core of each agent; training fits in a child process of its own."""
    policy: Policy = context.kept["policy"]
    child: FittingChild = context.kept["fitting"]

    async def history(offset: int) -> Sequence[Received]:
        return [record for record in await read_all(context.broker, EXAMPLES, 0) if record.offset <= offset]

    async def fit(pairs: Sequence[Pair], evaluation: Sequence[Pair]) -> Fitted:
        return await child.run(fit_and_measure, pairs, evaluation)

    return {"glasses": GlassesCore(policy, context.kept["models"]), "training": TrainingCore(policy, history, fit)}


def _first_records(policy: str, now_ns: int) -> list[Outgoing]:
    """Run in the child: the seed model is fitted here."""
    return first_records(load(policy), now_ns)
