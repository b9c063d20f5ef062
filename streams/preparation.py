"""What a worker reads whole and, on empty topics, publishes once before its agents start; and the cores made from it."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import orjson

from streams import clock
from streams.errors import InputError, UnavailableError
from streams.events.record import Core, Received
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
    given = load(context.policy)
    if not await read_all(context.broker, POLICIES):
        await publish_once(context.broker, POLICIES, first_records(given, clock.now_ns()))
    in_force = _policy_in_force(await read_all(context.broker, POLICIES))
    if in_force.version != given.version:
        raise InputError(f"policy {context.policy}: found version {given.version}, but the topics on {context.broker} are under "
                         f"{in_force.name} {in_force.version}; give that one, or use other topics")
    models = Models()
    await context.follow(MODELS, lambda record: models.learn(record.key, record.value))
    context.kept.update(policy=in_force, models=models)


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
    pool = ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn"), initializer=_follow_worker)
    context.kept["pool"] = pool

    async def history(offset: int) -> Sequence[Received]:
        return [record for record in await read_all(context.broker, EXAMPLES, 0) if record.offset <= offset]

    async def fit(pairs: Sequence[Pair], evaluation: Sequence[Pair]) -> Fitted:
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, fit_and_measure, pairs, evaluation)
        except BrokenProcessPool:
            raise UnavailableError("the child process that fits models ended; start the worker again, nothing is lost") from None

    return {"glasses": GlassesCore(policy, context.kept["models"]), "training": TrainingCore(policy, history, fit)}


def _follow_worker() -> None:
    """Live as long as the worker does: Ctrl-C is for the worker, which then ends its child; one that was killed cannot."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_worker, daemon=True).start()


def _end_with_worker() -> None:
    worker = multiprocessing.parent_process()
    if worker is not None:
        worker.join()
        os._exit(1)
