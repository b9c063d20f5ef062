"""One training run of a fetch: judge all examples again, fit, compare with what serves, record."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from streams import metrics
from streams.errors import UnavailableError, without_values
from streams.events.codec import Codec
from streams.events.identity import EventId
from streams.events.record import Outgoing, Received
from streams.limits import CANDIDATES_NAMED_MAX, LEFT_OUT_MAX
from streams.lineage.rows import Rows
from streams.models.intent import IntentModel
from streams.models.pointer import Pointer
from streams.models.version import SOURCE, STREAM, ModelVersion, version_key
from streams.pipeline.going_back import turned_back
from streams.pipeline.judging import judged, newest, used_of
from streams.pipeline.made_version import add_version, asset_rows, check_rows, pointer_to, rollback_row
from streams.pipeline.side_inputs import SideInputs, TrainingInputs
from streams.pipeline.training_state import TrainingState
from streams.policy.crossing import Crossing
from streams.policy.rules import RunOutcome
from streams.policy.step import Cause, Reject, Step
from streams.topology import EXAMPLES
from streams.training import assets, promotion, quality, run
from streams.training.lesson import Lesson
from streams.training.seed import Licensed

log = logging.getLogger(__name__)

#: Trains a model on a lesson, and measures it and the model that serves on a validation set; may run in
#: another process.
Fit = Callable[[Lesson, promotion.Validation, IntentModel | None], Awaitable[run.Fitted]]


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
    Before that, a run is refused if the policy does not permit one of its assets, and held if its examples
    fail a check; both are recorded, and the next run uses the version number and looks again. If live
    feedback turned against the version that serves, an earlier one serves again instead, and nothing is
    trained.
    `made` has the versions that this fetch made before, and gets the new one.

    Examples that the gate now judges differently than before get a new decision. If training fails for its
    own reasons, the failure is reported and recorded, and the next run uses the version number.
    """
    if inputs.history is None:
        raise UnavailableError(f"{EXAMPLES} was not read for a training run; tried again")
    now_ns, step = state.now_ns, crossing.step
    until = [record for record in inputs.history if record.offset <= trigger.offset]
    candidates = judged(
        newest(until, crossing.policy), means.codec, crossing, inputs.side, now_ns, state.withdrawn
    )
    step.decisions += [
        candidate.decision
        for candidate in candidates
        if candidate.listed and candidate.admitted is not (candidate.id in state.examples)
    ]
    state = replace(state, examples=frozenset(candidate.id for candidate in candidates if candidate.admitted))
    used, material = used_of(candidates, state, means.licensed, crossing.policy)
    back = turned_back(means.codec, state, used, inputs, made)
    if back is not None:
        pointers.append(pointer_to(Pointer(back.version, back), now_ns))
        extra["promotions"].append(rollback_row(back))
        log.warning("Model version %d serves again: %s", back.version, back.why)
        metrics.count("training_turned_back_total")
        state = state.returned(back).learning_on_from(_known(back.version, made, inputs.side))
        return replace(state, version=state.version - 1)
    parts = assets.assets_of(means.licensed, material.learned, crossing.policy.training_assets)
    checks = list[quality.Check]()
    try:
        version, measured = await _fitted(
            means,
            state,
            material,
            len(candidates) - len(used),
            inputs.side,
            crossing,
            made,
            parts,
            checks,
        )
        pointer = add_version(
            version, crossing, extra, EventId.parse(candidates[-1].id), trigger.offset, measured
        )
    except (UnavailableError, OSError):
        raise
    except _HeldError as held:
        metrics.count("training_held_total")
        _came("held", state, parts, extra)
        extra["training_checks"] += check_rows(state.version, checks, now_ns)
        return _again(state, "run-held", held, trigger, step)
    except _RefusedError as forbidden:
        metrics.count("training_refused_total")
        _came("refused", state, parts, extra)
        return _again(state, "run-refused", forbidden, trigger, step)
    except Exception as error:  # noqa: BLE001  a failing run must not stop the processing of examples
        fresh = [candidate.id for candidate in used if candidate.admitted][-means.every :]
        reason = f"{without_values(error)}; {_left_out(fresh)}"
        step.rejects.append(_not_made(state.version, "run-failed", reason, trigger.offset, now_ns))
        log.error("%s", step.rejects[-1].cause.reason)  # noqa: TRY400  a traceback may quote utterances
        metrics.count("training_failed_total")
        _came("failed", state, parts, extra)
        return replace(state, version=state.version - 1, left_out=(*state.left_out, *fresh)[-LEFT_OUT_MAX:])
    _came("made", state, parts, extra)
    metrics.gauge("training_left_out_examples", version.manifest.left_out)
    extra["training_checks"] += check_rows(version.version, checks, now_ns)
    for check in checks:
        if check.outcome == "left-out":
            log.warning("Model version %d, left out: %s", version.version, check.reason)
    if version.declined:
        log.warning("Model version %d is declined: %s", version.version, version.declined)
        metrics.count("training_declined_total")
    made[version.version] = version
    pointers += pointer
    return replace(state, serving=version.version) if pointer else state


def _came(came: RunOutcome, state: TrainingState, parts: Sequence[assets.Asset], extra: Rows) -> None:
    """Record the assets of a run, with what came of it."""
    extra["training_assets"] += asset_rows(state.version, came, parts, state.now_ns)


def _again(state: TrainingState, rule: str, why: Exception, trigger: Received, step: Step) -> TrainingState:
    """Record that a run made no version; return the state with which the next run looks again."""
    text = f"{why}; the next run looks again"
    step.rejects.append(_not_made(state.version, rule, text, trigger.offset, state.now_ns))
    log.warning("%s", step.rejects[-1].cause.reason)
    return replace(state, version=state.version - 1)


class _HeldError(Exception):
    """A run is held; the text says why."""


class _RefusedError(Exception):
    """The policy does not permit an asset of a run; the text says which, and by which rule."""


async def _fitted(
    means: Means,
    state: TrainingState,
    material: run.Material,
    left_out: int,
    side: SideInputs,
    crossing: Crossing,
    made: dict[int, ModelVersion],
    parts: Sequence[assets.Asset],
    checks: list[quality.Check],
) -> tuple[ModelVersion, promotion.Measured]:
    """Check assets and examples, fit a version, and compare it with the one that serves.

    `checks` gets what was checked, also if the run is held.
    """
    if refused := assets.refused(parts):
        raise _RefusedError(refused)
    seed, bounds = means.licensed.seed, crossing.policy.training
    lesson = run.lesson_of(seed, material.learned)
    checks += quality.examined(material.learned, lesson, bounds)
    if held := quality.held(checks):
        raise _HeldError(held)
    validation = promotion.validation_of(means.licensed.validation, material.validation, lesson.pairs)
    serving = _known(state.serving, made, side)
    fitted = await means.fit(lesson, validation, serving.model)
    checks += quality.left_out(fitted.outliers, lesson, bounds)
    if held := quality.held(checks):
        raise _HeldError(held)
    devices = {outlier.device for outlier in fitted.outliers}
    material, validation = run.without(material, devices), validation.without(devices)
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


def _known(number: int, made: Mapping[int, ModelVersion], side: SideInputs) -> ModelVersion:
    """Version by number; the newest may be made by the same fetch."""
    return made.get(number) or side.models.version(number)


def _left_out(fresh: Sequence[str]) -> str:
    named = ", ".join(fresh[:CANDIDATES_NAMED_MAX])
    more = len(fresh) - CANDIDATES_NAMED_MAX
    return (
        "left out from now on are the examples that came since the last one: "
        f"{named or 'none'}{f' and {more} more' if more > 0 else ''}"
    )


def _not_made(version: int, rule: str, why: str, position: int, now_ns: int) -> Reject:
    """Reject for a training run that made no version. It names no event: the next run reuses the number."""
    return Reject(
        cause=Cause("training", rule, f"model version {version} was not made: {why}"),
        position=position,
        key=version_key(version),
        source=SOURCE,
        stream=STREAM,
        t_ns=now_ns,
        appended_ns=now_ns,
    )
