"""The topics that every worker reads whole and follows: policies, models, consents."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from streams.consent.view import Consents
from streams.models.registry import ModelTable
from streams.pipeline.side_inputs import SideInputs
from streams.policy.versions import PolicyTable


async def _nothing_new() -> None:
    """There is nowhere to read from."""


async def _nothing_older(_number: int) -> None:
    """There is nowhere to read from."""


async def _nowhere() -> int:
    """There is no topic."""
    return 0


@dataclass
class Followed:
    """Policies, models and consents as this worker has read them, and how more of them is read.

    They change whenever a record comes; what a fetch is processed under is taken with `side_inputs`.
    """

    policies: PolicyTable
    models: ModelTable = field(default_factory=ModelTable)
    consents: Consents = field(default_factory=Consents)
    #: Reads policies to the end as it is now. What somebody labelled under one that this worker has not read
    #: yet can be told so from what nobody published.
    refresh: Callable[[], Awaitable[None]] = _nothing_new
    #: Reads a model version that a state names and that is no longer in memory.
    recall: Callable[[int], Awaitable[None]] = _nothing_older
    #: Offset at which `glasses.consents` ends now.
    consents_end: Callable[[], Awaitable[int]] = _nowhere

    def side_inputs(self) -> SideInputs:
        """What is known by now, as a value. Takes the same time however much that is."""
        self.models.settle()
        return SideInputs(self.policies.now, self.models.now, self.consents.view())

    async def hold(self, policy_version: str, model_version: int, consents_taken: int) -> bool:
        """Whether the topics hold what a restored state says that it has taken up ("" or 0: nothing).

        A state that names what is on no topic would wait for it for ever.
        """
        if policy_version and policy_version not in self.policies.now.versions:
            await self.refresh()
        if model_version and model_version not in self.models.now.versions:
            await self.recall(model_version)
        return (
            (not policy_version or policy_version in self.policies.now.versions)
            and (not model_version or model_version in self.models.now.versions)
            and (consents_taken <= self.consents.offset or consents_taken <= await self.consents_end())
        )
