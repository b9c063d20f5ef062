"""What a worker reads whole and, on empty topics, publishes once before its agents start.

Also the cores that are made from it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any

from streams import clock, metrics
from streams.consent.view import Consents
from streams.errors import InputError, MalformedError, UnavailableError
from streams.events.record import Core, Outgoing, Received
from streams.kafka.publish import publish_now, publish_once
from streams.kafka.reader import end_offsets, read_all
from streams.limits import MODELS_KEPT_MAX
from streams.models.registry import Models
from streams.pipeline import (
    FileShelf,
    GlassesCore,
    ShelvingCore,
    Tables,
    TrainingCore,
    first_records,
    learn_consent,
    pairing_record,
)
from streams.policy.load import load, parse
from streams.policy.policy import Policy
from streams.policy.versions import Check, Policies
from streams.topology import CONSENTS, EXAMPLES, MODELS, POLICIES
from streams.training.check import can_serve
from streams.training.run import Fitted, Pair, fit_and_measure
from streams.waiting import saying
from streams.worker.checking import Checker
from streams.worker.child import Child
from streams.worker.run import TableFollower, WorkerContext

log = logging.getLogger(__name__)


async def prepare(context: WorkerContext) -> None:
    """Publish policy and seed model where there are none, then read what every worker knows.

    Policies, consents and model versions are read whole, and followed from then on.

    Raises
    ------
    InputError
        The policy file is wrong, or it never was in force on these topics while another one is; or a
        declassifier that stops when its review is overdue is overdue.
    UnavailableError
        The broker is not there.
    """
    today = clock.date_today()
    given, child = load(context.policy, today), Child("fits models")
    checker = Checker(given.text)
    context.closing.callback(child.close)
    context.closing.callback(checker.close)

    async def in_force_on(records: Sequence[Received]) -> bool:
        found = await policies_of(records, checker)
        if found.turned_down and not found.current:
            # One of them may be in force, for an older Sightline or on a faster machine: another one that is
            # written now would switch policies, and nobody would have said so.
            raise UnavailableError(
                f"{POLICIES} on {context.broker} holds {found.turned_down} policies that are not taken"
                f" ({found.refused[-1].reason}) and none that is in force; start again where it could not be"
                " checked in time, or publish one that is taken with the Sightline that wrote these topics"
            )
        return bool(found.current)

    if not await in_force_on(await read_all(context.broker, POLICIES)):
        async with saying("the first policy and model, which are made and written once"):
            first = await child.run(_first_records, context.policy, clock.now_ns())
            await publish_once(context.broker, POLICIES, first, in_force_on)
    await bind(context.broker, context.pairs)
    tables = Tables(Policies())
    follower = await context.follow(POLICIES, partial(tables.policies.learn, checker=checker))
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
    parse(in_force.text, f"{POLICIES} on {context.broker}", today, tried=True)
    say_overdue(in_force, today)
    tables.models = Models(lambda version: can_serve(version, tables.policies.versions), MODELS_KEPT_MAX)

    _ask(context.broker, tables, follower)
    await context.follow(CONSENTS, lambda record: learn_consent(tables.consents, record))
    await context.follow(MODELS, lambda record: tables.models.learn(record.key, record.value))
    context.kept.update(tables=tables, fitting=child)


def _ask(broker: str, tables: Tables, policies: TableFollower) -> None:
    """Let the tables ask the broker for what they have not read, or no longer know."""

    async def refresh() -> None:
        for record in await read_all(broker, POLICIES):
            await policies.take(record)

    async def recall(number: int) -> None:
        tables.models.recall(number, await read_all(broker, MODELS))

    async def consents_end() -> int:
        return (await end_offsets(broker, [CONSENTS]))[CONSENTS, 0]

    tables.refresh, tables.recall, tables.consents_end = refresh, recall, consents_end


async def consents_of_topic(broker: str) -> Consents:
    """What stands on `glasses.consents`; a record that is none of ours is said and passed over."""
    consents = Consents()
    for record in await read_all(broker, CONSENTS):
        try:
            learn_consent(consents, record)
        except MalformedError as error:
            log.error("%s offset %d is passed over: %s", CONSENTS, record.offset, error)  # noqa: TRY400
    return consents


async def bind(broker: str, pairs: Sequence[tuple[str, str]]) -> int:
    """Bind devices to wearers (device, wearer) that never were; return how many that was.

    What an operator has ended stays so, and is said. Delivery: all of it or nothing.
    """
    if not pairs:
        return 0
    known = (await consents_of_topic(broker)).pairings
    for device, wearer in pairs:
        if known.get((device, wearer)) is False:
            log.warning(
                "The pairing of %s with %s was ended and stays so; bind it again with `sightline pair`",
                device,
                wearer,
            )
    fresh = [pair for pair in dict.fromkeys(pairs) if pair not in known]
    if fresh:
        await publish_now(broker, [pairing_record(*pair, bound=True) for pair in fresh])
    return len(fresh)


def say_overdue(policy: Policy, today: date) -> None:
    """Warn of each declassifier of the policy whose review is overdue, and count it."""
    for one in policy.declassifiers.values():
        if one.overdue(today):
            metrics.count("declassifiers_overdue_total", declassifier=one.name)
            log.warning(
                "The declassifier %s of policy %s %s: %s; it goes on until its owner %s publishes a policy"
                " with the next date",
                one.name,
                policy.name,
                policy.version,
                one.review(today),
                one.owner,
            )


async def policies_of(records: Sequence[Received], checker: Check) -> Policies:
    """The policy versions among the records of `glasses.policies`, and the one in force.

    A record that is neither a policy nor a pointer to one before it is passed over: it is in `refused`.
    """
    policies = Policies()
    for record in records:
        with contextlib.suppress(MalformedError):
            await policies.learn(record, checker)
    return policies


def make_cores(context: WorkerContext) -> Mapping[str, Core[Any]]:
    """The core of each agent; training fits in a child process of its own."""
    tables: Tables = context.kept["tables"]
    child: Child = context.kept["fitting"]

    async def history(offset: int) -> Sequence[Received]:
        return [record for record in await read_all(context.broker, EXAMPLES, 0) if record.offset <= offset]

    async def fit(pairs: Sequence[Pair], evaluation: Sequence[Pair]) -> Fitted:
        async with saying(f"a model that is fitted to {len(pairs)} examples"):
            return await child.run(fit_and_measure, pairs, evaluation)

    return {"glasses": _glasses(context, tables), "training": TrainingCore(tables, history, fit)}


def _glasses(context: WorkerContext, tables: Tables) -> GlassesCore:
    if context.directory is None:
        return GlassesCore(tables)
    shelf = FileShelf(context.directory / "device-states")
    context.closing.callback(shelf.close)
    return ShelvingCore(tables, shelf)


def _first_records(policy: str, now_ns: int) -> list[Outgoing]:
    """Run in the child: the seed model is fitted here."""
    return first_records(load(policy), now_ns)
