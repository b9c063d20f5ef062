"""The topics that every worker reads completely and then follows: policies, models, consents."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from streams.consent.view import Consents
from streams.models.registry import ModelTable
from streams.pipeline.side_inputs import SideInputs
from streams.policy.versions import PolicyTable


async def _nothing_new() -> None:
    """Read nothing, for use without a broker."""


async def _nothing_older(_number: int) -> None:
    """Read nothing, for use without a broker."""


async def _nowhere() -> int:
    """Return 0, for use without a broker."""
    return 0


@dataclass
class Followed:
    """Policies, models and consents as this worker has read them, and functions to read more of them.

    They change with every record that arrives. `side_inputs` takes an immutable snapshot for a fetch.
    """

    policies: PolicyTable
    models: ModelTable = field(default_factory=ModelTable)
    consents: Consents = field(default_factory=Consents)
    #: Reads policies up to the current end of the topic. A record may be labelled under a policy that this
    #: worker has not read yet; after a refresh, a policy that is still unknown was never published.
    refresh: Callable[[], Awaitable[None]] = _nothing_new
    #: Reads a model version that a state names and that is no longer in memory.
    recall: Callable[[int], Awaitable[None]] = _nothing_older
    #: Offset at which `glasses.consents` ends now.
    consents_end: Callable[[], Awaitable[int]] = _nowhere

    def side_inputs(self) -> SideInputs:
        """Snapshot of what is known now, taken in constant time."""
        self.models.settle()
        return SideInputs(self.policies.now, self.models.now, self.consents.view())

    async def hold(self, policy_version: str, models: Iterable[int], consents_taken: int) -> bool:
        """Whether the topics hold the versions that a restored state has taken up ("" or 0: none).

        The worker would wait for ever for a version that is on no topic. A version that an erasure withdrew
        is known to have been there.
        """
        if policy_version and policy_version not in self.policies.now.versions:
            await self.refresh()
        named = {number for number in models if number} - self.models.now.withdrawn.keys()
        for number in named - self.models.now.versions.keys():
            await self.recall(number)
        return (
            (not policy_version or policy_version in self.policies.now.versions)
            and named <= self.models.now.versions.keys()
            and (consents_taken <= self.consents.offset or consents_taken <= await self.consents_end())
        )
