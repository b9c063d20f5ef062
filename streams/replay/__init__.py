"""Run the pipeline over journals, with the same cores but without broker and clock.

A replay processes all batches, including repeats, in the order in which Kafka appended them, and divides them
into fetches by append time. Every device counts as paired with the wearers that its journal names: only
operators pair devices, and only operators have the journals. A model version serves from the fetch after the
one that triggered its training. In the live pipeline that moment depends on timing and is recorded as an
input.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streams.consent.record import learn_consent
from streams.consent.view import Consents
from streams.events import journal
from streams.events.record import Fetch, Outgoing, Received, StoredRecord
from streams.limits import FETCH_RECORDS_MAX, MODELS_KEPT_MAX, RETRAIN_EVERY_EXAMPLES, TRAINING_READ_RATIO
from streams.models.intent import IntentModel
from streams.models.registry import ModelTable
from streams.pipeline.bootstrap import first_records
from streams.pipeline.glasses import GlassesCore
from streams.pipeline.partition import PartitionState
from streams.pipeline.side_inputs import SideInputs, TrainingInputs
from streams.pipeline.training import TrainingCore
from streams.pipeline.training_state import TrainingState
from streams.policy.policy import Policy
from streams.policy.versions import PolicyVersions
from streams.processing.operators import Operators
from streams.processing.shipped import SHIPPED_OPERATORS
from streams.replay.pairs import bind, pairs
from streams.topology import CAPTURED, CONSENTS, EXAMPLES, MODELS
from streams.training.lesson import Lesson
from streams.training.promotion import Validation
from streams.training.run import Fitted, fit_and_measure
from streams.training.seed import Licensed, licensed

FETCH_NS = 200_000_000


async def fit_here(lesson: Lesson, validation: Validation, serving: IntentModel | None = None) -> Fitted:
    """Train in this process: unlike a worker, a replay needs no child process to keep its event loop free."""
    return fit_and_measure(lesson, validation, serving)


def fetches(path: Path) -> Iterator[Fetch]:
    """Divide the journals at `path`, merged by append time, into fetches of one partition."""
    merged = heapq.merge(
        *(journal.arrivals(file) for file in journal.files(path)),
        key=lambda arrival: (arrival[0], arrival[1].key),
    )
    records: list[Received] = []
    window = -1
    for offset, (arrived_ns, sent) in enumerate(merged):
        if records and (arrived_ns // FETCH_NS != window or len(records) >= FETCH_RECORDS_MAX):
            yield Fetch(CAPTURED, 0, records)
            records = []
        window = arrived_ns // FETCH_NS
        records.append(StoredRecord(offset, arrived_ns // 1_000_000, sent.key, sent.value, sent.headers))
    if records:
        yield Fetch(CAPTURED, 0, records)


@dataclass
class Replay:
    """A run of both cores; `write` receives all records that would be written to Kafka, by transaction.

    `operators` are those of the live pipeline; `licensed` the utterances from which version 1 is made and on
    which all are measured.
    """

    policy: Policy
    write: Callable[[Sequence[Outgoing]], None]
    every: int = RETRAIN_EVERY_EXAMPLES
    operators: Operators = SHIPPED_OPERATORS
    licensed: Licensed = field(default_factory=licensed)
    examples: list[Received] = field(default_factory=list)
    policies: PolicyVersions = field(init=False)

    def __post_init__(self) -> None:
        self.policies = PolicyVersions.of(self.policy)
        self._models, self._consents = ModelTable(kept_max=MODELS_KEPT_MAX), Consents()
        self._glasses = GlassesCore(operators=self.operators)
        self._training = TrainingCore(
            fit_here, self.every, kinds=self.operators.kinds, licensed=self.licensed
        )
        self._seen, self._learned, self._offset = PartitionState(), TrainingState(), 0

    async def run(self, path: Path) -> int:
        """Process the journals at `path`; return the number of fetches. InputError if there are none."""
        count = 0
        bound = pairs(path)
        for fetch in fetches(path):
            if not count:
                self.begin(bound, fetch.records[0].timestamp * 1_000_000)
            count += 1
            await self.process(fetch)
        return count

    def begin(self, bound: list[tuple[str, str]], now_ns: int) -> None:
        """Pair devices with wearers, and write the first policy and model; once, before any fetch."""
        taken = bind(self._consents, bound)
        self._seen, self._learned = PartitionState(consents_taken=taken), TrainingState(consents_taken=taken)
        self._deliver(first_records(self.policy, now_ns, self.licensed))

    async def process(self, fetch: Fetch) -> None:
        """Process one fetch of `glasses.captured`, and the examples that it makes."""
        outcome = await self._glasses.process(
            self._seen, fetch, self._side_inputs(), silent=False, poisoned={}
        )
        self._seen = outcome.state
        fresh = self._deliver(outcome.outputs)
        if fresh:
            inputs = TrainingInputs(self._side_inputs(), self.examples)
            trained = await self._training.process(
                self._learned, Fetch(EXAMPLES, 0, fresh), inputs, silent=False, poisoned={}
            )
            self._learned = trained.state
            self._deliver(trained.outputs)

    def saved(self) -> Sequence[bytes]:
        """What both agents would save on `glasses.state` now."""
        states = self._glasses.save(None, self._seen), self._training.save(None, self._learned)
        return [value for state in states for value in state.values()]

    def _side_inputs(self) -> SideInputs:
        return SideInputs(self.policies, self._models.now, self._consents.view())

    def _deliver(self, records: Sequence[Outgoing]) -> list[Received]:
        """Write records, keep those that the cores read later, and return the new examples."""
        self.write(records)
        fresh: list[Received] = []
        for record in records:
            if record.topic == MODELS:
                self._models.learn(record.key, record.value)
            elif record.topic == CONSENTS:
                stored = StoredRecord(self._consents.offset, record.timestamp_ms, record.key, record.value)
                learn_consent(self._consents, stored)
            elif record.topic == EXAMPLES:
                fresh.append(
                    StoredRecord(
                        self._offset + len(fresh),
                        record.timestamp_ms,
                        record.key,
                        record.value,
                        record.headers,
                    )
                )
        if fresh:
            self._offset += len(fresh)
            self.examples += fresh
            # No run of this fetch looks at more; all of them would be the memory of a long replay.
            del self.examples[: -TRAINING_READ_RATIO * self.policy.training.examples_max - len(fresh)]
        return fresh
