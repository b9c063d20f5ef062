"""CPU time of each stage, in this process and without Kafka.

Measured are the functions that the pipeline calls, with a clock around them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bench.consents import known
from bench.load import AGE_NS, batches, span_ns
from streams import clock, settings
from streams.events.codec import encode
from streams.events.headers import envelope
from streams.events.record import Fetch, StoredRecord
from streams.pipeline import GlassesCore, Tables, first_records, glasses
from streams.policy.load import load
from streams.policy.versions import Policies
from streams.topology import CAPTURED, MODELS

#: What `GlassesCore` calls, by the name that it imports it under: a stage's `run`, or a function.
STAGES = ("zones", "processing", "assistant", "feedback", "records_of", "lineage_of")
_FUNCTIONS = {"records_of": "records", "lineage_of": "lineage"}
_FETCH, _DEVICES = 2500, 8
Rows = list[dict[str, Any]]


@contextmanager
def _timed(spent_s: dict[str, float]) -> Iterator[None]:
    """Add up the CPU time of this thread inside the stages while the block lasts.

    Only of this thread, since libraries let others of theirs spin.
    """

    def around(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            began_s = time.thread_time()
            try:
                return call(*arguments, **named)
            finally:
                spent_s[name] += time.thread_time() - began_s

        return timed

    places = [(glasses, name) if name in _FUNCTIONS else (getattr(glasses, name), "run") for name in STAGES]
    before = [getattr(*place) for place in places]
    for (owner, attribute), name, call in zip(places, STAGES, before, strict=True):
        setattr(owner, attribute, around(name, call))
    try:
        yield
    finally:
        for (owner, attribute), call in zip(places, before, strict=True):
            setattr(owner, attribute, call)


def stages(number: int) -> dict[str, Rows]:
    """One table: µs of CPU a batch by stage, for `number` batches in fetches of 2,500."""
    policy = load(settings.POLICY)
    tables = Tables(Policies(policy), consents=known(policy))
    for outgoing in first_records(policy, clock.now_ns()):
        if outgoing.topic == MODELS:
            tables.models.learn(outgoing.key, outgoing.value)
    records = [
        StoredRecord(at, batch.t0_ns // 1_000_000, batch.source.encode(), encode(batch), envelope(batch))
        for at, batch in enumerate(batches(0, number, clock.now_ns() - AGE_NS - span_ns(number), _DEVICES))
    ]
    spent_s = dict.fromkeys(STAGES, 0.0)
    total_s = asyncio.run(_run(GlassesCore(tables), records, spent_s))
    rows = [*spent_s.items(), ("rest of the core", total_s - sum(spent_s.values())), ("all", total_s)]
    return {
        f"CPU by stage, {number:,} batches in fetches of {_FETCH:,}, no Kafka": [
            {
                "stage": _FUNCTIONS.get(name, name),
                "CPU µs a batch": round(seconds / number * 1e6, 1),
                "share": f"{seconds / total_s:.0%}",
            }
            for name, seconds in rows
        ]
    }


async def _run(core: GlassesCore, records: Sequence[StoredRecord], spent_s: dict[str, float]) -> float:
    """Process all records, fetch by fetch; return the CPU seconds of all of it."""
    state = core.empty(0)
    # What a process does once (imports, tables of the policy) is no cost of a batch.
    await core.process(state, Fetch(CAPTURED, 0, records[:_FETCH]), silent=False, poisoned={})
    with _timed(spent_s):
        began_s = time.thread_time()
        for at in range(0, len(records), _FETCH):
            outcome = await core.process(
                state, Fetch(CAPTURED, 0, records[at : at + _FETCH]), silent=False, poisoned={}
            )
            state = outcome.state
        return time.thread_time() - began_s
