"""The shell around the cores in a worker: it waits for the side inputs of a fetch, then calls the core.

When news arrives here depends on timing; the core records what it takes up as an input.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from streams import clock, metrics
from streams.errors import UnavailableError
from streams.events.brokers_time import BrokersTime
from streams.events.kinds import Kinds
from streams.events.record import Fetch, Outcome, Outgoing, Received
from streams.limits import RETRAIN_EVERY_EXAMPLES
from streams.models.drift import Drift
from streams.pipeline.fitting import Fit
from streams.pipeline.followed import Followed
from streams.pipeline.glasses import GlassesCore, Stages, names_of
from streams.pipeline.partition import PartitionState
from streams.pipeline.sending import Sending
from streams.pipeline.shelf import FileShelf, parts
from streams.pipeline.side_inputs import SideInputs, TrainingInputs
from streams.pipeline.training import TrainingCore
from streams.pipeline.training_state import TrainingState
from streams.processing.operators import Operators
from streams.processing.shipped import SHIPPED_OPERATORS
from streams.sealing.keys import FetchDigests, Keys
from streams.topology import EXAMPLES
from streams.training.gate import labelled_under
from streams.training.seed import licensed

log = logging.getLogger(__name__)

#: Reads `glasses.examples` from the beginning up to and including an offset.
History = Callable[[int], Awaitable[Sequence[Received]]]


class LiveGlasses(GlassesCore):
    """Stages 1-4 in a worker (see `streams.events.record.LiveCore`).

    With a shelf, unused device states are kept there. The states that a fetch needs are loaded before the
    stages run, so that the stages read no file (law 7), and excess states are put away afterwards. A fetch of
    more devices than may be in memory at once is processed in parts; this does not change results, which
    never depend on the division into fetches.
    """

    def __init__(
        self,
        followed: Followed,
        shelf: FileShelf | None = None,
        *,
        operators: Operators = SHIPPED_OPERATORS,
        stages: Stages | None = None,
        keys: Keys | None = None,
        time: BrokersTime | None = None,
    ) -> None:
        super().__init__(operators=operators, stages=stages, shelf=shelf)
        self.followed, self._file, self._keys, self._time = followed, shelf, keys, time or BrokersTime()
        self.sending = Sending()
        self._drift: Drift | None = None

    def restore(self, partition: int, entries: Mapping[str, bytes]) -> PartitionState:
        """State from checkpointed values; it is said what another version of an operator had left."""
        state = super().restore(partition, entries)
        metrics.gauge("devices_known", len(state.devices), partition=str(partition))
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
        """Whether the topics hold all that the state has taken up."""
        return await self.followed.hold(
            state.policy_version, (state.model_version, state.candidate_version), state.consents_taken
        )

    async def inputs(self, state: PartitionState, fetch: Fetch, *, silent: bool) -> SideInputs:
        """Snapshot of the side inputs; models that the state names are read again if they left the memory."""
        del fetch
        side = self.followed.side_inputs()
        if not silent or not state.policy_version:
            return side
        for number in (state.model_version, state.candidate_version):
            if number and number not in side.models.versions:
                await self.followed.recall(number)
        return self.followed.side_inputs()

    def left(self, partition: int) -> None:
        """Forget which devices of the partition sent."""
        self.sending.left(partition)

    async def process(
        self,
        state: PartitionState,
        fetch: Fetch,
        inputs: SideInputs,
        *,
        silent: bool,
        poisoned: Mapping[int, str],
    ) -> Outcome[PartitionState]:
        """Run `GlassesCore.process` with the device states loaded, and seal what is kept for long.

        Digests of what is sealed need keys of its wearers. Who they may be follows from the answers that wait
        for feedback, and from who is bound to the devices; for whom a key is made first, a fetch is computed
        twice.

        OSError if the shelf's file fails, UnavailableError if the key store does.
        """
        held: dict[str, bytes] = {}
        if self._keys is not None:
            # This very fetch may let go of an erased wearer's answers, so for these no key is made.
            answered, consents = _answered(state, fetch), self.followed.consents
            erased = {wearer for wearer in answered if consents.erased_ns(wearer, consents.offset)}
            held |= await self._keys.digest_keys(answered - erased)
            held |= await self._keys.digest_keys_there(_owed(inputs, fetch) | erased)
        while True:
            digests = FetchDigests(held)
            given = inputs if self._keys is None else replace(inputs, digests=digests.digest)
            outcome = await self._processed(state, fetch, given, silent=silent, poisoned=poisoned)
            if self._keys is None or not digests.missing:
                break
            # Query and feedback are in one fetch. The second time all keys are there.
            held |= await self._keys.digest_keys(digests.missing)
        if not silent:
            self._time.heard(outcome.state.now_ns, clock.monotonic_ns())
            self._measure(state, fetch, inputs, outcome)
            if self._keys is not None:
                outcome = replace(outcome, outputs=await self._keys.sealed(outcome.outputs))
        return outcome

    async def _processed(
        self,
        state: PartitionState,
        fetch: Fetch,
        inputs: SideInputs,
        *,
        silent: bool,
        poisoned: Mapping[int, str],
    ) -> Outcome[PartitionState]:
        if self._file is None:
            return await super().process(state, fetch, inputs, silent=silent, poisoned=poisoned)
        return await self._in_parts(self._file, state, fetch, inputs, silent=silent, poisoned=poisoned)

    def _measure(
        self, before: PartitionState, fetch: Fetch, inputs: SideInputs, outcome: Outcome[PartitionState]
    ) -> None:
        """Measure what depends on the worker: who sends, how late words took effect, how queries drift."""
        devices, tally = outcome.state.devices, outcome.tally
        known = [name for name in names_of(fetch.records) if name in devices]
        self.sending.heard(fetch.partition, known, clock.monotonic_s())
        for aside in outcome.aside:
            self.sending.ended(fetch.partition, aside.ended)
            if aside.queries:
                self._drift = self._drift or Drift(
                    [text for text, _ in (*licensed().seed.pairs, *licensed().validation.pairs)]
                )
                drift = self._drift.add(aside.queries, aside.grams)
                if drift is not None:
                    metrics.gauge("model_input_drift_psi", drift)
        metrics.gauge("devices_known", len(devices), partition=str(fetch.partition))
        # The first take-up is of all words since the topic began.
        if before.consents_taken:
            for appended_ms in inputs.consents.appended_ms(before.consents_taken, before.own):
                tally.observe("consent_effect_seconds", max(before.now_ns / 1e9 - appended_ms / 1e3, 0))

    async def _in_parts(
        self,
        file: FileShelf,
        state: PartitionState,
        fetch: Fetch,
        inputs: SideInputs,
        *,
        silent: bool,
        poisoned: Mapping[int, str],
    ) -> Outcome[PartitionState]:
        """Process a fetch in parts, each of no more devices than may be in memory at once."""
        outputs: list[Outgoing] = []
        due, tally, aside = False, metrics.Tally(), list[Any]()
        for part in parts(state.devices, fetch):
            names = names_of(part.records)
            for devices in (state.devices, state.shadow[1]):
                for slot in filter(None, map(devices.slot, names)):
                    slot.load()
            outcome = await super().process(state, part, inputs, silent=silent, poisoned=poisoned)
            state, due = outcome.state, due or outcome.checkpoint
            outputs += outcome.outputs
            tally.merge(outcome.tally)
            aside += outcome.aside
            file.settle()
        return Outcome(state, outputs, due, tally, aside)


def _answered(state: PartitionState, fetch: Fetch) -> set[str]:
    """Wearers with an answer that may still get feedback, of the devices of a fetch, as far as in memory."""
    slots = [state.devices.slot(name) for name in names_of(fetch.records)]
    states = [slot.state for slot in slots if slot is not None and slot.state is not None]
    return {answer.wearer_id for device in states for answer in device.answers}


def _owed(inputs: SideInputs, fetch: Fetch) -> set[str]:
    """Wearers of the devices of a fetch, if the policy in force seals more than examples."""
    policies, consents = inputs.policies, inputs.consents
    if not policies.version(policies.current).seals_zones:
        return set()
    return set[str]().union(*map(consents.wearers_of, names_of(fetch.records)))


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
        keys: Keys | None = None,
    ) -> None:
        super().__init__(fit, every, kinds=kinds)
        self.followed, self._history, self._keys = followed, history, keys

    async def stands(self, state: TrainingState) -> bool:
        """Whether the topics hold all that the state has taken up."""
        return await self.followed.hold(state.policy_version, (), state.consents_taken)

    def mended(self, state: TrainingState, remade: TrainingState, names: frozenset[str]) -> TrainingState:
        """Continue after the newest existing version; the count of examples admitted since then is lost."""
        del state, names
        models = self.followed.models.now
        return replace(remade.after(models.highest), serving=models.serving or 1)

    async def inputs(self, state: TrainingState, fetch: Fetch, *, silent: bool) -> TrainingInputs:
        """Snapshot of the side inputs, and all examples so far if the fetch triggers a training run.

        If an example names a policy that is not known yet, the policies are read again first.
        """
        fetch, side = await self._opened(fetch), self.followed.side_inputs()
        if not {labelled_under(record) for record in fetch.records} <= side.policies.versions.keys():
            await self.followed.refresh()
            side = self.followed.side_inputs()
        if silent or not self.completes(state, fetch, side):
            return TrainingInputs(side)
        if state.serving not in side.models.versions:
            # It was made a moment ago and is not read yet, or it left the memory.
            await self.followed.recall(state.serving)
            side = self.followed.side_inputs()
        try:
            history = await self._history(fetch.records[-1].offset)
            if self._keys is not None:
                history = await self._keys.opened(EXAMPLES, history)
            # What was destroyed has no value, so it is no example any more; it was judged when it came.
            return TrainingInputs(side, history)
        except UnavailableError:
            raise
        except Exception as error:
            # Reported as unavailable, because a failure to read the topic is not the fault of a record.
            raise UnavailableError(
                f"{EXAMPLES} could not be read for a training run ({type(error).__name__}); tried again"
            ) from error

    async def process(
        self,
        state: TrainingState,
        fetch: Fetch,
        inputs: TrainingInputs,
        *,
        silent: bool,
        poisoned: Mapping[int, str],
    ) -> Outcome[TrainingState]:
        """Run `TrainingCore.process` on the opened examples. UnavailableError if the key store fails."""
        fetch = await self._opened(fetch)
        return await super().process(state, fetch, inputs, silent=silent, poisoned=poisoned)

    async def _opened(self, fetch: Fetch) -> Fetch:
        if self._keys is None:
            return fetch
        return replace(fetch, records=await self._keys.opened(fetch.topic, fetch.records))
