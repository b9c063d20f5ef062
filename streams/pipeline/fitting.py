"""One training run of a fetch: judge all examples again, fit, compare with what serves, record."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from streams import metrics
from streams.errors import MalformedError, UnavailableError, without_values
from streams.events.codec import Codec
from streams.events.identity import EventId
from streams.events.record import Outgoing, Received
from streams.limits import CANDIDATES_NAMED_MAX, LEFT_OUT_MAX
from streams.lineage.record import Rows
from streams.models.intent import IntentModel
from streams.models.version import SOURCE, STREAM, ModelVersion, version_key
from streams.pipeline.made_version import add_version
from streams.pipeline.side_inputs import SideInputs, TrainingInputs
from streams.pipeline.training_state import TrainingState
from streams.policy.crossing import Crossing
from streams.policy.policy import Policy
from streams.policy.step import Cause, Reject
from streams.topology import EXAMPLES
from streams.training import gate, promotion, run
from streams.training.seed import Licensed
from streams.training.splits import key_of

log = logging.getLogger(__name__)

#: Trains a model on the first pairs, and measures it and the model that serves on the second; may run in
#: another process.
Fit = Callable[[Sequence[run.Pair], Sequence[run.Pair], IntentModel | None], Awaitable[run.Fitted]]


@dataclass(frozen=True, slots=True)
class Means:
    """What every run of a core uses; `every` is the number of admitted examples that start one."""

    codec: Codec
    fit: Fit
    every: int
    licensed: Licensed


async def train(
    means: Means,
    state: TrainingState,
    trigger: Received,
    inputs: TrainingInputs,
    crossing: Crossing,
    extra: Rows,
    pointers: list[Outgoing],
    made: dict[int, ModelVersion],
) -> TrainingState:
    """Train a version on all examples that the gate admits at the time of the trigger.

    It serves from then on unless it is worse than the version that serves; then it is kept as declined.
    `made` has the versions that this fetch made before, and gets the new one.

    Examples that the gate now judges differently than before get a new decision. If training fails for its
    own reasons, the failure is reported and recorded, and the next run uses the version number.
    """
    if inputs.history is None:
        raise UnavailableError(f"{EXAMPLES} was not read for a training run; tried again")
    now_ns, candidates, step = state.now_ns, list[gate.Candidate](), crossing.step
    for record in inputs.history:
        if record.offset > trigger.offset:
            break
        try:
            candidates.append(gate.judge(record, means.codec, crossing, adopting(inputs.side), now_ns))
        except MalformedError:
            continue
    step.decisions += [
        candidate.decision
        for candidate in candidates
        if candidate.listed and candidate.admitted is not (candidate.id in state.examples)
    ]
    state = replace(state, examples=frozenset(candidate.id for candidate in candidates if candidate.admitted))
    failed = set(state.left_out)
    reserved = frozenset(key_of(text) for text, _ in means.licensed.validation.pairs)
    used = run.within([candidate for candidate in candidates if candidate.id not in failed], reserved)
    try:
        version, measured = await _fitted(
            means,
            state,
            run.divided(used, reserved),
            len(candidates) - len(used),
            inputs.side,
            crossing,
            made,
        )
        pointer = add_version(
            version, crossing, extra, EventId.parse(candidates[-1].id), trigger.offset, measured
        )
    except (UnavailableError, OSError):
        raise
    except Exception as error:  # noqa: BLE001  a failing run must not stop the processing of examples
        newest = [candidate.id for candidate in used if candidate.admitted][-means.every :]
        step.rejects.append(_failed(state.version, without_values(error), newest, trigger.offset, now_ns))
        log.error("%s", step.rejects[-1].cause.reason)  # noqa: TRY400  a traceback may quote utterances
        metrics.count("training_failed_total")
        return replace(state, version=state.version - 1, left_out=(*state.left_out, *newest)[-LEFT_OUT_MAX:])
    metrics.gauge("training_left_out_examples", version.manifest.left_out)
    if version.declined:
        log.warning("Model version %d is declined: %s", version.version, version.declined)
        metrics.count("training_declined_total")
    made[version.version] = version
    pointers += pointer
    return replace(state, serving=version.version) if pointer else state


async def _fitted(
    means: Means,
    state: TrainingState,
    material: run.Material,
    left_out: int,
    side: SideInputs,
    crossing: Crossing,
    made: dict[int, ModelVersion],
) -> tuple[ModelVersion, promotion.Measured]:
    """Fit a version, and compare it with the one that serves."""
    seed = means.licensed.seed
    pairs = run.pairs_of(seed, material.learned)
    validation = promotion.validation_of(means.licensed.validation, material.validation, pairs)
    serving = made.get(state.serving) or side.models.version(state.serving)
    fitted = await means.fit(pairs, validation.pairs, serving.model)
    verdict = promotion.judge(fitted.right, fitted.before, validation.wearers, state.serving)
    version = run.make_version(
        state.version,
        fitted,
        run.manifest_of(seed, material, left_out),
        material.learned,
        crossing.policy,
        state.now_ns,
        licensed=validation.licensed,
        declined=verdict.reason,
    )
    return version, promotion.Measured(validation, verdict, state.serving)


def adopting(side: SideInputs) -> gate.Adopt:
    """Make a function that translates labels to the policy in force; empty if their policy is unknown."""

    def adopt(label: bytes, version: str, policy: Policy) -> bytes:
        return side.label(label, version, policy) if version in side.policies.versions else b""

    return adopt


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
