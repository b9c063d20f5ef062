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
from streams.models.pointer import Rollback
from streams.models.registry import ModelVersions
from streams.models.version import ModelVersion, ids_of
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
    There is no return from a version that the loop or an operator went back to.
    """
    side, now_ns = inputs.side, state.now_ns
    known = {**side.models.versions, **made}
    promoted = [number for number, version in known.items() if not version.declined]
    if not promoted or state.serving != max(promoted):
        return None
    turn = turning.turned(turning.answers_of(used), promoted)
    if turn is None:
        return None
    try:
        check_permitted(known[turn.version], side, inputs.history or (), codec, now_ns)
    except InputError as error:
        log.warning("Nothing goes back, although %s: %s", turn.why, error)
        return None
    return Rollback(turn.version, state.serving, turn.why, now_ns, withdrawn=state.withdrawn)


def known_version(number: int, models: ModelVersions) -> ModelVersion:
    """Version by number; InputError names the newest promoted ones if there is none of this number."""
    version = models.versions.get(number)
    if version is None:
        promoted = sorted(known for known, made in models.versions.items() if not made.declined)
        raise InputError(
            f"model version {number}: found none on {MODELS}, expected one of "
            f"{', '.join(map(str, promoted[-10:])) or 'none'}"
        )
    return version


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
