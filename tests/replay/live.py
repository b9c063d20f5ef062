"""A live pipeline in memory: cores over partitions in any interleaving.

With take-ups, cuts and crashes wherever a test wants them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from streams.consent.record import learn_consent
from streams.events.record import Fetch, Loss, Outgoing, Received, StoredRecord
from streams.models.pointer import Pointer, Rollback, Versions
from streams.models.version import CURRENT_KEY
from streams.pipeline.bootstrap import first_records
from streams.pipeline.followed import Followed
from streams.pipeline.live import LiveGlasses, LiveTraining
from streams.pipeline.partition import PartitionState
from streams.pipeline.training_state import TrainingState
from streams.policy.policy import Policy
from streams.policy.versions import PolicyTable, PolicyVersions
from streams.replay import fit_here
from streams.topology import CAPTURED, CONSENTS, EXAMPLES, MODELS
from tests import build

EXAMPLES_PER_RUN = 2


@dataclass
class Place:
    """Where an agent stands in one partition.

    That is what it has committed, and the checkpoint that a successor starts from.
    """

    committed: int = 0
    checkpoint: int = 0


@dataclass
class Live:
    """Both agents and the topics between them.

    Every method is one thing that can happen next; `outputs` is what was committed.
    """

    captured: dict[int, list[Received]]
    outputs: list[Outgoing] = field(default_factory=list)
    examples: list[Received] = field(default_factory=list)
    models: list[Outgoing] = field(default_factory=list)
    consents: list[StoredRecord] = field(default_factory=build.consent_records)
    policies: list[Policy] = field(default_factory=lambda: [build.policy()])
    #: By partition how many records of models its worker has read.
    read: dict[int, int] = field(default_factory=dict)
    #: How often somebody went back to an earlier model.
    rollbacks: int = 0

    def __post_init__(self) -> None:
        policy = self.policies[0]
        self._commit(first_records(policy, build.T0_NS))
        policies = PolicyVersions.of(policy)
        self.known = {number: Followed(PolicyTable(policies)) for number in (*self.captured, -1)}
        for number in self.known:
            self.learn(number)
        self.cores = {number: LiveGlasses(self.known[number]) for number in self.captured}
        self.known[-1].refresh = self._refresh
        self.known[-1].recall = self._recall
        self.training = LiveTraining(self.known[-1], self._history, fit_here, EXAMPLES_PER_RUN)
        self.places = {number: Place() for number in (*self.captured, -1)}
        self.states: dict[int, PartitionState] = {number: PartitionState() for number in self.captured}
        self.saved: dict[int, PartitionState] = dict(self.states)
        self.learned = self.saved_learned = TrainingState()
        #: Offsets of `glasses.examples` have holes: transaction markers lie between the records.
        self._hole = 0

    def learn(self, number: int) -> None:
        """The worker of a partition reads policies, models and consents to their ends.

        -1 is the worker of the training agent.
        """
        tables = self.known[number]
        tables.policies.now = PolicyVersions.of(*self.policies)
        for record in self.models[self.read.get(number, 0) :]:
            tables.models.learn(record.key, record.value)
        self.read[number] = len(self.models)
        for said in self.consents:
            if said.offset >= tables.consents.offset:
                learn_consent(tables.consents, said)

    def fetch(self, number: int, count: int, *, checkpoint: bool) -> None:
        """The glasses agent processes the next records of a partition in one transaction."""
        place = self.places[number]
        records = self.captured[number][place.committed : place.committed + count]
        if not records:
            return
        outcome = build.step(self.cores[number], self.states[number], Fetch(CAPTURED, number, records))
        self._commit(outcome.outputs)
        self.states[number] = outcome.state
        place.committed += len(records)
        if checkpoint or outcome.checkpoint:
            place.checkpoint, self.saved[number] = place.committed, outcome.state

    def train(self, count: int, *, checkpoint: bool) -> None:
        """The training agent processes the next examples in one transaction."""
        place = self.places[-1]
        records = self.examples[place.committed : place.committed + count]
        if not records:
            return
        outcome = build.step(self.training, self.learned, Fetch(EXAMPLES, 0, records))
        self._commit(outcome.outputs)
        self.learned = outcome.state
        place.committed += len(records)
        if checkpoint or outcome.checkpoint:
            place.checkpoint, self.saved_learned = place.committed, outcome.state

    def crash(self, number: int, count: int) -> None:
        """The owner of a partition dies.

        The next one restores its state and runs silently, `count` records at a time.
        """
        place, core = self.places[number], self.cores[number]
        state = core.restore(number, core.save(None, self.saved[number]))
        for at in range(place.checkpoint, place.committed, count):
            fetch = Fetch(CAPTURED, number, self.captured[number][at : min(at + count, place.committed)])
            state = build.step(core, state, fetch, silent=True).state
        self.states[number] = state

    def pause(self, number: int, gone: int) -> None:
        """The owner of a partition dies, and of its log the first `gone` records are removed meanwhile.

        The next one goes on as an operator lets it, and puts on record what nobody read, and what the state
        has not seen.
        """
        place, core, log = self.places[number], self.cores[number], self.captured[number]
        at, known = max(place.committed, gone), min(place.committed, gone)
        if at >= len(log):
            return
        state, offset = core.restore(number, core.save(None, self.saved[number])), log[at].offset
        losses = [Loss(CAPTURED, number, log[known].offset, offset - 1, offset, 0, 0)] * (known < gone)
        if place.checkpoint < known:
            first, last = log[place.checkpoint].offset, log[known].offset - 1
            losses.append(Loss(CAPTURED, number, first, last, offset, 0, 0, state=True))
            state = core.behind(state)
        again = log[max(place.checkpoint, known) : place.committed]
        if again:
            fetch = Fetch(CAPTURED, number, again)
            state = build.step(core, state, fetch, silent=True).state
        self._commit([record for loss in losses for record in core.tell(loss)])
        self.states[number] = self.saved[number] = state
        place.committed = place.checkpoint = at

    def crash_training(self, count: int) -> None:
        """The owner of `glasses.examples` dies.

        What its successor's silent run writes is dropped, as the transport does.
        """
        place = self.places[-1]
        state = self.training.restore(0, self.training.save(None, self.saved_learned))
        for at in range(place.checkpoint, place.committed, count):
            fetch = Fetch(EXAMPLES, 0, self.examples[at : min(at + count, place.committed)])
            outcome = build.step(self.training, state, fetch, silent=True)
            assert "inputs" not in build.lineage(outcome.outputs), "a silent run records an input again"
            state = outcome.state
        self.learned = state

    def switch(self, policy: Policy) -> None:
        """Somebody publishes another policy; each agent takes it up once its worker has read it."""
        self.policies.append(policy)

    def roll_back(self, which: int, withdrawn: Versions = ()) -> None:
        """Somebody goes back to one of the promoted versions, because of an erasure if any are withdrawn."""
        promoted = [Pointer.load(one.value).version for one in self.models if one.key == CURRENT_KEY]
        number, self.rollbacks = promoted[which % len(promoted)], self.rollbacks + 1
        back = Rollback(
            number,
            promoted[-1],
            "the last one was rude",
            build.T0_NS + self.rollbacks,
            erasure=bool(withdrawn),
            withdrawn=withdrawn,
        )
        self.models.append(Outgoing(MODELS, 0, CURRENT_KEY, Pointer(number, back).dump(), (), 0))

    def litter(self, value: bytes | None) -> None:
        """Somebody writes what is no example."""
        self._append(StoredRecord(0, build.T0_NS // 1_000_000, b"g1", value))

    def finish(self) -> None:
        """Process everything that is left."""
        while self._left():
            self.learn(-1)
            for number in self.captured:
                self.learn(number)
                self.fetch(number, 7, checkpoint=False)
            self.train(4, checkpoint=False)

    async def _refresh(self) -> None:
        table = self.known[-1].policies
        table.now = replace(table.now, versions=PolicyVersions.of(*self.policies).versions)

    async def _recall(self, number: int) -> None:
        stored = [StoredRecord(0, one.timestamp_ms, one.key, one.value) for one in self.models]
        self.known[-1].models.recall(number, stored)

    def _left(self) -> bool:
        return any(
            self.places[number].committed < len(records)
            for number, records in (*self.captured.items(), (-1, self.examples))
        )

    def _commit(self, records: Sequence[Outgoing]) -> None:
        self.outputs += records
        self.models += [record for record in records if record.topic == MODELS]
        # Transaction markers lie between the records here too.
        self.consents += [
            StoredRecord(
                2 * len(self.consents) + 2 * at, record.timestamp_ms, record.key, record.value, record.headers
            )
            for at, record in enumerate(one for one in records if one.topic == CONSENTS)
        ]
        for record in records:
            if record.topic == EXAMPLES:
                self._append(StoredRecord(0, record.timestamp_ms, record.key, record.value, record.headers))
        self._hole = 1

    def _append(self, record: StoredRecord) -> None:
        offset = self.examples[-1].offset + 1 + self._hole if self.examples else 0
        self._hole = 0
        self.examples.append(StoredRecord(offset, record.timestamp, record.key, record.value, record.headers))

    async def _history(self, offset: int) -> Sequence[Received]:
        return [record for record in self.examples if record.offset <= offset]


@dataclass
class InMemory:
    """The records of a `Live` for a replay.

    `topic` says whether it may look at `glasses.examples` too, as with a broker.
    """

    live: Live
    topic: bool
    size: int
    slow: int = -1
    """A partition that is read record by record."""

    def __post_init__(self) -> None:
        self._at = dict.fromkeys(self.live.captured, 0)

    @property
    def partitions(self) -> Sequence[int]:
        return list(self.live.captured)

    async def read(self, partition: int) -> Sequence[Received]:
        at, size = self._at[partition], 1 if partition == self.slow else self.size
        self._at[partition] += size
        return self.live.captured[partition][at : at + size]

    async def examples(self, begin: int, end: int | None) -> Sequence[Received]:
        return [
            record
            for record in self.live.examples
            if self.topic and begin <= record.offset and (end is None or record.offset < end)
        ]


def meaning(
    outputs: Sequence[Outgoing], leave_out: Callable[[dict[str, Any]], bool] = lambda _: False
) -> dict[str, list[str]]:
    """Lineage event by event, without places and without cuts; sorted, so that two can be compared."""
    tables = build.lineage(outputs)
    places = {"topic", "partition", "offset"}
    found: dict[str, list[str]] = {}
    for table, rows in tables.items():
        said = found.setdefault(table, [])
        for row in rows:
            if table == "edges":
                about = [
                    row[name]
                    for name in sorted(row)
                    if name.split("_")[-1] not in ("first", "step", "count", "width")
                ]
                said += [
                    f"{about} {row['child_first'] + i * row['child_step']} "
                    f"{row['parent_first'] + i * row['parent_step'] + w}"
                    for i in range(row["child_count"])
                    for w in range(row["parent_width"])
                ]
            elif table == "decisions":
                about = [
                    row[name]
                    for name in sorted(row)
                    if name not in ("first", "step", "count", "t_ns", "appended_ns")
                ]
                said += [f"{about} {row['first'] + i * row['step']}" for i in range(row["count"])]
            elif not leave_out(row):
                said.append(
                    str(
                        {
                            name: value
                            for name, value in sorted(row.items())
                            if name not in places or table == "inputs"
                        }
                    )
                )
        said.sort()
    return found
