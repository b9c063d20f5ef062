"""Stages 1-4 for one fetch of `glasses.captured`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as replace_state

from msgspec.structs import replace

from streams.assistant import stage as assistant
from streams.consent.record import take_ups_of
from streams.consent.view import PartitionConsents
from streams.events.codec import codec_of
from streams.events.record import Fetch, Loss, Outcome, Outgoing, Received
from streams.events.state import DeviceState
from streams.feedback import stage as feedback
from streams.limits import POLICY_REFUSALS_PER_FETCH_MAX
from streams.lineage.record import Row, Rows
from streams.lineage.tables import CONSENT_TAKEUP, MODEL_TAKEUP, POLICY_TAKEUP
from streams.models.version import ModelVersion
from streams.pipeline.devices import Devices, Shelf
from streams.pipeline.emit import consent_records, lineage_of, records_of
from streams.pipeline.partition import PARTITION, PartitionState, readable, restored, stored, under
from streams.pipeline.rows import input_row, policy_row, refusal_of, told
from streams.pipeline.shadow import differences, with_gate
from streams.pipeline.side_inputs import SideInputs
from streams.policy.crossing import Crossing
from streams.policy.policy import Policy
from streams.policy.step import Step
from streams.processing import stage as processing
from streams.processing.operators import Operators
from streams.processing.shipped import SHIPPED_OPERATORS
from streams.processing.stage import Asked
from streams.topology import ZONED
from streams.zones import stage as zones

_NEW = DeviceState()


@dataclass(frozen=True, slots=True)
class Stages:
    """What a fetch passes, in order: the four stages, and what makes records and lineage of their steps.

    Others than these are given by whoever measures a part, or leaves one out to see what it costs.
    """

    zones: Callable[..., tuple[dict[str, DeviceState], int]] = zones.run
    processing: Callable[..., tuple[dict[str, DeviceState], list[Asked]]] = processing.run
    assistant: Callable[..., dict[str, DeviceState]] = assistant.run
    feedback: Callable[..., dict[str, DeviceState]] = feedback.run
    records: Callable[..., tuple[list[Outgoing], list[bytes]]] = records_of
    lineage: Callable[..., list[Outgoing]] = lineage_of


class GlassesCore:
    """Stages 1-4 for one fetch of `glasses.captured` (see `streams.events.record.Core`)."""

    knows_repeats = True

    def __init__(
        self,
        *,
        operators: Operators = SHIPPED_OPERATORS,
        stages: Stages | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        self._operators, self._codec = operators, codec_of(operators.kinds)
        self._run, self._shelf = stages or Stages(), shelf

    def empty(self, partition: int) -> PartitionState:
        """Nobody seen, nothing taken up."""
        del partition
        return PartitionState(devices=Devices(shelf=self._shelf))

    def restore(self, partition: int, entries: Mapping[str, bytes]) -> PartitionState:
        """State from checkpointed values."""
        del partition
        return restored(entries, self._operators, self._shelf)

    def readable(self, name: str, value: bytes) -> bool:
        """Whether `restore` can read an entry."""
        return readable(name, value, self._operators)

    def made_of(self, names: frozenset[str]) -> frozenset[bytes]:
        """Keys of the records from which devices' states are made again.

        What the partition has taken up is on no record: it is taken up anew, and recorded again.
        """
        return frozenset(name.encode() for name in names if name != PARTITION)

    def mended(self, state: PartitionState, remade: PartitionState, names: frozenset[str]) -> PartitionState:
        """Return `state` with the devices `names` as they are in `remade`, their labels in its words."""
        return replace_state(state, devices=state.devices.taken(remade.devices, names))

    def behind(self, state: PartitionState) -> PartitionState:
        """Let go of all open windows: what they become may stand already."""
        closed = {
            name: replace(slot.read(), windows={})
            for name, slot in state.devices.fresh(Devices())
            if slot.read().windows
        }
        return replace_state(state, devices=state.devices.changed(closed))

    def tell(self, loss: Loss) -> Sequence[Outgoing]:
        """Lineage of what was lost."""
        return told("glasses", loss)

    def save(self, before: PartitionState | None, after: PartitionState) -> Mapping[str, bytes]:
        """Values of the devices that changed, and of what the partition has taken up."""
        return stored(before, after)

    async def process(
        self,
        state: PartitionState,
        fetch: Fetch,
        inputs: SideInputs,
        *,
        silent: bool,
        poisoned: Mapping[int, str],
    ) -> Outcome[PartitionState]:
        """Run the four stages; what is new in `inputs` is taken up here alone, and never when `silent`.

        A silent run of a state that names nothing (it was lost) is under what is in force now; that counts
        as taken up, and is recorded, with the next fetch. UnavailableError where `inputs` lack what the state
        has taken up.
        """
        extra: Rows = {"inputs": [], "policies": []}
        state = _given_up(state, fetch, poisoned)
        named = bool(state.policy_version)
        begun = state if silent and named else _take_up(state, fetch, inputs, extra)
        policy = inputs.policies.version(begun.policy_version)
        known = inputs.consents.of_partition(begun.consents_taken, begun.own)
        context = _Context(inputs, begun, fetch.records, poisoned)
        step, devices, now_ns = self._stages(context, begun.devices, policy, known)
        if not silent and fetch.partition == 0:
            begun = _put_on_record(begun, inputs, step)
        extra["streams"] = _new_streams(step, devices)
        after = replace_state(begun, devices=_with(begun.devices, devices), own=known.own, now_ns=now_ns)
        if silent and not named:
            after = replace_state(after, model_version=0, policy_version="", consents_taken=0)
        elif not silent:
            after = self._shadow_run(after, context, fetch, step, policy, extra)
        place, stamp = (fetch.topic, fetch.partition), now_ns // 1_000_000
        records, values = self._run.records(step, policy, place)
        records += consent_records(step)
        records += self._run.lineage(
            step, values, policy, place, extra, (f"glasses/{fetch.partition}".encode(), stamp)
        )
        recorded = after.policies_read != state.policies_read
        return Outcome(after, records, checkpoint=recorded or bool(extra["inputs"]))

    def _stages(
        self, context: _Context, devices: Devices, policy: Policy, known: PartitionConsents
    ) -> tuple[Step, dict[str, DeviceState], int]:
        inputs, begun, records = context.inputs, context.begun, context.records
        serving = _serving(inputs, begun.model_version, policy)
        met = {name: _adopted(devices[name], inputs, policy) for name in names_of(records) if name in devices}
        run, step = self._run, Step()
        crossing = Crossing(policy, known, step)
        states, now_ns = run.zones(records, met, self._codec, crossing, context.poisoned, begun.now_ns)
        tagged = [output.tagged for output in step.outputs]
        states, asked = run.processing(tagged, states, self._operators, crossing)
        states = run.assistant(tagged, asked, states, serving, crossing)
        states = run.feedback(tagged, states, serving, crossing)
        return step, {name: under(state, policy.version) for name, state in states.items()}, now_ns

    def _shadow_run(
        self,
        after: PartitionState,
        context: _Context,
        fetch: Fetch,
        step: Step,
        policy: Policy,
        extra: Rows,
    ) -> PartitionState:
        """Let the next policy decide the same fetch, and record what it would decide otherwise.

        The training gate is asked too; model versions are not made so. Nothing else comes of it.
        """
        inputs, begun = context.inputs, context.begun
        version = inputs.policies.next
        if not version or version == policy.version:
            return replace_state(after, shadow=("", Devices()))
        other = inputs.policies.version(version)
        of, devices = begun.shadow
        if of != version:
            devices = begun.devices
            extra["policies"].append(policy_row(other, fetch, first=True))
        known = inputs.consents.of_partition(begun.consents_taken, begun.own)
        shadow, states, _ = self._stages(context, devices, other, known)
        extra["shadow"] = differences(
            with_gate(step, policy), with_gate(shadow, other), policy.version, version
        )
        return replace_state(after, shadow=(version, _with(devices, states)))


@dataclass(frozen=True, slots=True)
class _Context:
    """What the stages are run under, whichever policy decides: what is read, and the state before it."""

    inputs: SideInputs
    begun: PartitionState
    records: Sequence[Received]
    poisoned: Mapping[int, str]


def _take_up(state: PartitionState, fetch: Fetch, inputs: SideInputs, extra: Rows) -> PartitionState:
    """Take up what is new in `inputs`; each that changes results is an input that is recorded."""
    policies, models, consents = inputs.policies, inputs.models, inputs.consents
    taken = state
    if models.serving != taken.model_version:
        taken = replace_state(taken, model_version=models.serving)
        extra["inputs"].append(input_row(MODEL_TAKEUP, "glasses", fetch, str(taken.model_version)))
    if policies.current != taken.policy_version:
        policy = policies.version(policies.current)
        extra["policies"].append(policy_row(policy, fetch, first=not taken.policy_version))
        taken = replace_state(taken, policy_version=policy.version)
        extra["inputs"].append(input_row(POLICY_TAKEUP, "glasses", fetch, policy.version))
    if consents.offset > taken.consents_taken:
        foreign, own = consents.fresh(taken.consents_taken, taken.own)
        taken = replace_state(taken, consents_taken=consents.offset, own=own)
        if foreign:
            extra["inputs"] += [
                input_row(CONSENT_TAKEUP, "glasses", fetch, part) for part in take_ups_of(foreign)
            ]
    return taken


def _put_on_record(state: PartitionState, inputs: SideInputs, step: Step) -> PartitionState:
    """Add what was refused of `glasses.policies` since to the fetch's rejects, as many as one fetch may.

    Only partition 0 of `glasses.captured` does that, so that each is put on record once.
    """
    refused = [refusal for refusal in inputs.policies.refused if refusal.offset >= state.policies_read]
    refused = refused[:POLICY_REFUSALS_PER_FETCH_MAX]
    step.rejects += map(refusal_of, refused)
    return replace_state(state, policies_read=refused[-1].offset + 1) if refused else state


def _serving(inputs: SideInputs, number: int, policy: Policy) -> ModelVersion:
    """The model version in force, with its label in the words of the policy in force."""
    version = inputs.models.version(number)
    if version.policy_version == policy.version:
        return version
    return replace_state(version, label=inputs.label(version.label, version.policy_version, policy))


def _adopted(state: DeviceState, inputs: SideInputs, policy: Policy) -> DeviceState:
    """What is remembered of a device, its labels in the words of the policy in force.

    Done when the device is next heard of: a switch costs nothing for those that are quiet. Of a version that
    nobody knows (nothing of ours wrote the state) no label can be said.
    """
    if state.policy_version == policy.version:
        return state
    before = inputs.policies.versions.get(state.policy_version)

    def label(text: str) -> str:
        return policy.adopted(bytes.fromhex(text), before).hex() if before is not None else ""

    return state.relabelled(policy.version, label)


def _given_up(state: PartitionState, fetch: Fetch, poisoned: Mapping[int, str]) -> PartitionState:
    """Without the open windows of the devices whose batches failed: an operator would fail on them again."""
    if not poisoned:
        return state
    keys = {record.key or b"" for record in fetch.records if record.offset in poisoned}
    names = {key.decode(errors="replace") for key in keys}

    def without(devices: Devices) -> Devices:
        failed = {name: replace(devices[name], windows={}) for name in names & devices.keys()}
        return devices.changed(failed) if failed else devices

    version, shadow = state.shadow
    return replace_state(state, devices=without(state.devices), shadow=(version, without(shadow)))


def names_of(records: Sequence[Received]) -> list[str]:
    """Devices that records may be of: what their keys say, each once."""
    return [key.decode(errors="replace") for key in dict.fromkeys(record.key for record in records) if key]


def _with(devices: Devices, states: Mapping[str, DeviceState]) -> Devices:
    """Devices after a fetch; nothing is remembered of one that is bound to nobody: names can be invented."""
    return devices.changed(
        {
            name: state
            for name, state in states.items()
            if name in devices or replace(state, policy_version="") != _NEW
        }
    )


def _new_streams(step: Step, devices: dict[str, DeviceState]) -> list[Row]:
    """Rows of streams that a device had not used before; marks them as known."""
    rows: list[Row] = []
    used = {(output.tagged.batch.source, output.tagged.batch.stream): output for output in step.outputs}
    for (source, stream), output in used.items():
        known = devices[source].known_streams
        if stream not in known:
            devices[source] = replace(devices[source], known_streams=tuple(sorted((*known, stream))))
            rows.append(
                {
                    "source": source,
                    "stream": stream,
                    "kind": output.tagged.batch.kind,
                    "captured": output.topic == ZONED,
                }
            )
    return rows
