"""Stage 5 for one fetch of `glasses.examples`: gate each example, and train after every N admitted ones."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import orjson
from msgspec import Struct, ValidationError, json, structs

from streams import metrics
from streams.consent.record import take_ups_of
from streams.errors import MalformedError, UnavailableError, without_values
from streams.events.codec import codec_of
from streams.events.identity import EventId, format_id
from streams.events.kinds import Kinds
from streams.events.record import Fetch, Loss, Outcome, Outgoing, Received, WholeState, stamp_ns
from streams.events.runs import consecutive
from streams.events.shipped import SHIPPED
from streams.events.state import Number
from streams.limits import (
    ADMITTED_MAX,
    CANDIDATES_NAMED_MAX,
    LEFT_OUT_MAX,
    RETRAIN_EVERY_EXAMPLES,
)
from streams.lineage.record import Row, Rows
from streams.lineage.tables import (
    CONSENT_TAKEUP,
    EXAMPLE_ORDER,
    MODEL_TAKEUP,
    NO_EXAMPLE,
    POLICY_TAKEUP,
)
from streams.models.version import SOURCE, STREAM, version_key
from streams.pipeline.emit import lineage_of, records_of
from streams.pipeline.made_version import add_version
from streams.pipeline.rows import input_row, policy_row, told
from streams.pipeline.side_inputs import SideInputs, TrainingInputs
from streams.policy.crossing import Crossing
from streams.policy.policy import Policy
from streams.policy.step import MALFORMED, Cause, Reject, Step
from streams.topology import EXAMPLES
from streams.training import gate, run, seed

log = logging.getLogger(__name__)

_STATE = "@training"
_UNLISTED = Cause(
    "training",
    gate.UNLISTED_RULE,
    "intent: it is none that the policy in force lists, so no model learns it",
)
#: Trains a model on the first pairs and measures it on the second; may run in another process.
Fit = Callable[[Sequence[run.Pair], Sequence[run.Pair]], Awaitable[run.Fitted]]


@dataclass(frozen=True, slots=True)
class TrainingState:
    """State of agent `training`.

    `version` is the last version made, `admitted` the number of examples admitted since, and `examples` the
    ids of all admitted examples. `consents_taken` is the offset of `glasses.consents` up to which consents
    were taken up, `now_ns` the highest append time so far. `left_out` are the newest examples of runs that
    failed; later runs do not learn from them.
    """

    version: int = 1
    admitted: int = 0
    policy_version: str = ""
    consents_taken: int = 0
    examples: frozenset[str] = field(default_factory=frozenset)
    now_ns: int = 0
    left_out: tuple[str, ...] = ()

    def after(self, version: int) -> TrainingState:
        """Return a copy with `version` as the last version made, at least that of the seed."""
        return replace(self, version=max(version, 1))


class _Stored(Struct):
    """The form on `glasses.state`; `examples` are runs (source, stream, first, count)."""

    version: Number
    admitted: Number
    examples: list[tuple[str, str, Number, Number]]
    policy_version: str = ""
    consents_taken: Number = 0
    now_ns: Number = 0
    left_out: tuple[str, ...] = ()


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
        self.fit, self.every = fit, every
        self.licensed = licensed or seed.licensed()

    def empty(self, partition: int) -> TrainingState:
        """State with the seed version as the last one, and no admitted examples."""
        del partition
        return TrainingState()

    def restore(self, partition: int, entries: Mapping[str, bytes]) -> TrainingState:
        """State from checkpointed values."""
        del partition
        if _STATE not in entries:
            return TrainingState()
        stored = json.decode(entries[_STATE], type=_Stored)
        if sum(count for *_, count in stored.examples) > ADMITTED_MAX:
            raise ValidationError("training's state: found more examples than it may name")
        examples = frozenset(
            format_id(source, stream, number)
            for source, stream, first, count in stored.examples
            for number in range(first, first + count)
        )
        return TrainingState(
            stored.version,
            stored.admitted,
            stored.policy_version,
            stored.consents_taken,
            examples,
            stored.now_ns,
            stored.left_out,
        )

    def made_of(self, names: frozenset[str]) -> frozenset[bytes]:
        """No keys: training runs are not repeated, so the state cannot be rebuilt from records."""
        del names
        return frozenset()

    def tell(self, loss: Loss) -> Sequence[Outgoing]:
        """Lineage records that document a loss."""
        return told("training", loss)

    def save(self, before: TrainingState | None, after: TrainingState) -> Mapping[str, bytes]:
        """The single value of the state, if it changed."""
        if before == after:
            return {}
        numbers: dict[tuple[str, str], list[int]] = {}
        for example in map(EventId.parse, after.examples):
            numbers.setdefault((example.source, example.stream), []).append(example.number)
        runs = [
            [*stream, run.first, run.count]
            for stream, some in sorted(numbers.items())
            for run in consecutive(sorted(some))
        ]
        return {
            _STATE: orjson.dumps(
                {
                    "version": after.version,
                    "admitted": after.admitted,
                    "now_ns": after.now_ns,
                    "policy_version": after.policy_version,
                    "consents_taken": after.consents_taken,
                    "examples": runs,
                    "left_out": after.left_out,
                }
            )
        }

    def completes(self, state: TrainingState, fetch: Fetch, side: SideInputs) -> bool:
        """Whether processing a fetch, not silently, triggers a training run, which reads all examples."""
        if state.admitted + len(fetch.records) < self.every:
            return False
        state, _ = _taken_up(state, fetch, side)
        crossing = _crossing(state, side)
        for record in fetch.records:
            now_ns = max(state.now_ns, stamp_ns(record))
            try:
                candidate = gate.judge(record, self._codec, crossing, _adopting(side), now_ns)
            except MalformedError:
                continue
            except Exception:  # noqa: BLE001  `process` will fail on this record too, and report it
                return True
            state = _counted(replace(state, now_ns=now_ns), candidate)
            if state.admitted >= self.every:
                return True
        return False

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
        """
        pointers, order, ran = list[Outgoing](), list[str](), False
        extra: Rows = {"models": [], "training_runs": [], "streams": [], "inputs": [], "policies": []}
        side = inputs.side
        if not silent:
            state, rows = _taken_up(state, fetch, side)
            extra.update(rows)
        crossing = _crossing(state, side)
        policy, step = crossing.policy, crossing.step
        for record in fetch.records:
            now_ns = max(state.now_ns, stamp_ns(record))
            try:
                if record.offset in poisoned:
                    raise MalformedError(poisoned[record.offset])  # noqa: TRY301
                candidate = gate.judge(record, self._codec, crossing, _adopting(side), now_ns)
            except MalformedError as error:
                cause = Cause("training", MALFORMED, str(error), MALFORMED)
                step.rejects.append(Reject.malformed(record, cause, state.now_ns))
                order.append(NO_EXAMPLE)
                continue
            # Only now, because the timestamp of a malformed record is not trusted.
            state = _counted(replace(state, now_ns=now_ns), candidate)
            order.append(candidate.id)
            _say(candidate, record, step, now_ns)
            if state.admitted < self.every:
                continue
            ran, state = True, replace(state, version=state.version + 1, admitted=0)
            if not silent:
                state = await self._train(state, record, inputs, crossing, extra, pointers)
        if not silent:
            extra["inputs"].append(input_row(EXAMPLE_ORDER, "training", fetch, " ".join(order)))
        place, stamp = (fetch.topic, 0), stamp_ns(fetch.records[-1]) // 1_000_000
        records, values = records_of(step, policy, place)
        records += lineage_of(step, values, policy, place, extra, (b"training/0", stamp))
        return Outcome(
            state,
            [*records, *pointers],
            # After a training run a checkpoint is due: a silent re-run does not train, so it could not tell
            # whether the run succeeded.
            checkpoint=len(extra["inputs"]) > 1 or ran,
        )

    async def _train(
        self,
        state: TrainingState,
        trigger: Received,
        inputs: TrainingInputs,
        crossing: Crossing,
        extra: Rows,
        pointers: list[Outgoing],
    ) -> TrainingState:
        """Train a version on all examples that the gate admits at the time of the trigger.

        Examples that the gate now judges differently than before get a new decision. If training fails for
        its own reasons, the failure is reported and recorded, and the next run uses the version number.
        """
        if inputs.history is None:
            raise UnavailableError(f"{EXAMPLES} was not read for a training run; tried again")
        now_ns, candidates, step = state.now_ns, [], crossing.step
        for record in inputs.history:
            if record.offset > trigger.offset:
                break
            try:
                candidates.append(gate.judge(record, self._codec, crossing, _adopting(inputs.side), now_ns))
            except MalformedError:
                continue
        step.decisions += [
            candidate.decision
            for candidate in candidates
            if candidate.listed and candidate.admitted is not (candidate.id in state.examples)
        ]
        state = replace(
            state, examples=frozenset(candidate.id for candidate in candidates if candidate.admitted)
        )
        failed = set(state.left_out)
        used = run.within([candidate for candidate in candidates if candidate.id not in failed])
        try:
            fitted = await self.fit(run.pairs_of(self.licensed.seed, used), self.licensed.validation.pairs)
            made = run.make_version(
                state.version,
                fitted,
                run.manifest_of(self.licensed.seed, used, len(candidates) - len(used)),
                used,
                crossing.policy,
                now_ns,
            )
            pointers += add_version(
                made,
                crossing,
                extra,
                EventId.parse(candidates[-1].id),
                trigger.offset,
                len(self.licensed.validation.pairs),
            )
        except (UnavailableError, OSError):
            raise
        except Exception as error:  # noqa: BLE001  a failing run must not stop the processing of examples
            newest = [candidate.id for candidate in used if candidate.admitted][-self.every :]
            step.rejects.append(_failed(state.version, without_values(error), newest, trigger.offset, now_ns))
            log.error("%s", step.rejects[-1].cause.reason)  # noqa: TRY400  a traceback may quote utterances
            metrics.count("training_failed_total")
            return replace(
                state, version=state.version - 1, left_out=(*state.left_out, *newest)[-LEFT_OUT_MAX:]
            )
        metrics.gauge("training_left_out_examples", made.manifest.left_out)
        return state


def _crossing(state: TrainingState, side: SideInputs) -> Crossing:
    """Make the `Crossing` of a fetch, with the policy and consents that the state has taken up."""
    policy = side.policies.version(state.policy_version)
    return Crossing(policy, side.consents.of_partition(state.consents_taken, {}), Step())


def _adopting(side: SideInputs) -> gate.Adopt:
    """Make a function that translates labels to the policy in force; empty if their policy is unknown."""

    def adopt(label: bytes, version: str, policy: Policy) -> bytes:
        return side.label(label, version, policy) if version in side.policies.versions else b""

    return adopt


def _taken_up(state: TrainingState, fetch: Fetch, side: SideInputs) -> tuple[TrainingState, Rows]:
    """Take up what is new in `side`, and record as an input each change that can affect results.

    Return the new state and the rows that record it.
    """
    inputs: list[Row] = []
    rows: Rows = {"inputs": inputs, "policies": []}
    if side.policies.current != state.policy_version:
        policy = side.policies.version(side.policies.current)
        rows["policies"].append(policy_row(policy, fetch, first=not state.policy_version))
        state = replace(state, policy_version=policy.version)
        inputs.append(input_row(POLICY_TAKEUP, "training", fetch, policy.version))
    if side.consents.offset > state.consents_taken:
        words, _ = side.consents.fresh(state.consents_taken, {})
        state = replace(state, consents_taken=side.consents.offset)
        inputs += [input_row(CONSENT_TAKEUP, "training", fetch, part) for part in take_ups_of(words)]
    if side.models.highest > state.version:
        # Another program wrote versions, so continue after the highest number that is taken.
        state = state.after(side.models.highest)
        inputs.append(input_row(MODEL_TAKEUP, "training", fetch, str(state.version)))
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
            value=record.value or b"",
        )
    )


def _failed(version: int, why: str, newest: Sequence[str], position: int, now_ns: int) -> Reject:
    """Reject for a training run that failed. It names no event, because the next run reuses the number."""
    named = ", ".join(newest[:CANDIDATES_NAMED_MAX])
    more = len(newest) - CANDIDATES_NAMED_MAX
    reason = (
        f"model version {version} was not made: {why}; left out from now on are the examples that came since "
        f"the last one: {named or 'none'}{f' and {more} more' if more > 0 else ''}"
    )
    return Reject(
        cause=Cause("training", "run-failed", reason),
        position=position,
        key=version_key(version),
        source=SOURCE,
        stream=STREAM,
        t_ns=now_ns,
        appended_ns=now_ns,
    )
