"""CPU time of each stage, in this process and without Kafka.

The functions that the pipeline calls are measured, each with a clock around it.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from bench.bars import Measured, Rows
from bench.consents import known
from bench.load import AGE_NS, DEVICES
from bench.traffic import GLASSES, GLASSES_BINARY, IMU_20, IMU_20_BINARY, Traffic, span_ns
from streams import clock, settings
from streams.events.codec import encode
from streams.events.headers import envelope
from streams.events.record import Fetch, StoredRecord
from streams.models.registry import ModelTable
from streams.pipeline.bootstrap import first_records
from streams.pipeline.glasses import GlassesCore, Stages
from streams.pipeline.side_inputs import SideInputs
from streams.policy.load import load
from streams.policy.policy import Policy
from streams.policy.versions import PolicyVersions
from streams.topology import CAPTURED, MODELS

#: Names of the stages in `streams.pipeline.glasses.Stages`, in order.
STAGES = tuple(field.name for field in fields(Stages))
_FETCH = 2500


def _timed(spent_s: dict[str, float]) -> Stages:
    """The stages, each wrapped to add up the CPU time of this thread.

    Other threads are not counted, because libraries let theirs spin.
    """

    def around(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            began_s = time.thread_time()
            try:
                return call(*arguments)
            finally:
                spent_s[name] += time.thread_time() - began_s

        return timed

    plain = Stages()
    return Stages(**{name: around(name, getattr(plain, name)) for name in STAGES})


def stages(number: int) -> Measured:
    """A table per traffic: CPU time per batch by stage, µs, for `number` batches in fetches of 2,500."""
    tables: dict[str, Rows] = {}
    for traffic, count in (
        (IMU_20, number),
        (IMU_20_BINARY, number),
        (GLASSES, number // 4),
        (GLASSES_BINARY, number // 4),
    ):
        tables |= _stages(traffic, count)
    return Measured(tables)


def _stages(traffic: Traffic, number: int) -> dict[str, Rows]:
    policy = load(settings.POLICY)
    records = fetched(traffic, number, DEVICES)
    inputs = SideInputs(PolicyVersions.of(policy), first_models(policy).now, known(policy).view())
    spent_s = dict.fromkeys(STAGES, 0.0)
    core = GlassesCore(stages=_timed(spent_s))
    total_s = asyncio.run(_run(core, records, inputs, spent_s))
    rows = [*spent_s.items(), ("rest of the core", total_s - sum(spent_s.values())), ("all", total_s)]
    return {
        f"CPU by stage, {traffic.name}, {number:,} batches in fetches of {_FETCH:,}, no Kafka": [
            {
                "stage": name,
                "CPU µs a batch": round(seconds / number * 1e6, 1),
                "share": f"{seconds / total_s:.0%}",
            }
            for name, seconds in rows
        ]
    }


def first_models(policy: Policy) -> ModelTable:
    """The models that the first worker publishes."""
    models = ModelTable()
    for outgoing in first_records(policy, clock.now_ns()):
        if outgoing.topic == MODELS:
            models.learn(outgoing.key, outgoing.value)
    return models


def fetched(traffic: Traffic, number: int, devices: int) -> list[StoredRecord]:
    """Batches as a worker fetches them, without Kafka; their capture times end AGE_NS ago."""
    start_ns = clock.now_ns() - AGE_NS - span_ns(traffic, number, devices)
    return [
        StoredRecord(at, batch.t0_ns // 1_000_000, batch.source.encode(), encode(batch), envelope(batch))
        for at, batch in enumerate(traffic.batches(0, number, start_ns, devices))
    ]


async def _run(
    core: GlassesCore, records: Sequence[StoredRecord], inputs: SideInputs, spent_s: dict[str, float]
) -> float:
    """Process all records, fetch by fetch; return the total CPU seconds."""
    state = core.empty(0)
    # Work that a process does once (imports, tables of the policy) must not count for the batches.
    await core.process(state, Fetch(CAPTURED, 0, records[:_FETCH]), inputs, silent=False, poisoned={})
    spent_s.update(dict.fromkeys(spent_s, 0.0))
    # The collector rarely runs, as in a worker (`streams.cycles`). Otherwise Python would go through all
    # records again and again.
    gc.collect()
    gc.disable()
    try:
        began_s = time.thread_time()
        for at in range(0, len(records), _FETCH):
            fetch = Fetch(CAPTURED, 0, records[at : at + _FETCH])
            state = (await core.process(state, fetch, inputs, silent=False, poisoned={})).state
        return time.thread_time() - began_s
    finally:
        gc.enable()
