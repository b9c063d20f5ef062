"""What a worker reads whole before its agents start, and publishes once where the topics are empty.

The agents are made here too.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any

from streams import clock, metrics
from streams.connection.settings import Broker
from streams.consent.record import learn_consent, pairing_record
from streams.consent.view import Consents
from streams.errors import InputError, MalformedError, UnavailableError
from streams.events.record import AgentSpec, LiveCore, Outgoing, Received
from streams.kafka.publish import publish_now, publish_once
from streams.kafka.reader import end_offsets, read_all
from streams.limits import MODELS_KEPT_MAX
from streams.models.registry import ModelTable
from streams.pipeline.bootstrap import first_records
from streams.pipeline.followed import Followed
from streams.pipeline.live import LiveGlasses, LiveTraining
from streams.pipeline.shelf import FileShelf
from streams.policy.load import load, parse
from streams.policy.policy import Policy
from streams.policy.versions import Check, PolicyTable, PolicyVersions
from streams.topology import AGENTS, CONSENTS, EXAMPLES, MODELS, POLICIES
from streams.training.check import can_serve
from streams.training.run import Fitted, Pair, fit_and_measure
from streams.waiting import saying
from streams.worker.checking import Checker
from streams.worker.child import Child
from streams.worker.follower import TableFollower
from streams.worker.run import WorkerContext, WorkerSettings

log = logging.getLogger(__name__)


async def prepare(context: WorkerContext) -> list[AgentSpec]:
    """Return the agents of a worker, once all that they read beside their topics is there.

    Raises
    ------
    InputError, UnavailableError
        See `followed_topics`.
    """
    child = Child("fits models")
    context.closing.callback(child.close)
    return agents(context, await followed_topics(context, child), child)


async def followed_topics(context: WorkerContext, child: Child) -> Followed:
    """Publish policy and seed model where there are none, then read what every worker knows.

    Policies, consents and model versions are read whole, and followed from then on. The first model is fitted
    in `child`.

    Raises
    ------
    InputError
        The policy file is wrong, or it never was in force on these topics while another one is; or a
        declassifier that stops when its review is overdue is overdue.
    UnavailableError
        The broker is not there.
    """
    settings, today = context.settings, clock.date_today()
    broker, given = settings.broker, load(settings.policy, today)
    checker = Checker(given.text)
    context.closing.callback(checker.close)
    await _publish_first(settings, checker, child)
    await bind(broker, settings.pairs)
    followed = Followed(PolicyTable())
    policies = await context.follow(POLICIES, partial(followed.policies.learn, checker=checker))
    _check_policy(settings, given, followed.policies.now, today)
    followed.models = ModelTable(
        lambda version: can_serve(version, followed.policies.now.versions), MODELS_KEPT_MAX
    )
    _let_ask(broker, followed, policies)
    await context.follow(CONSENTS, lambda record: learn_consent(followed.consents, record))
    await context.follow(MODELS, lambda record: followed.models.learn(record.key, record.value))
    return followed


async def _publish_first(settings: WorkerSettings, checker: Check, child: Child) -> None:
    """Publish the first policy and model, unless a policy is in force there."""

    async def in_force_on(records: Sequence[Received]) -> bool:
        table = await policies_of(records, checker)
        if table.turned_down and not table.now.current:
            # One of them may be in force, for an older Sightline or on a faster machine: another one that is
            # written now would switch policies, and nobody would have said so.
            raise UnavailableError(
                f"{POLICIES} on {settings.broker} holds {table.turned_down} policies that are not taken"
                f" ({table.now.refused[-1].reason}) and none that is in force; start again where it could not"
                " be checked in time, or publish one that is taken with the Sightline that wrote these topics"
            )
        return bool(table.now.current)

    if not await in_force_on(await read_all(settings.broker, POLICIES)):
        async with saying("the first policy and model, which are made and written once"):
            first = await child.run(_first_records, settings.policy, clock.now_ns())
            await publish_once(settings.broker, POLICIES, first, in_force_on)


def _check_policy(settings: WorkerSettings, given: Policy, known: PolicyVersions, today: date) -> None:
    """Compare the policy of the command line with those on the topics; say which one is in force."""
    if not known.current:
        raise UnavailableError(
            f"{POLICIES} on {settings.broker} holds no policy in force although one was just written; start "
            "again"
        )
    in_force = known.version(known.current)
    if given.version not in known.versions:
        raise InputError(
            f"policy {settings.policy}: found version {given.version}, but the topics on {settings.broker} "
            f"are under {in_force.name} {in_force.version}; "
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
    parse(in_force.text, f"{POLICIES} on {settings.broker}", today, tried=True)
    say_overdue(in_force, today)


def _let_ask(broker: Broker, followed: Followed, policies: TableFollower) -> None:
    """Let the broker be asked for what was not read, or is no longer known."""

    async def refresh() -> None:
        for record in await read_all(broker, POLICIES):
            await policies.take(record)

    async def recall(number: int) -> None:
        followed.models.recall(number, await read_all(broker, MODELS))

    async def consents_end() -> int:
        return (await end_offsets(broker, [CONSENTS]))[CONSENTS, 0]

    followed.refresh, followed.recall, followed.consents_end = refresh, recall, consents_end


async def consents_of_topic(broker: Broker) -> Consents:
    """The content of `glasses.consents`; a record that nobody of ours wrote is logged and passed over."""
    consents = Consents()
    for record in await read_all(broker, CONSENTS):
        try:
            learn_consent(consents, record)
        except MalformedError as error:
            log.error("%s offset %d is passed over: %s", CONSENTS, record.offset, error)  # noqa: TRY400
    return consents


async def bind(broker: Broker, pairs: Sequence[tuple[str, str]]) -> int:
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
    for declassifier in policy.declassifiers.values():
        if declassifier.overdue(today):
            metrics.count("declassifiers_overdue_total", declassifier=declassifier.name)
            log.warning(
                "The declassifier %s of policy %s %s: %s; it goes on until its owner %s publishes a policy"
                " with the next date",
                declassifier.name,
                policy.name,
                policy.version,
                declassifier.review(today),
                declassifier.owner,
            )


async def policies_of(records: Sequence[Received], checker: Check) -> PolicyTable:
    """The policy versions among the records of `glasses.policies`, and the one in force.

    A record that is neither a policy nor a pointer to one before it is passed over: it is in `refused`.
    """
    policies = PolicyTable()
    for record in records:
        with contextlib.suppress(MalformedError):
            await policies.learn(record, checker)
    return policies


def agents(context: WorkerContext, followed: Followed, child: Child) -> list[AgentSpec]:
    """The agents of `topology.AGENTS` with their cores; training fits in `child`."""
    broker = context.settings.broker

    async def history(offset: int) -> Sequence[Received]:
        return [record for record in await read_all(broker, EXAMPLES, 0) if record.offset <= offset]

    async def fit(pairs: Sequence[Pair], evaluation: Sequence[Pair]) -> Fitted:
        async with saying(f"a model that is fitted to {len(pairs)} examples"):
            return await child.run(fit_and_measure, pairs, evaluation)

    shelf = None
    if context.directory is not None:
        shelf = FileShelf(context.directory / "device-states")
        context.closing.callback(shelf.close)
    cores: Mapping[str, LiveCore[Any]] = {
        "glasses": LiveGlasses(followed, shelf),
        "training": LiveTraining(followed, history, fit),
    }
    return [AgentSpec(name, topic, cores[name]) for name, topic in AGENTS.items()]


def _first_records(policy: str, now_ns: int) -> list[Outgoing]:
    """Run in the child: the seed model is fitted here."""
    return first_records(load(policy), now_ns)
