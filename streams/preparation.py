"""What a worker reads whole and, on empty topics, publishes once before its agents start.

Also the cores that are made from it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streams import clock
from streams.errors import InputError, MalformedError, UnavailableError
from streams.events.record import Core, Outgoing, Received
from streams.fitting import FittingChild
from streams.kafka.publish import publish_once
from streams.kafka.reader import read_all
from streams.models.registry import Models
from streams.pipeline import GlassesCore, Tables, TrainingCore, first_records, learn_consent
from streams.policy.load import load
from streams.policy.versions import Policies
from streams.topology import CONSENTS, EXAMPLES, MODELS, POLICIES
from streams.training.run import Fitted, Pair, fit_and_measure
from streams.worker import WorkerContext

log = logging.getLogger(__name__)


async def prepare(context: WorkerContext) -> None:
    """Publish policy and seed model where there are none, then read what every worker knows.

    Policies, consents and model versions are read whole, and followed from then on.

    Raises
    ------
    InputError
        The policy file is wrong, or it never was in force on these topics while another one is.
    UnavailableError
        The broker is not there.
    """
    given, child = load(context.policy, clock.date_today()), FittingChild()
    context.closing.callback(child.close)
    if not policies_of(await read_all(context.broker, POLICIES)).current:
        first = await child.run(_first_records, context.policy, clock.now_ns())
        await publish_once(
            context.broker, POLICIES, first, lambda records: bool(policies_of(records).current)
        )
    tables = Tables(policies_of(await read_all(context.broker, POLICIES), log.error))
    if not tables.policies.current:
        raise UnavailableError(
            f"{POLICIES} on {context.broker} holds no policy in force although one was just written; start "
            "again"
        )
    in_force = tables.policies.version(tables.policies.current)
    if given.version not in tables.policies.versions:
        raise InputError(
            f"policy {context.policy}: found version {given.version}, but the topics on {context.broker} are "
            f"under {in_force.name} {in_force.version}; "
            "switch with `sightline policy publish`, or use other topics"
        )
    if given.version != in_force.version:
        log.warning(
            "The topics were switched from %s %s to %s %s, which is in force",
            given.name,
            given.version,
            in_force.name,
            in_force.version,
        )
    tables.models = Models(tables.policies.zones)

    async def refresh() -> None:
        newest = policies_of(await read_all(context.broker, POLICIES))
        tables.policies.versions |= newest.versions

    tables.refresh = refresh
    await context.follow(POLICIES, lambda record: tables.policies.learn(record.key, record.value))
    await context.follow(CONSENTS, lambda record: learn_consent(tables.consents, record))
    await context.follow(MODELS, lambda record: tables.models.learn(record.key, record.value))
    context.kept.update(tables=tables, fitting=child)


def policies_of(
    records: Sequence[Received], say: Callable[[str], object] = lambda _sentence: None
) -> Policies:
    """The policy versions among the records of `glasses.policies`, and the one in force.

    A record that is neither a policy nor a pointer to one before it is passed over; `say` gets a sentence
    about each, and their count.
    """
    policies, refused = Policies(), 0
    for record in records:
        try:
            policies.learn(record.key, record.value)
        except MalformedError as error:
            refused += 1
            say(f"{POLICIES} offset {record.offset} is passed over: {error}")
    if refused:
        say(f"{POLICIES}: {refused} records are passed over")
    return policies


def make_cores(context: WorkerContext) -> Mapping[str, Core[Any]]:
    """The core of each agent; training fits in a child process of its own."""
    tables: Tables = context.kept["tables"]
    child: FittingChild = context.kept["fitting"]

    async def history(offset: int) -> Sequence[Received]:
        return [record for record in await read_all(context.broker, EXAMPLES, 0) if record.offset <= offset]

    async def fit(pairs: Sequence[Pair], evaluation: Sequence[Pair]) -> Fitted:
        return await child.run(fit_and_measure, pairs, evaluation)

    return {"glasses": GlassesCore(tables), "training": TrainingCore(tables, history, fit)}


def _first_records(policy: str, now_ns: int) -> list[Outgoing]:
    """Run in the child: the seed model is fitted here."""
    return first_records(load(policy), now_ns)
