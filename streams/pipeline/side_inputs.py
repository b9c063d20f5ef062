"""What cores read beside their fetch: policies, models and consents as they are known at one moment.

They are immutable, so that news that arrives while a fetch is processed does not affect it (law 7). A worker
takes them from the topics that it follows (`streams.pipeline.followed`); a replay makes them from the
recorded inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streams.consent.view import ConsentView
from streams.events.digest import Digests, plain_digest
from streams.events.record import Received
from streams.models.registry import ModelVersions
from streams.policy.policy import Policy
from streams.policy.versions import PolicyVersions


@dataclass(frozen=True, slots=True)
class SideInputs:
    """Snapshot of `glasses.policies`, `glasses.models` and `glasses.consents`, as far as they were read.

    `digests` makes the digests of values for sealed topics.
    """

    policies: PolicyVersions
    models: ModelVersions
    consents: ConsentView
    digests: Digests = plain_digest

    def label(self, label: bytes, version: str, policy: Policy) -> bytes:
        """Translate a label of policy `version` to the encoding of `policy`.

        Without an equivalent the label is empty, which passes no check. UnavailableError if the version is
        not known.
        """
        return policy.adopted(label, self.policies.version(version)) if version != policy.version else label


@dataclass(frozen=True, slots=True)
class TrainingInputs:
    """Side inputs of a fetch of `glasses.examples`, and all records of that topic up to the fetch's last.

    Only a training run needs `history`; it is None if the fetch triggers none.
    """

    side: SideInputs
    history: Sequence[Received] | None = None
