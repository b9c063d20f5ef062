"""The shell around the cores in a worker: it waits for what a fetch is processed under, and calls the core.

What is taken up, and when, is chance here; the core records it as an input.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from streams import metrics
from streams.errors import UnavailableError
from streams.events.kinds import Kinds
from streams.events.record import Fetch, Outcome, Outgoing, Received
from streams.limits import RETRAIN_EVERY_EXAMPLES
from streams.pipeline.followed import Followed
from streams.pipeline.glasses import GlassesCore, Stages, names_of
from streams.pipeline.partition import PartitionState
from streams.pipeline.shelf import FileShelf, parts
from streams.pipeline.side_inputs import SideInputs, TrainingInputs
from streams.pipeline.training import Fit, TrainingCore, TrainingState
from streams.processing.operators import Operators
from streams.processing.shipped import SHIPPED_OPERATORS
from streams.topology import EXAMPLES
from streams.training.gate import labelled_under

log = logging.getLogger(__name__)

#: Records of `glasses.examples` from the beginning up to and including an offset.
History = Callable[[int], Awaitable[Sequence[Received]]]


class LiveGlasses(GlassesCore):
    """Stages 1-4 in a worker (see `streams.events.record.LiveCore`).

    With a shelf, states of devices lie there while they are not used: those of a fetch are loaded before the
    stages run, so that these read no file (law 7), and what is too much is put away afterwards. A fetch of
    more devices than may be decoded at once is worked off in parts, which changes nothing: no result depends
    on how fetches were cut.
    """

    def __init__(
        self,
        followed: Followed,
        shelf: FileShelf | None = None,
        *,
        operators: Operators = SHIPPED_OPERATORS,
        stages: Stages | None = None,
    ) -> None:
        super().__init__(operators=operators, stages=stages, shelf=shelf)
        self.followed, self._file = followed, shelf

    def restore(self, partition: int, entries: Mapping[str, bytes]) -> PartitionState:
        """State from checkpointed values; it is said what another version of an operator had left."""
        state = super().restore(partition, entries)
        for operator, count in sorted(state.let_go.items()):
            log.warning(
                "Operator %s is version %d now: its open windows and what it remembered of %d devices of "
                "partition %d are of another version, and are let go",
                operator,
                self._operators[operator].version,
                count,
                partition,
            )
        return state

    async def stands(self, state: PartitionState) -> bool:
        """Whether the topics hold what the state has taken up."""
        return await self.followed.hold(state.policy_version, state.model_version, state.consents_taken)

    async def inputs(self, state: PartitionState, fetch: Fetch, *, silent: bool) -> SideInputs:
        """What is known now; a model version that the state names and that is not in memory is read again."""
        del fetch
        side = self.followed.side_inputs()
        if silent and state.policy_version and state.model_version not in side.models.versions:
            await self.followed.recall(state.model_version)
            return self.followed.side_inputs()
        return side

    async def process(
        self,
        state: PartitionState,
        fetch: Fetch,
        inputs: SideInputs,
        *,
        silent: bool,
        poisoned: Mapping[int, str],
    ) -> Outcome[PartitionState]:
        """Load, run the stages, put away; see `GlassesCore.process`. OSError where the shelf's file fails."""
        if self._file is None:
            return await super().process(state, fetch, inputs, silent=silent, poisoned=poisoned)
        outputs: list[Outgoing] = []
        due = False
        for part in parts(state.devices, fetch):
            names = names_of(part.records)
            for devices in (state.devices, state.shadow[1]):
                for slot in filter(None, map(devices.slot, names)):
                    slot.load()
            outcome = await super().process(state, part, inputs, silent=silent, poisoned=poisoned)
            state, due = outcome.state, due or outcome.checkpoint
            outputs += outcome.outputs
            self._file.settle()
        metrics.gauge("devices_known", len(state.devices), partition=str(fetch.partition))
        return Outcome(state, outputs, due)


class LiveTraining(TrainingCore):
    """Stage 5 in a worker (see `streams.events.record.LiveCore`); `history` reads `glasses.examples`."""

    def __init__(
        self,
        followed: Followed,
        history: History,
        fit: Fit,
        every: int = RETRAIN_EVERY_EXAMPLES,
        *,
        kinds: Kinds = SHIPPED_OPERATORS.kinds,
    ) -> None:
        super().__init__(fit, every, kinds=kinds)
        self.followed, self._history = followed, history

    async def stands(self, state: TrainingState) -> bool:
        """Whether the topics hold what the state has taken up."""
        return await self.followed.hold(state.policy_version, 0, state.consents_taken)

    def mended(self, state: TrainingState, remade: TrainingState, names: frozenset[str]) -> TrainingState:
        """Go on after the newest version that stands; how many examples were admitted since is lost."""
        del state, names
        return remade.after(self.followed.models.now.highest)

    async def inputs(self, state: TrainingState, fetch: Fetch, *, silent: bool) -> TrainingInputs:
        """What is known now, and the examples so far where the fetch completes a training run.

        A policy that an example names and that was not read yet is looked for first.
        """
        side = self.followed.side_inputs()
        if not {labelled_under(record) for record in fetch.records} <= side.policies.versions.keys():
            await self.followed.refresh()
            side = self.followed.side_inputs()
        if silent or not self.completes(state, fetch, side):
            return TrainingInputs(side)
        try:
            return TrainingInputs(side, await self._history(fetch.records[-1].offset))
        except UnavailableError:
            raise
        except Exception as error:
            # Whatever keeps the topic from being read, no example is to blame for it.
            raise UnavailableError(
                f"{EXAMPLES} could not be read for a training run ({type(error).__name__}); tried again"
            ) from error
