"""What cores read beside their fetch: policies, models and consents as they are known at one moment.

Values that nobody changes, so that a fetch is computed under one and the same, whatever is learned meanwhile
(law 7). A worker takes them from the topics that it follows (`streams.pipeline.followed`); a replay makes
them of the recorded inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streams.consent.view import ConsentView
from streams.events.record import Received
from streams.models.registry import ModelVersions
from streams.policy.policy import Policy
from streams.policy.versions import PolicyVersions


@dataclass(frozen=True, slots=True)
class SideInputs:
    """What `glasses.policies`, `glasses.models` and `glasses.consents` say, as far as they were read."""

    policies: PolicyVersions
    models: ModelVersions
    consents: ConsentView

    def label(self, label: bytes, version: str, policy: Policy) -> bytes:
        """A label that policy `version` gave, in the words of `policy`.

        It is empty where that cannot be said (it passes nowhere). UnavailableError where the version is not
        known.
        """
        return policy.adopted(label, self.policies.version(version)) if version != policy.version else label


@dataclass(frozen=True, slots=True)
class TrainingInputs:
    """Side inputs of a fetch of `glasses.examples`, and that topic from its beginning to the fetch's end.

    `history` is None where the fetch completes no training run, which alone reads it.
    """

    side: SideInputs
    history: Sequence[Received] | None = None
