"""Whether an earlier model version may serve again, because an operator or the wearers' feedback says so.

The gate judges its examples once more.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from streams.errors import InputError
from streams.events.codec import Codec
from streams.events.record import Received
from streams.models.pointer import Rollback, holds
from streams.models.registry import ModelVersions
from streams.models.version import ModelVersion, ids_of
from streams.models.withdrawn import Withdrawn
from streams.pipeline.judging import judged_now
from streams.pipeline.side_inputs import SideInputs, TrainingInputs
from streams.pipeline.training_state import TrainingState
from streams.topology import EXAMPLES, MODELS
from streams.training import gate, turning

log = logging.getLogger(__name__)


def check_back(
    number: int, side: SideInputs, history: Sequence[Received], codec: Codec, now_ns: int
) -> ModelVersion:
    """Return the version to go back to.

    `history` are all records of `glasses.examples`, `now_ns` the time at which they are judged: what expired
    or was withdrawn since the version was fitted does not come back.

    InputError if there is no such version, it serves already, was declined, may not serve any longer, or
    learned from an example that the gate does not admit any more.
    """
    version = _earlier(number, side.models)
    check_permitted(version, side, history, codec, now_ns)
    return version


def check_permitted(
    version: ModelVersion, side: SideInputs, history: Sequence[Received], codec: Codec, now_ns: int
) -> None:
    """InputError if a version may not serve any longer, or learned from what the gate does not admit now."""
    number = version.version
    if version.retrain_by_ns <= now_ns:
        raise InputError(
            f"model version {number}: what it was fitted on may not serve any longer, expected a version "
            "that was made later"
        )
    refused = _refused(version, side, history, codec, now_ns)
    if refused:
        rule, count = Counter(refused).most_common(1)[0]
        raise InputError(
            f"model version {number}: found {len(refused)} of its {version.manifest.examples} examples that "
            f"may not be learned from any more ({count} by: {rule}); expected a version without them, or "
            "wait for the next one, which leaves them out"
        )


def turned_back(
    codec: Codec,
    state: TrainingState,
    used: Sequence[gate.Candidate],
    inputs: TrainingInputs,
    made: Mapping[int, ModelVersion],
) -> Rollback | None:
    """The return to an earlier version if live feedback turned against the one that serves.

    The gate judges the examples of the earlier version once more, so what was withdrawn does not come back.
    There is no return from a version that the loop or an operator went back to, nor to one that was left
    behind by a return; what wearers say of its answers says nothing of those that serve since.
    """
    side, now_ns = inputs.side, state.now_ns
    known = {**side.models.versions, **made}
    # Those of an erasure count as before, so that it does not matter when their values go.
    every: Mapping[int, ModelVersion | Withdrawn] = {**side.models.withdrawn, **known}
    promoted = [number for number, version in every.items() if not version.declined]
    if not promoted or state.serving != max(promoted):
        return None
    answers = [answer for answer in turning.answers_of(used) if not holds(state.left_behind, answer.version)]
    turn = turning.turned(answers, [number for number in promoted if not holds(state.left_behind, number)])
    if turn is None:
        return None
    try:
        check_permitted(
            known_version(turn.version, side.models, made), side, inputs.history or (), codec, now_ns
        )
    except InputError as error:
        log.warning("Nothing goes back, although %s: %s", turn.why, error)
        return None
    return Rollback(turn.version, state.serving, turn.why, now_ns, withdrawn=state.withdrawn)


def known_version(
    number: int, models: ModelVersions, made: Mapping[int, ModelVersion] | None = None
) -> ModelVersion:
    """Version by number, also of those that this fetch `made`.

    InputError names the newest promoted ones if there is none of this number, or if it was withdrawn.
    """
    versions = {**models.versions, **(made or {})}
    gone = models.withdrawn.get(number)
    if number in versions and gone is None:
        return versions[number]
    promoted = sorted(known for known, version in versions.items() if not version.declined)
    raise InputError(
        f"model version {number}: {_why_not(gone)}, expected one of "
        f"{', '.join(map(str, promoted[-10:])) or 'none'}"
    )


def _why_not(gone: Withdrawn | None) -> str:
    if gone is None:
        return f"found none on {MODELS}"
    return f"was withdrawn, because it learned from somebody who was erased ({gone.withdrawn})"


def _earlier(number: int, models: ModelVersions) -> ModelVersion:
    version = known_version(number, models)
    if version.declined:
        raise InputError(
            f"model version {number}: was declined ({version.declined}), expected one that was promoted"
        )
    if number == models.serving:
        raise InputError(f"model version {number}: serves already, expected another one")
    return version


def _refused(
    version: ModelVersion, side: SideInputs, history: Sequence[Received], codec: Codec, now_ns: int
) -> list[str]:
    """Rule for each example of a version that may not be learned from any more."""
    rules: dict[str, str] = {}
    for candidate in judged_now(history, codec, side, now_ns):
        rules.setdefault(candidate.id, "" if candidate.admitted else candidate.rule)
    learned = ids_of(version.manifest.admitted)
    now = [rules.get(example, f"it is no longer on {EXAMPLES}") for example in learned]
    return [rule for rule in now if rule]
