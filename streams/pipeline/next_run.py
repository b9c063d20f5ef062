"""What the next training run would take and refuse, and what it would cost, without training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from streams.events.codec import Codec
from streams.events.record import Received
from streams.limits import INTENT_BYTES_MAX
from streams.pipeline.judging import judged_now, newest, used_of
from streams.pipeline.side_inputs import SideInputs
from streams.pipeline.training_state import TrainingState
from streams.training import assets, quality, run
from streams.training.assets import Asset
from streams.training.outliers import folds_of
from streams.training.seed import Licensed


@dataclass(frozen=True, slots=True)
class NextRun:
    """What a run would do if it began now.

    `version` is the number of the model version that it would make, `seed_examples` how many licensed ones it
    would learn from, `examples` how many of wearers. `kept_validation` and `kept_test` are not learned from,
    `refused` are numbers by rule, and `left_out` is the number of those that it would not consider. `fits` is
    how many models it would fit, the others to compare devices with each other, and `bytes_max` about how
    large the record of the version can be.
    """

    version: int
    policy_version: str
    seed_examples: int
    examples: int
    wearers: int
    kept_validation: int
    kept_test: int
    refused: Mapping[str, int]
    left_out: int
    fits: int
    bytes_max: int
    checks: Sequence[quality.Check]
    assets: Sequence[Asset]

    @property
    def forbidden(self) -> str:
        """Which assets the policy does not permit, and by which rule; empty if it permits all."""
        return assets.refused(self.assets)

    @property
    def held(self) -> str:
        """Why it would be held before it fits anything; empty if it would not."""
        return quality.held(self.checks)


def next_run(
    state: TrainingState,
    side: SideInputs,
    history: Sequence[Received],
    codec: Codec,
    licensed: Licensed,
    now_ns: int,
) -> NextRun:
    """Judge all examples as a run at `now_ns` would, with the policies and consents of `side`.

    `history` are all records of `glasses.examples`.
    """
    policy = side.policies.version(side.policies.current)
    candidates = judged_now(newest(history, policy), codec, side, now_ns, state.withdrawn)
    used, material = used_of(candidates, state, licensed, policy)
    lesson, left_out = run.lesson_of(licensed.seed, material.learned), len(candidates) - len(used)
    manifest = run.manifest_of(licensed.seed, material, left_out)
    intents = {intent for _, intent in lesson.pairs}
    return NextRun(
        max(state.version, side.models.highest) + 1,
        policy.version,
        manifest.seed_examples,
        len(material.learned),
        len(manifest.wearers),
        len(material.validation),
        len(material.test),
        dict(Counter(rule for _, rule in material.refused).most_common()),
        left_out,
        1 + len(folds_of(lesson)),
        len(intents) * INTENT_BYTES_MAX + len(orjson.dumps(manifest.dump())),
        quality.examined(material.learned, lesson, policy.training),
        assets.assets_of(licensed, material.learned, policy.training_assets),
    )
