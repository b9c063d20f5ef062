"""Stage 5 for one fetch of `glasses.examples`: gate each example, and train after every N admitted ones."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from msgspec import structs

from streams.consent.erased import Erasure
from streams.consent.record import take_ups_of
from streams.errors import MalformedError
from streams.events.codec import codec_of
from streams.events.kinds import Kinds
from streams.events.record import Fetch, Loss, Outcome, Outgoing, Received, WholeState, stamp_ns
from streams.events.shipped import SHIPPED
from streams.limits import (
    RETRAIN_EVERY_EXAMPLES,
)
from streams.lineage.rows import Row, Rows
from streams.lineage.tables import (
    CONSENT_TAKEUP,
    EXAMPLE_ORDER,
    MODEL_ROLLBACK,
    MODEL_TAKEUP,
    NO_EXAMPLE,
    POLICY_TAKEUP,
)
from streams.metrics import Tally
from streams.models.version import ModelVersion
from streams.pipeline.emit import lineage_of, records_of
from streams.pipeline.fitting import Fit, Means, train
from streams.pipeline.judging import adopting
from streams.pipeline.made_version import rollback_row
from streams.pipeline.rows import input_row, policy_row, told
from streams.pipeline.side_inputs import SideInputs, TrainingInputs
from streams.pipeline.tally import tallied
from streams.pipeline.training_state import STATE_KEY, TrainingState
from streams.policy.crossing import Crossing
from streams.policy.step import MALFORMED, Cause, Reject, Step
from streams.sealing.sealed import unopened
from streams.training import gate, promotion, seed

log = logging.getLogger(__name__)

_UNLISTED = Cause(
    "training",
    gate.UNLISTED_RULE,
    "intent: it is none that the policy in force lists, so no model learns it",
)


_SEALED = "value: it is sealed, and does not open at this place; expected what the feedback stage sealed"
_UNOPENED = {
    "expired": "value: it is sealed, and its key was destroyed because its retention was over",
    "erased": "value: it is sealed, and its key was destroyed because its wearer was erased",
}


class TrainingCore(WholeState[TrainingState]):
    """Stage 5 (see `streams.events.record.Core`); a run starts after every `every` admitted examples."""

    def __init__(
        self,
        fit: Fit,
        every: int = RETRAIN_EVERY_EXAMPLES,
        *,
        kinds: Kinds = SHIPPED,
        licensed: seed.Licensed | None = None,
    ) -> None:
        self._codec = codec_of(kinds)
        self.every = every
        self._means = Means(self._codec, fit, every, licensed or seed.licensed())
        promotion.apart(self._means.licensed)

    def empty(self, partition: int) -> TrainingState:
        """State with the seed version as the last one, and no admitted examples."""
        del partition
        return TrainingState()

    def restore(self, partition: int, entries: Mapping[str, bytes]) -> TrainingState:
        """State from checkpointed values."""
        del partition
        return TrainingState() if STATE_KEY not in entries else TrainingState.load(entries[STATE_KEY])

    def made_of(self, names: frozenset[str]) -> frozenset[bytes]:
        """No keys: training runs are not repeated, so the state cannot be rebuilt from records."""
        del names
        return frozenset()

    def tell(self, loss: Loss) -> Sequence[Outgoing]:
        """Lineage records that document a loss."""
        return told("training", loss)

    def save(self, before: TrainingState | None, after: TrainingState) -> Mapping[str, bytes]:
        """The single value of the state, if it changed."""
        return {} if before == after else {STATE_KEY: after.dump()}

    def completes(self, state: TrainingState, fetch: Fetch, side: SideInputs) -> bool:
        """Whether processing a fetch, not silently, triggers a training run, which reads all examples."""
        few = state.admitted + len(fetch.records) < self.every
        if few and not (state.owed or _may_owe(state, side)):
            return False
        state, _ = _taken_up(state, fetch, side)
        if few and not state.owed:
            return False
        crossing = _crossing(state, side)
        for record in fetch.records:
            now_ns = max(state.now_ns, stamp_ns(record))
            try:
                candidate = self._judged(record, crossing, side, now_ns, state)
            except MalformedError:
                continue
            except Exception:  # noqa: BLE001  `process` will fail on this record too, and report it
                return True
            state = _counted(replace(state, now_ns=now_ns), candidate)
            if self._due(state):
                return True
        return False

    def _due(self, state: TrainingState) -> bool:
        return state.owed or state.admitted >= self.every

    def _judged(
        self, record: Received, crossing: Crossing, side: SideInputs, now_ns: int, state: TrainingState
    ) -> gate.Candidate:
        return gate.judge(record, self._codec, crossing, adopting(side), now_ns, withdrawn=state.withdrawn)

    async def process(
        self,
        state: TrainingState,
        fetch: Fetch,
        inputs: TrainingInputs,
        *,
        silent: bool,
        poisoned: Mapping[int, str],
    ) -> Outcome[TrainingState]:
        """Gate the examples of a fetch. Every N-th admitted one triggers training in the same transaction.

        In which order the partitions' examples arrive depends on timing, and decides which version learns
        from which examples. So the order is recorded as an input (not when `silent`). UnavailableError if
        `inputs` lack what the state has taken up, or the examples that a run reads.

        If a state was lost and names nothing, a silent run judges by what is in force now; the next fetch
        takes that up. It makes no versions: those that there are tell the last one, and which serves.
        """
        pointers, order, ran = list[Outgoing](), list[str](), False
        extra: Rows = {
            "models": [],
            "training_runs": [],
            "promotions": [],
            "training_checks": [],
            "training_assets": [],
            "streams": [],
            "inputs": [],
            "policies": [],
        }
        made: dict[int, ModelVersion] = {}
        side, unnamed = inputs.side, silent and not state.policy_version
        if not silent:
            state, rows = _taken_up(state, fetch, side)
            extra.update(rows)
        crossing = _crossing(_as_in_force(state, side) if unnamed else state, side)
        policy, step = crossing.policy, crossing.step
        for record in fetch.records:
            now_ns = max(state.now_ns, stamp_ns(record))
            try:
                if record.offset in poisoned:
                    raise MalformedError(poisoned[record.offset])  # noqa: TRY301
                if why := unopened(record.headers):
                    raise MalformedError(_UNOPENED.get(why, _SEALED))  # noqa: TRY301
                candidate = self._judged(record, crossing, side, now_ns, state)
            except MalformedError as error:
                cause = Cause("training", MALFORMED, str(error), MALFORMED)
                step.rejects.append(Reject.malformed(record, cause, state.now_ns))
                order.append(NO_EXAMPLE)
                continue
            # Only now, because the timestamp of a malformed record is not trusted.
            state = _counted(replace(state, now_ns=now_ns), candidate)
            order.append(candidate.id)
            _say(candidate, record, step, now_ns)
            if not self._due(state):
                continue
            ran, state = True, replace(state, admitted=0, owed=False)
            if unnamed:
                continue
            state = replace(state, version=state.version + 1)
            if silent:
                state = replace(state, serving=state.version)
            else:
                state = await train(self._means, state, record, inputs, crossing, extra, pointers, made)
        if not silent:
            extra["inputs"].append(input_row(EXAMPLE_ORDER, "training", fetch, " ".join(order)))
        place, stamp = (fetch.topic, 0), stamp_ns(fetch.records[-1]) // 1_000_000
        records, written = records_of(step, policy, place)
        records += lineage_of(step, written, policy, place, extra, (b"training/0", stamp))
        return Outcome(
            state,
            [*records, *pointers],
            # After a training run a checkpoint is due: a silent re-run does not train, so it could not tell
            # whether the run succeeded, and whether its version was promoted.
            checkpoint=len(extra["inputs"]) > 1 or ran,
            tally=Tally() if silent else tallied(step),
        )


def _crossing(state: TrainingState, side: SideInputs) -> Crossing:
    """Make the `Crossing` of a fetch, with the policy and consents that the state has taken up."""
    policy = side.policies.version(state.policy_version)
    return Crossing(policy, side.consents.of_partition(state.consents_taken, {}), Step())


def _as_in_force(state: TrainingState, side: SideInputs) -> TrainingState:
    """Return a copy that has taken up the policy and the consents that are in force now."""
    return replace(state, policy_version=side.policies.current, consents_taken=side.consents.offset)


def _may_owe(state: TrainingState, side: SideInputs) -> bool:
    """Whether something new in `side` may owe a run; nothing there changes how many were admitted."""
    rollback = side.models.rollback
    returned = rollback is not None and rollback.at_ns != state.rolled_back_ns
    return returned or side.consents.offset > state.consents_taken


def _taken_up(state: TrainingState, fetch: Fetch, side: SideInputs) -> tuple[TrainingState, Rows]:
    """Take up what is new in `side`, and record as an input each change that can affect results.

    Return the new state and the rows that record it.
    """
    inputs: list[Row] = []
    rows: Rows = {"inputs": inputs, "policies": [], "promotions": []}
    began = not state.policy_version
    if side.policies.current != state.policy_version:
        policy = side.policies.version(side.policies.current)
        rows["policies"].append(policy_row(policy, fetch, first=began))
        state = replace(state, policy_version=policy.version)
        inputs.append(input_row(POLICY_TAKEUP, "training", fetch, policy.version))
    if side.consents.offset > state.consents_taken:
        words, _ = side.consents.fresh(state.consents_taken, {})
        # A run that was under way may still make a version that knows who was erased.
        erased = state.consents_taken > 0 and any(isinstance(word, Erasure) for _, word in words)
        state = replace(state, consents_taken=side.consents.offset, owed=state.owed or erased)
        inputs += [input_row(CONSENT_TAKEUP, "training", fetch, part) for part in take_ups_of(words)]
    if side.models.highest > state.version:
        # Another program wrote versions, or the state was lost: go on after the highest number that is taken.
        state = state.after(side.models.highest)
        if began:
            state = replace(state, serving=side.models.serving)
        inputs.append(input_row(MODEL_TAKEUP, "training", fetch, str(state.version)))
    rollback = side.models.rollback
    if rollback is not None and rollback.at_ns != state.rolled_back_ns:
        state = state.returned(rollback)
        if not (rollback.erasure or rollback.superseded):
            state = state.learning_on_from(side.models.version(rollback.version))
        inputs.append(input_row(MODEL_ROLLBACK, "training", fetch, rollback.dump()))
        rows["promotions"].append(rollback_row(rollback))
    return state, rows


def _counted(state: TrainingState, candidate: gate.Candidate) -> TrainingState:
    """State after one more example was judged; a repeated example counts once."""
    if not candidate.admitted or candidate.id in state.examples:
        return state
    return replace(state, admitted=state.admitted + 1, examples=state.examples | {candidate.id})


def _say(candidate: gate.Candidate, record: Received, step: Step, now_ns: int) -> None:
    """Record the gate's decision about an example, or reject it if the policy does not list its intent."""
    if candidate.listed:
        step.decisions.append(candidate.decision)
        return
    batch, zone = candidate.tagged.batch, candidate.tagged.zone
    step.rejects.append(
        Reject.refused(
            structs.replace(batch, appended_ns=now_ns),
            _UNLISTED,
            zone=zone,
            key=record.key or b"",
        )
    )
