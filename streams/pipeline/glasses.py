"""Stages 1-4 for one fetch of `glasses.captured`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as replace_state

from msgspec.structs import replace

from streams.assistant import stage as assistant
from streams.consent.erased import Erasure
from streams.consent.record import take_ups_of
from streams.consent.view import PartitionConsents
from streams.events.codec import codec_of
from streams.events.record import Fetch, Loss, Outcome, Outgoing, Received
from streams.events.state import DeviceState
from streams.feedback import stage as feedback
from streams.limits import POLICY_REFUSALS_PER_FETCH_MAX
from streams.lineage.record import Written
from streams.lineage.rows import Row, Rows
from streams.lineage.tables import CONSENT_TAKEUP, MODEL_CANDIDATE, MODEL_TAKEUP, POLICY_TAKEUP
from streams.metrics import Tally
from streams.models.version import ModelVersion
from streams.pipeline.devices import Devices, Shelf
from streams.pipeline.emit import consent_records, lineage_of, notice_records, records_of
from streams.pipeline.erased import without_erased
from streams.pipeline.partition import PARTITION, PartitionState, readable, restored, stored, under
from streams.pipeline.rows import input_row, policy_row, refusal_of, told
from streams.pipeline.shadow import differences, with_gate
from streams.pipeline.side_inputs import SideInputs
from streams.pipeline.tally import Aside, tallied
from streams.policy.crossing import Crossing
from streams.policy.policy import Policy
from streams.policy.step import Step
from streams.processing import stage as processing
from streams.processing.operators import Operators
from streams.processing.shipped import SHIPPED_OPERATORS
from streams.processing.stage import Asked
from streams.topology import ANSWERS, STORE
from streams.zones import stage as zones

_NEW = DeviceState()


@dataclass(frozen=True, slots=True)
class Stages:
    """The functions that process a fetch, in order: the stages, then what makes records, lineage and counts.

    Benchmarks replace single functions to measure what they cost.
    """

    zones: Callable[..., tuple[dict[str, DeviceState], int]] = zones.run
    processing: Callable[..., tuple[dict[str, DeviceState], list[Asked]]] = processing.run
    assistant: Callable[..., dict[str, DeviceState]] = assistant.run
    feedback: Callable[..., dict[str, DeviceState]] = feedback.run
    records: Callable[..., tuple[list[Outgoing], Written]] = records_of
    lineage: Callable[..., list[Outgoing]] = lineage_of
    tally: Callable[..., Tally] = tallied


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
        """State without devices, with nothing taken up."""
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
        """Keys of the records from which device states can be rebuilt; the key is the device.

        What the partition has taken up is on no record of the source topic: it is taken up and recorded
        again.
        """
        return frozenset(name.encode() for name in names if name != PARTITION)

    def mended(self, state: PartitionState, remade: PartitionState, names: frozenset[str]) -> PartitionState:
        """Return `state` with the devices `names` taken from `remade`."""
        return replace_state(state, devices=state.devices.taken(remade.devices, names))

    def behind(self, state: PartitionState) -> PartitionState:
        """Drop all open windows, because their events may have been written already."""
        closed = {
            name: slot.read().without_windows
            for name, slot in state.devices.fresh(Devices())
            if slot.read().windows or slot.read().kept
        }
        return replace_state(state, devices=state.devices.changed(closed))

    def moved(self, state: PartitionState, offset: int) -> PartitionState:
        """Let all that devices were answered, and what wearers said, be before `offset`."""
        before = {name: slot.read().before(offset) for name, slot in state.devices.fresh(Devices())}
        own = {
            wearer: tuple((min(at, offset - 1), word) for at, word in words)
            for wearer, words in state.own.items()
        }
        return replace_state(state, devices=state.devices.changed(before), own=own)

    def tell(self, loss: Loss) -> Sequence[Outgoing]:
        """Lineage records that document a loss."""
        return told("glasses", loss)

    def save(self, before: PartitionState | None, after: PartitionState) -> Mapping[str, bytes]:
        """Values of the devices that changed, and of the partition's own entry if it changed."""
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
        """Run the four stages. News in `inputs` is taken up before them, but not when `silent`.

        If a state was lost and names nothing, a silent run uses what is in force now; the next fetch takes it
        up and records it. UnavailableError if `inputs` lack what the state has taken up.
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
            after = replace_state(
                after, model_version=0, policy_version="", consents_taken=0, candidate_version=0
            )
        elif not silent:
            after = self._shadow_run(after, context, fetch, step, policy, extra)
        place, stamp = (fetch.topic, fetch.partition), now_ns // 1_000_000
        records, written = self._run.records(step, policy, place, inputs.digests)
        records += consent_records(step) + notice_records(step, policy, fetch.partition)
        records += self._run.lineage(
            step, written, policy, place, extra, (f"glasses/{fetch.partition}".encode(), stamp)
        )
        recorded = after.policies_read != state.policies_read
        return Outcome(
            after,
            records,
            checkpoint=recorded or bool(extra["inputs"]),
            tally=Tally() if silent else self._run.tally(step, extra.get("shadow", ())),
            aside=() if silent else (Aside.of(step),),
        )

    def _stages(
        self, context: _Context, devices: Devices, policy: Policy, known: PartitionConsents
    ) -> tuple[Step, dict[str, DeviceState], int]:
        inputs, begun, records = context.inputs, context.begun, context.records
        # Only a silent run can still name a version that an erasure took away.
        gone = inputs.models.gone(begun.model_version)
        serving = _serving(inputs, inputs.models.serving if gone else begun.model_version, policy)
        met = {name: _adopted(devices[name], inputs, policy) for name in names_of(records) if name in devices}
        run, step = self._run, Step()
        crossing = Crossing(policy, known, step)
        states, now_ns = run.zones(records, met, self._codec, crossing, context.poisoned, begun.now_ns)
        passed = step.stretches
        states, asked = run.processing(passed, states, self._operators, crossing)
        candidate = _candidate(inputs, begun.candidate_version, policy, known)
        states = run.assistant(passed, asked, states, serving, crossing, candidate)
        states = run.feedback(passed, states, serving, crossing)
        if gone:
            states = _as_answered(met, states)
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
        """Run the stages under the next policy too, and record where its decisions differ.

        This includes the decisions of the training gate, but no model is trained. The results of the run are
        otherwise discarded.
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
    """Arguments of the stages that are the same for the current and the next policy."""

    inputs: SideInputs
    begun: PartitionState
    records: Sequence[Received]
    poisoned: Mapping[int, str]


def _take_up(state: PartitionState, fetch: Fetch, inputs: SideInputs, extra: Rows) -> PartitionState:
    """Take up what is new in `inputs`, and record as an input each change that can affect results."""
    policies, models, consents = inputs.policies, inputs.models, inputs.consents
    taken = state
    if models.serving != taken.model_version:
        taken = replace_state(taken, model_version=models.serving)
        extra["inputs"].append(input_row(MODEL_TAKEUP, "glasses", fetch, str(taken.model_version)))
    if models.candidate != taken.candidate_version:
        taken = replace_state(taken, candidate_version=models.candidate)
        extra["inputs"].append(input_row(MODEL_CANDIDATE, "glasses", fetch, str(models.candidate)))
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
        if any(isinstance(statement, Erasure) for _, statement in foreign):
            before = consents.of_partition(state.consents_taken, {})
            known = consents.of_partition(taken.consents_taken, {})
            devices = without_erased(taken.devices, before, known)
            taken = replace_state(taken, devices=devices, shadow=("", Devices()))
    return taken


def _put_on_record(state: PartitionState, inputs: SideInputs, step: Step) -> PartitionState:
    """Add newly refused records of `glasses.policies` to the fetch's rejects, up to a bound per fetch.

    Only partition 0 of `glasses.captured` calls this, so that each refusal is recorded once.
    """
    refused = [refusal for refusal in inputs.policies.refused if refusal.offset >= state.policies_read]
    refused = refused[:POLICY_REFUSALS_PER_FETCH_MAX]
    step.rejects += map(refusal_of, refused)
    return replace_state(state, policies_read=refused[-1].offset + 1) if refused else state


def _serving(inputs: SideInputs, number: int, policy: Policy) -> ModelVersion:
    """A model version, with its label translated to the policy in force."""
    version = inputs.models.version(number)
    if version.policy_version == policy.version:
        return version
    return replace_state(version, label=inputs.label(version.label, version.policy_version, policy))


def _candidate(
    inputs: SideInputs, number: int, policy: Policy, known: PartitionConsents
) -> ModelVersion | None:
    """The version that answers in shadow; None if there is none, or if no answer of it could be given.

    None does if it learned from somebody who was erased since.
    """
    if not number or inputs.models.gone(number):
        return None
    version = _serving(inputs, number, policy)
    if any(version.trained_ns <= known.erased_ns(wearer) for wearer in version.manifest.wearers):
        return None
    flows = (policy.flow(version.zone, version.label, sink) for sink in (ANSWERS, STORE))
    return version if all(flow.verdict == "allow" for flow in flows) else None


def _as_answered(
    before: Mapping[str, DeviceState], states: Mapping[str, DeviceState]
) -> dict[str, DeviceState]:
    """States without the answers of a run that repeats another one with another model.

    What was heard then is not known any more, so no feedback can refer to it.
    """

    def left(name: str, state: DeviceState) -> DeviceState:
        heard = {(each.stream, each.number) for each in before[name].answers} if name in before else set()
        return replace(
            state, answers=tuple(each for each in state.answers if (each.stream, each.number) in heard)
        )

    return {name: left(name, state) for name, state in states.items()}


def _adopted(state: DeviceState, inputs: SideInputs, policy: Policy) -> DeviceState:
    """State of a device with its labels translated to the policy in force.

    Called for the devices of a fetch only, so that a policy switch costs nothing for inactive devices. If the
    state names an unknown policy version (a foreign program wrote it), its labels become empty, which passes
    no check.
    """
    if state.policy_version == policy.version:
        return state
    before = inputs.policies.versions.get(state.policy_version)

    def label(text: str) -> str:
        return policy.adopted(bytes.fromhex(text), before).hex() if before is not None else ""

    return state.relabelled(policy.version, label)


def _given_up(state: PartitionState, fetch: Fetch, poisoned: Mapping[int, str]) -> PartitionState:
    """Drop the open windows of devices whose batches failed, because an operator could fail on them again."""
    if not poisoned:
        return state
    keys = {record.key or b"" for record in fetch.records if record.offset in poisoned}
    names = {key.decode(errors="replace") for key in keys}

    def without(devices: Devices) -> Devices:
        failed = {name: devices[name].without_windows for name in names & devices.keys()}
        return devices.changed(failed) if failed else devices

    version, shadow = state.shadow
    return replace_state(state, devices=without(state.devices), shadow=(version, without(shadow)))


def names_of(records: Sequence[Received]) -> list[str]:
    """Devices that records claim to be from, by their keys, each once."""
    return [key.decode(errors="replace") for key in dict.fromkeys(record.key for record in records) if key]


def _with(devices: Devices, states: Mapping[str, DeviceState]) -> Devices:
    """Devices after a fetch.

    An unknown device is added only if the stages changed its state. They do not for a device without a
    pairing, so that a sender who invents names cannot fill the memory.
    """
    return devices.changed(
        {
            name: state
            for name, state in states.items()
            if name in devices or replace(state, policy_version="") != _NEW
        }
    )


def _new_streams(step: Step, devices: dict[str, DeviceState]) -> list[Row]:
    """Rows of streams that a device uses for the first time; also marks them as known in `devices`."""
    rows: list[Row] = []
    used = {stretch.stream: (stretch.kind, True) for stretch in step.stretches}
    for output in step.outputs:
        batch = output.tagged.batch
        used[batch.source, batch.stream] = batch.kind, False
    for (source, stream), (kind, captured) in used.items():
        known = devices[source].known_streams
        if stream not in known:
            devices[source] = replace(devices[source], known_streams=tuple(sorted((*known, stream))))
            rows.append({"source": source, "stream": stream, "kind": kind, "captured": captured})
    return rows
