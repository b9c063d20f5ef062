"""A replay with recorded inputs, whose results equal those of the live run (law 1).

Every partition has its own core and its own order. The division into fetches makes no difference, except that
a fetch must end where the live pipeline took something up. A partition waits for a model version that is not
made yet, and training waits for examples that no partition has made yet. In the live run both existed before
they were used, so one of them can always continue, unless an input is missing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from streams.consent.erased import Erasure, Mark
from streams.consent.record import consents_of
from streams.consent.view import Consents
from streams.consent.words import NOBODY
from streams.errors import InputError
from streams.events.digest import Digests, plain_digest
from streams.events.record import Fetch, Outgoing, Received, StoredRecord
from streams.kafka.compute import compute
from streams.limits import RETRAIN_EVERY_EXAMPLES
from streams.lineage.tables import CONSENT_TAKEUP, MODEL_CANDIDATE, MODEL_ROLLBACK, NO_EXAMPLE, POLICY_TAKEUP
from streams.models.pointer import Rollback
from streams.models.registry import ModelTable, ModelVersions
from streams.pipeline.bootstrap import first_records
from streams.pipeline.glasses import GlassesCore
from streams.pipeline.partition import PartitionState
from streams.pipeline.side_inputs import SideInputs, TrainingInputs
from streams.pipeline.training import TrainingCore
from streams.pipeline.training_state import TrainingState
from streams.policy.versions import PolicyVersions
from streams.processing.operators import Operators
from streams.processing.shipped import SHIPPED_OPERATORS
from streams.replay import fit_here
from streams.replay.arrivals import Arrivals
from streams.replay.inputs import Behind, ExampleOrder, RecordedInputs, TakeUp
from streams.replay.pairs import bind, on_device
from streams.topology import CAPTURED, EXAMPLES, MODELS


class _TakenUp:
    """The recorded inputs that an agent has taken up so far, as side inputs of its core.

    All agents share the model versions that were made, but each has its own version in force. Words get new
    offsets, in the order in which they are taken up.
    """

    def __init__(
        self,
        policies: PolicyVersions,
        pairs: list[tuple[str, str]],
        erasures: Sequence[Erasure] = (),
        mark: Mark | None = None,
        digests: Digests = plain_digest,
    ) -> None:
        self._digests = digests
        self._policies, self._pairs, self.model, self.candidate = policies, pairs, 0, 0
        self._consents = Consents(mark)
        self._rollback: Rollback | None = None
        bind(self._consents, pairs)
        for erasure in erasures:
            self._consents.learn(self._consents.offset, NOBODY, erasure)
        #: Offset after what comes first: the pairings, and all erasures, as nothing that they took returns.
        self.bound = self._consents.offset

    def take(self, taken: TakeUp) -> None:
        """Take up one recorded input."""
        if taken.kind == CONSENT_TAKEUP:
            for wearer, word in consents_of(taken.value):
                self._consents.learn(self._consents.offset, wearer, on_device(wearer, word, self._pairs))
        elif taken.kind == POLICY_TAKEUP:
            self._policies = replace(self._policies, current=taken.value)
        elif taken.kind == MODEL_CANDIDATE:
            self.candidate = int(taken.value)
        elif taken.kind == MODEL_ROLLBACK:
            self._rollback = Rollback.load(taken.value)
        else:
            self.model = int(taken.value)

    def side_inputs(self, made: ModelVersions) -> SideInputs:
        """Side inputs with everything that was taken up so far; `made` are the existing model versions."""
        model = self.model
        models = ModelVersions(made.versions, model, model, model, self._rollback, self.candidate)
        return SideInputs(self._policies, models, self._consents.view(), self._digests)


def erasures_in(inputs: RecordedInputs) -> list[Erasure]:
    """All erasures that any partition or training took up."""
    taken = [*inputs.training, *(each for of in inputs.take_ups.values() for each in of)]
    statements = [
        statement
        for each in taken
        if each.kind == CONSENT_TAKEUP
        for _, statement in consents_of(each.value)
        if isinstance(statement, Erasure)
    ]
    return list(dict.fromkeys(statements))


@dataclass
class _Partition:
    """One partition of `glasses.captured`: its remaining take-ups, the records read ahead, and its state."""

    number: int
    taken_up: _TakenUp
    take_ups: deque[TakeUp]
    state: PartitionState
    ahead: Sequence[Received] = ()
    ended: bool = False
    behind: deque[Behind] = field(default_factory=deque)
    #: State before the first record that the next of `behind` did not include, and the records since then.
    left: PartitionState | None = None
    since: list[Received] = field(default_factory=list)


@dataclass
class RecordedReplay:
    """A run of both cores under recorded inputs.

    Parameters
    ----------
    inputs
        Result of `read_inputs`.
    arrivals
        The records of `glasses.captured`.
    write
        Receives all records that would be written to Kafka, by transaction, in a possible order.
    every
        Number of admitted examples per training run.
    pairs
        (device, wearer) that count as paired, for inputs without pairings.
    operators
        Those of the live pipeline.
    digests
        Makes digests of values for sealed topics.
    mark
        Of the key store of the live pipeline, without which nothing is replayed if anybody was erased. What
        was captured before an erasure is refused from the beginning.
    """

    inputs: RecordedInputs
    arrivals: Arrivals
    write: Callable[[Sequence[Outgoing]], None]
    every: int = RETRAIN_EVERY_EXAMPLES
    pairs: list[tuple[str, str]] = field(default_factory=list)
    operators: Operators = SHIPPED_OPERATORS
    digests: Digests = plain_digest
    mark: Mark | None = None
    fetches: int = 0
    #: Number of records that the live pipeline lost, and that are therefore skipped.
    lost: int = 0
    #: Examples, by id, that training has not read yet.
    made: dict[str, Received] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._models = ModelTable()
        self._orders = deque(self.inputs.orders)
        self._examples: list[Received] = []
        self._taken: list[Received] = []
        policies = {policy.version: policy for policy in self.inputs.policies}
        self._policies = PolicyVersions(policies, self.inputs.policy.version)
        self._erasures = erasures_in(self.inputs)
        self._taken_up = _TakenUp(self._policies, self.pairs, self._erasures, self.mark)
        self._take_ups = deque(self.inputs.training)
        self._glasses = GlassesCore(operators=self.operators)
        self._training = TrainingCore(fit_here, self.every, kinds=self.operators.kinds)
        self._learned = TrainingState(consents_taken=self._taken_up.bound)

    async def run(self) -> None:
        """Process all arrivals.

        Raises
        ------
        InputError
            A recorded input is missing, or names something that was never made.
        """
        self._deliver(first_records(self.inputs.policy, self.inputs.published_ns))
        partitions = [self._partition(number) for number in self.arrivals.partitions]
        while True:
            went_on = [await self._advance(partition) for partition in partitions]
            went_on.append(await self._train())
            if any(went_on):
                continue
            if not self._orders and all(partition.ended and not partition.ahead for partition in partitions):
                return
            if not await self._take_foreign():
                raise InputError(self._stuck(partitions))

    def _partition(self, number: int) -> _Partition:
        taken_up = _TakenUp(self._policies, self.pairs, self._erasures, self.mark, self.digests)
        return _Partition(
            number,
            taken_up,
            deque(self.inputs.take_ups.get(number, ())),
            PartitionState(consents_taken=taken_up.bound),
            behind=deque(self.inputs.behind.get(number, ())),
        )

    async def _advance(self, partition: _Partition) -> bool:
        """Process the next records of a partition, up to a take-up.

        False if there are none, or if the partition waits for a model version.
        """
        while not partition.ahead and not partition.ended:
            arrived = await self.arrivals.read(partition.number)
            partition.ended = not arrived
            partition.ahead = self._read_live(partition.number, arrived)
        if not partition.ahead:
            return False
        take_ups, first = partition.take_ups, partition.ahead[0].offset
        await self._fall_behind(partition, first)
        while take_ups and take_ups[0].offset <= first:
            if take_ups[0].version is not None and take_ups[0].version not in self._models.now.versions:
                return False
            partition.taken_up.take(take_ups.popleft())
        if not partition.taken_up.model:
            raise InputError(
                f"{CAPTURED} partition {partition.number}, offset {first}: no recorded input says which "
                "model served, expected a model-takeup there or before; was the store complete when it was "
                "written, and is it that of this journal?"
            )
        cut = self._cut(partition, first)
        fetch = Fetch(CAPTURED, partition.number, partition.ahead[:cut])
        partition.ahead = partition.ahead[cut:]
        if partition.left is not None:
            last = partition.behind[0].last
            partition.since += [record for record in fetch.records if record.offset > last]
        inputs = partition.taken_up.side_inputs(self._models.now)
        outcome = await compute(self._glasses, partition.state, fetch, inputs, silent=False)
        partition.state = outcome.state
        self._deliver(outcome.outputs)
        self.fetches += 1
        return True

    def _cut(self, partition: _Partition, first: int) -> int:
        """Number of records for the next fetch, which ends before a take-up or a change of the state."""
        stops = [taken.offset for taken in (*partition.take_ups,)[:1]]
        stops += [offset for loss in (*partition.behind,)[:1] for offset in (loss.first, loss.offset)]
        for at, record in enumerate(partition.ahead):
            if any(first < stop <= record.offset for stop in stops):
                return at
        return len(partition.ahead)

    async def _fall_behind(self, partition: _Partition, first: int) -> None:
        """Continue with an older state at the offset where the live pipeline had to."""
        if partition.left is not None and first >= partition.behind[0].offset:
            partition.behind.popleft()
            partition.state, partition.left = self._glasses.behind(partition.left), None
            if partition.since:
                again = Fetch(CAPTURED, partition.number, partition.since)
                inputs = partition.taken_up.side_inputs(self._models.now)
                outcome = await compute(self._glasses, partition.state, again, inputs, silent=True)
                partition.state, partition.since = outcome.state, []
        if partition.behind and partition.left is None and first >= partition.behind[0].first:
            partition.left = partition.state

    def _read_live(self, number: int, arrived: Sequence[Received]) -> Sequence[Received]:
        """Those of `arrived` that the live pipeline read."""
        lost = self.inputs.lost.get(number, ())
        read = [
            record for record in arrived if not any(first <= record.offset <= last for first, last in lost)
        ]
        self.lost += len(arrived) - len(read)
        return read

    async def _train(self) -> bool:
        """Process the next fetch of training, if all its examples were made or taken from the topic."""
        if not self._orders or (self._awaited(self._orders[0]) is not None and not self._taken):
            return False
        order = self._orders.popleft()
        while self._take_ups and self._take_ups[0].offset <= order.offset:
            self._taken_up.take(self._take_ups.popleft())
        taken = self._taken or (await self._on_topic(order) if NO_EXAMPLE in order.ids else [])
        self._taken = []
        made = [self.made.pop(name, None) for name in order.ids]
        # Malformed records are only known if the topic can be read; otherwise an empty record stands in.
        nothing = StoredRecord(0, order.timestamp_ms, None, None)
        records = taken or [_moved(example or nothing, order.offset + at) for at, example in enumerate(made)]
        self._examples += records
        inputs = TrainingInputs(self._taken_up.side_inputs(self._models.now), self._examples)
        fetch = Fetch(EXAMPLES, 0, records)
        outcome = await compute(self._training, self._learned, fetch, inputs, silent=False)
        self._learned = outcome.state
        self._deliver(outcome.outputs)
        return True

    def _awaited(self, order: ExampleOrder) -> str | None:
        """First example of an order that was not made yet, or that the order names twice; None if none."""
        named: set[str] = set()
        for name in order.ids:
            if name != NO_EXAMPLE and (name not in self.made or name in named):
                return name
            named.add(name)
        return None

    async def _take_foreign(self) -> bool:
        """Take examples that training waits for, and that no partition makes, from the topic.

        Called if nothing else can continue. Does nothing if the topic cannot be read.
        """
        self._taken = await self._on_topic(self._orders[0]) if self._orders else []
        return bool(self._taken)

    async def _on_topic(self, order: ExampleOrder) -> list[Received]:
        """Records of one order from `glasses.examples` itself, with the offsets of the replay.

        Empty if they are not known.
        """
        after = next((later.offset for later in self._orders if later.offset > order.offset), None)
        on_topic = await self.arrivals.examples(order.offset, after)
        if on_topic and len(on_topic) < len(order.ids):
            raise InputError(
                f"{EXAMPLES} offset {order.offset}: found {len(on_topic)} records, expected the"
                f" {len(order.ids)} of a recorded input; is this the broker that the store was written from, "
                "and has it kept all of them?"
            )
        return [_moved(record, order.offset + at) for at, record in enumerate(on_topic[: len(order.ids)])]

    def _stuck(self, partitions: Sequence[_Partition]) -> str:
        waits = [
            f"partition {partition.number} waits at offset {partition.ahead[0].offset} for model version "
            f"{partition.take_ups[0].value}"
            for partition in partitions
            if partition.ahead
        ]
        if self._orders:
            order = self._orders[0]
            waits.append(
                f"training waits at offset {order.offset} of {EXAMPLES} for {self._awaited(order)}, which "
                "was never made or is named twice"
            )
        return (
            f"The replay cannot go on: {'; '.join(waits)}. The recorded inputs name what these journals do "
            "not lead to; name the store that was written from them (after the death of a broker also the "
            "broker, with --broker)."
        )

    def _deliver(self, records: Sequence[Outgoing]) -> None:
        """Write records, and keep those that the cores read later (examples and models)."""
        self.write(records)
        for record in records:
            if record.topic == MODELS:
                self._models.learn(record.key, record.value)
            elif record.topic == EXAMPLES:
                name = dict(record.headers)["ce_id"].decode()
                self.made[name] = StoredRecord(
                    0, record.timestamp_ms, record.key, record.value, record.headers
                )


def _moved(record: Received, offset: int) -> StoredRecord:
    wire = record.wire if isinstance(record, StoredRecord) else None
    return StoredRecord(offset, record.timestamp, record.key, record.value, record.headers, wire)
