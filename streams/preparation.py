"""What a worker reads whole and, on empty topics, publishes once before its agents start; and the cores made from it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from streams import clock
from streams.errors import InputError, MalformedError, UnavailableError
from streams.events.record import Core, Outgoing, Received
from streams.fitting import FittingChild
from streams.kafka.publish import publish_once
from streams.kafka.reader import read_all
from streams.models.registry import Models
from streams.pipeline import GlassesCore, TrainingCore, first_records
from streams.policy.load import load, parse
from streams.policy.policy import Policy
from streams.topology import EXAMPLES, MODELS, POLICIES
from streams.training.run import Fitted, Pair, fit_and_measure
from streams.worker import WorkerContext

log = logging.getLogger(__name__)


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
    context.closing.callback(child.close)
    if policy_in_force(await read_all(context.broker, POLICIES)) is None:
        first = await child.run(_first_records, context.policy, clock.now_ns())
        await publish_once(context.broker, POLICIES, first, lambda records: policy_in_force(records) is not None)
    in_force = policy_in_force(await read_all(context.broker, POLICIES), say=log.error)
    if in_force is None:
        raise UnavailableError(f"{POLICIES} on {context.broker} holds no policy in force although one was just written; start again")
    if in_force.version != given.version:
        raise InputError(f"policy {context.policy}: found version {given.version}, but the topics on {context.broker} are under "
                         f"{in_force.name} {in_force.version}; give that one, or use other topics")
    models = Models(zone.name for zone in in_force.zones)
    await context.follow(MODELS, lambda record: models.learn(record.key, record.value))
    context.kept.update(policy=in_force, models=models, fitting=child)


def policy_in_force(records: Sequence[Received], say: Callable[[str], object] = lambda _sentence: None) -> Policy | None:
    """Return the policy that the last pointer among `records` of `glasses.policies` names; None when there is none.

    A record that is neither a policy nor a pointer to one before it is passed over; `say` gets a sentence about each, and their count.
    """
    versions: dict[str, Policy] = {}
    current, refused = None, 0
    for record in records:
        try:
            if record.key == b"policy/current":
                current = versions[_field(record, "version")]
            else:
                policy = _policy(record)
                versions[policy.version] = policy
        except (MalformedError, InputError, KeyError) as error:
            refused += 1
            reason = str(error) if isinstance(error, MalformedError) else "it is no policy, or points to none"
            say(f"{POLICIES} offset {record.offset} is passed over: {reason}")
    if refused:
        say(f"{POLICIES}: {refused} records are passed over")
    return current


def _policy(record: Received) -> Policy:
    policy = parse(_field(record, "text"), POLICIES)
    if not _field(record, "version") == policy.version == (record.key or b"").decode(errors="replace").removeprefix("policy/"):
        raise MalformedError("version: disagrees with the text or the key, expected the digest of the text in both")
    return policy


def _field(record: Received, name: str) -> str:
    try:
        value = orjson.loads(record.value or b"")[name]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        value = None
    if type(value) is not str:
        raise MalformedError(f"{name}: found none, expected a JSON object with this text")
    return value


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
