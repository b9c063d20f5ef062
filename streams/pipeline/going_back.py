"""Whether an earlier model version may serve again: the gate judges its examples once more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from streams.errors import InputError
from streams.events.codec import Codec
from streams.events.identity import format_id
from streams.events.record import Received
from streams.models.registry import ModelVersions
from streams.models.version import ModelVersion
from streams.pipeline.fitting import judged
from streams.pipeline.side_inputs import SideInputs
from streams.policy.crossing import Crossing
from streams.policy.step import Step
from streams.topology import EXAMPLES, MODELS


def check_back(
    number: int, side: SideInputs, history: Sequence[Received], codec: Codec, now_ns: int
) -> ModelVersion:
    """Return the version to go back to.

    `history` are all records of `glasses.examples`, `now_ns` the time at which they are judged: what expired
    or was withdrawn since the version was fitted does not come back.

    InputError if there is no such version, it serves already, was declined, may not serve any longer, or
    learned from an example that the gate does not admit any more.
    """
    version = _known(number, side.models)
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
    return version


def _known(number: int, models: ModelVersions) -> ModelVersion:
    version = models.versions.get(number)
    if version is None:
        promoted = sorted(known for known, made in models.versions.items() if not made.declined)
        raise InputError(
            f"model version {number}: found none on {MODELS}, expected one of "
            f"{', '.join(map(str, promoted[-10:])) or 'none'}"
        )
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
    policy = side.policies.version(side.policies.current)
    crossing = Crossing(policy, side.consents.of_partition(side.consents.offset, {}), Step())
    rules: dict[str, str] = {}
    for candidate in judged(history, codec, crossing, side, now_ns):
        rules.setdefault(candidate.id, "" if candidate.admitted else candidate.rule)
    learned = [
        format_id(source, stream, number)
        for source, stream, run in version.manifest.admitted
        for number in run
    ]
    now = [rules.get(example, f"it is no longer on {EXAMPLES}") for example in learned]
    return [rule for rule in now if rule]
