"""Start of a worker: publish first records if topics are empty, read the followed topics, make the agents."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date
from functools import partial
from typing import Any

from streams import clock, metrics
from streams.consent.record import learn_consent
from streams.ends import end_with
from streams.errors import InputError, UnavailableError
from streams.events.brokers_time import BrokersTime
from streams.events.kinds import Kinds
from streams.events.record import AgentSpec, LiveCore, Outgoing, Received
from streams.kafka import tracing
from streams.kafka.publish import publish_once
from streams.kafka.reader import end_offsets, log_bounds, read_all
from streams.limits import MODELS_KEPT_MAX, TRAINING_EXAMPLES_MAX, TRAINING_READ_RATIO
from streams.models.intent import IntentModel
from streams.models.registry import ModelTable
from streams.pipeline.bootstrap import first_records
from streams.pipeline.followed import Followed
from streams.pipeline.glasses import Stages
from streams.pipeline.live import LiveGlasses, LiveTraining
from streams.pipeline.shelf import FileShelf
from streams.policy.load import load, parse
from streams.policy.policy import Policy
from streams.policy.versions import Check, PolicyTable, PolicyVersions
from streams.sealing.key_store import KeyStore
from streams.sealing.keys import Keys
from streams.sealing.release import release
from streams.settings.kafka import Broker
from streams.topology import AGENTS, CONSENTS, EXAMPLES, MODELS, POLICIES, TRAINING_RUN
from streams.training.check import can_serve
from streams.training.lesson import Lesson
from streams.training.promotion import Validation
from streams.training.run import Fitted, fit_and_measure
from streams.waiting import saying
from streams.worker.checking import Checker
from streams.worker.child import Child
from streams.worker.follower import TableFollower
from streams.worker.on_topics import bind, policies_of
from streams.worker.run import WorkerContext, WorkerSettings
from streams.worker.sealing import erase_again, expire_keys, key_store_of
from streams.worker.showing import Showing

log = logging.getLogger(__name__)


async def prepare(context: WorkerContext) -> list[AgentSpec]:
    """Return the agents of a worker, after all topics that they read beside their source were read.

    Raises
    ------
    InputError, UnavailableError, DamagedError
        See `followed_topics` and `streams.worker.sealing.key_store_of`.
    """
    followed = await followed_topics(context)
    store = await key_store_of(context.settings.broker, context.settings.keys)
    context.closing.callback(store.close)
    followed.consents.mark = store.mark_of
    if count := erase_again(store, followed.consents, clock.now_ns()):
        log.warning("The key store was restored: %d keys of erased wearers were destroyed again", count)
    policy = followed.policies.now.version(followed.policies.now.current)
    if TRAINING_RUN in policy.sinks:
        # Without that sink the gate refuses every example, so nothing is asked for.
        release(store, policy, TRAINING_RUN, "sightline worker", clock.now_ns())
    child = Child("fits models")
    context.closing.callback(child.close)
    return agents(context, followed, child, store)


async def followed_topics(context: WorkerContext) -> Followed:
    """Publish policy and seed model if there are none, then read policies, consents and model versions.

    These topics are read completely, and followed from then on.

    Raises
    ------
    InputError
        The policy file is invalid; or it was never in force on these topics and another policy is; or the
        review of a declassifier is overdue and the policy stops the declassifier for that.
    UnavailableError
        The broker is absent.
    """
    settings, today = context.settings, clock.date_today()
    broker, given = settings.broker, load(settings.policy, today, settings.operators.kinds)
    checker = Checker(given.text)
    context.closing.callback(checker.close)
    await _publish_first(settings.broker, given, checker)
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


async def _publish_first(broker: Broker, given: Policy, checker: Check) -> None:
    """Publish the first policy and model, unless a policy is in force already."""

    async def in_force_on(records: Sequence[Received]) -> bool:
        table = await policies_of(records, checker)
        if table.turned_down and not table.now.current:
            # One of the refused policies may be in force for another release of Sightline, or on a machine
            # that checks it in time. Publishing one now would switch the policy without anyone's intention.
            raise UnavailableError(
                f"{POLICIES} on {broker} holds {table.turned_down} policies that are not taken"
                f" ({table.now.refused[-1].reason}) and none that is in force; start again where it could not"
                " be checked in time, or publish one that is taken with the Sightline that wrote these topics"
            )
        return bool(table.now.current)

    if not await in_force_on(await read_all(broker, POLICIES)):
        async with saying("the first policy and model, which are made and written once"):
            # A child of its own: it imports this module, and one that fits models is to be small.
            with contextlib.closing(Child("makes the first model")) as child:
                first = await child.run(_first_records, given.text, clock.now_ns())
            await publish_once(broker, POLICIES, first, in_force_on)


def _check_policy(settings: WorkerSettings, given: Policy, known: PolicyVersions, today: date) -> None:
    """Compare the policy of the command line with those on the topics; log which one is in force."""
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
    say_kinds(in_force, settings.operators.kinds)


def say_kinds(policy: Policy, kinds: Kinds) -> None:
    """Warn of kinds that the policy does not name, and of those that it names and that nobody knows here."""
    if unnamed := policy.unnamed(kinds):
        log.warning(
            "The policy %s %s says nothing about %s: events of it are refused until a policy that names it is"
            " published",
            policy.name,
            policy.version,
            ", ".join(unnamed),
        )
    if unknown := policy.unknown(kinds):
        log.warning(
            "The policy %s %s names %s, which is not known here: what devices send of it is refused, and"
            " nothing makes it. Name the package that has it with --extend",
            policy.name,
            policy.version,
            ", ".join(unknown),
        )


def _let_ask(broker: Broker, followed: Followed, policies: TableFollower) -> None:
    """Set the functions of `followed` that ask the broker for versions that are not in memory."""

    async def refresh() -> None:
        for record in await read_all(broker, POLICIES):
            await policies.take(record)

    async def recall(number: int) -> None:
        followed.models.recall(number, await read_all(broker, MODELS))

    async def consents_end() -> int:
        return (await end_offsets(broker, [CONSENTS]))[CONSENTS, 0]

    followed.refresh, followed.recall, followed.consents_end = refresh, recall, consents_end


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


def agents(context: WorkerContext, followed: Followed, child: Child, store: KeyStore) -> list[AgentSpec]:
    """Make the agents of `topology.AGENTS` with their cores; models are trained in `child`."""
    broker, operators = context.settings.broker, context.settings.operators
    keys, time = Keys(store), BrokersTime()
    expiring = asyncio.create_task(expire_keys(store, time), name="expiry of keys")
    expiring.add_done_callback(end_with)
    context.closing.callback(expiring.cancel)

    async def history(offset: int) -> Sequence[Received]:
        first = offset + 1 - TRAINING_READ_RATIO * TRAINING_EXAMPLES_MAX
        since = {0: max(first, (await log_bounds(broker, EXAMPLES))[0][0])} if first > 0 else None
        records = await read_all(broker, EXAMPLES, 0, from_offsets=since)
        return [record for record in records if record.offset <= offset]

    async def fit(lesson: Lesson, validation: Validation, serving: IntentModel | None) -> Fitted:
        async with saying(f"a model that is fitted to {len(lesson.pairs)} examples"):
            return await child.run(fit_and_measure, lesson, validation, serving)

    shelf = None
    if context.directory is not None:
        shelf = FileShelf(context.directory / "device-states")
        context.closing.callback(shelf.close)
    glasses = LiveGlasses(followed, shelf, operators=operators, stages=_traced_stages(), keys=keys, time=time)
    context.closing.callback(metrics.before_reading(Showing(followed).show))
    context.closing.callback(metrics.before_reading(lambda: glasses.sending.show(clock.monotonic_s())))
    cores: Mapping[str, LiveCore[Any]] = {
        "glasses": glasses,
        "training": LiveTraining(followed, history, fit, kinds=operators.kinds, keys=keys),
    }
    return [AgentSpec(name, topic, cores[name]) for name, topic in AGENTS.items()]


def _traced_stages() -> Stages:
    plain = Stages()
    return Stages(
        **{each.name: tracing.PROCESS.around(each.name, getattr(plain, each.name)) for each in fields(plain)}
    )


def _first_records(text: str, now_ns: int) -> list[Outgoing]:
    """Make the first records; runs in the child process, because it trains the seed model."""
    return first_records(parse(text, "the first policy", tried=True), now_ns)
