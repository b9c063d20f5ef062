"""Stages 1-4 for one fetch of `glasses.captured`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replace_state
from typing import Any

import orjson
from msgspec import Struct, json
from msgspec.structs import replace

from streams.assistant import stage as assistant
from streams.consent.record import own_fields, own_of, take_ups_of
from streams.consent.view import ConsentView, Own
from streams.events.codec import codec_of
from streams.events.kinds import Kinds
from streams.events.record import Fetch, Loss, Outcome, Outgoing, Received
from streams.events.shipped import SHIPPED
from streams.events.state import DeviceState, Number
from streams.feedback import stage as feedback
from streams.lineage.record import Row, Rows
from streams.lineage.tables import CONSENT_TAKEUP, MODEL_TAKEUP, POLICY_TAKEUP
from streams.models.version import ModelVersion
from streams.pipeline.devices import Devices, Shelf
from streams.pipeline.emit import consent_records, lineage_of, records_of
from streams.pipeline.shadow import differences, with_gate
from streams.pipeline.tables import Tables, input_row, policy_row, refusal_of, told
from streams.policy.crossing import Crossing
from streams.policy.policy import Policy
from streams.policy.step import Step
from streams.processing import stage as processing
from streams.topology import ZONED
from streams.zones import stage as zones

_STATE = "@partition"
_NEW = DeviceState()


@dataclass(frozen=True, slots=True)
class PartitionState:
    """State of one partition of `glasses.captured`.

    Model and policy version in force, up to which offset of `glasses.consents` it has taken them up, the
    broker's time at the record that was read last (it never runs back), its own consent words that have not
    come back from there yet, and what is remembered of each device. `policies_read`, of partition 0 alone, is
    the offset of `glasses.policies` up to which what was refused of it stands on record. `shadow`
    are the devices as the next policy, of that version, would have them: they begin with a copy, and are not
    kept beyond the worker. `unsaid_policy` is the version in whose words the labels are of stored states that
    do not say it, which is how versions before wrote them.
    """

    model_version: int = 0
    policy_version: str = ""
    consents_taken: int = 0
    now_ns: int = 0
    own: Own = field(default_factory=dict)
    devices: Devices = field(default_factory=Devices)
    shadow: tuple[str, Devices] = ("", Devices())
    unsaid_policy: str = ""
    policies_read: int = 0


class _TakenUp(Struct):
    """What stands on `glasses.state` of a partition itself; versions before did not say the last three."""

    model_version: Number
    policy_version: str
    consents_taken: Number
    own: dict[str, Any]
    now_ns: Number | None = None
    unsaid_policy: str | None = None
    policies_read: Number = 0


class GlassesCore:
    """Stages 1-4 for one fetch of `glasses.captured` (see `streams.events.record.Core`).

    `lineage` is False only where the bench measures what lineage costs: nothing says then where anything came
    from.
    """

    knows_repeats = True

    def __init__(
        self, tables: Tables, *, kinds: Kinds = SHIPPED, lineage: bool = True, shelf: Shelf | None = None
    ) -> None:
        self.tables, self._lineage, self._shelf = tables, lineage, shelf
        self._codec = codec_of(kinds)

    def empty(self, partition: int) -> PartitionState:
        """Nobody seen, nothing taken up."""
        del partition
        return PartitionState(devices=Devices(shelf=self._shelf))

    def restore(self, partition: int, entries: Mapping[str, bytes]) -> PartitionState:
        """State from checkpointed values."""
        del partition
        if _STATE not in entries:
            return PartitionState(devices=Devices(_loaded(entries, ""), self._shelf))
        taken = json.decode(entries[_STATE], type=_TakenUp)
        unsaid = taken.policy_version if taken.unsaid_policy is None else taken.unsaid_policy
        return PartitionState(
            taken.model_version,
            taken.policy_version,
            taken.consents_taken,
            taken.now_ns or 0,
            # A state of 0.1.0 has no time; what its partition said is on the topic, and is taken up again.
            own_of(taken.own) if taken.now_ns is not None else {},
            Devices(_loaded(entries, unsaid), self._shelf),
            unsaid_policy=unsaid,
            policies_read=taken.policies_read,
        )

    def readable(self, name: str, value: bytes) -> bool:
        """Whether `restore` can read an entry."""
        try:
            if name == _STATE:
                self.restore(0, {name: value})
            else:
                DeviceState.load(value)
        except Exception:  # noqa: BLE001  bytes that nobody of ours may have written
            return False
        return True

    async def stands(self, state: PartitionState) -> bool:
        """Whether the topics hold what the state has taken up."""
        return await self.tables.hold(state.policy_version, state.model_version, state.consents_taken)

    def made_of(self, names: frozenset[str]) -> frozenset[bytes]:
        """Keys of the records from which devices' states are made again.

        What the partition has taken up is on no record: it is taken up anew, and recorded again.
        """
        return frozenset(name.encode() for name in names if name != _STATE)

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
        known = before.devices if before else Devices()
        changed = {name: slot.read().dump() for name, slot in after.devices.fresh(known)}
        if before is None or _fields(before) != _fields(after):
            changed[_STATE] = orjson.dumps(_fields(after))
        return changed

    async def process(
        self, state: PartitionState, fetch: Fetch, *, silent: bool, poisoned: Mapping[int, str]
    ) -> Outcome[PartitionState]:
        """Run the four stages; what is new in the tables is taken up here alone, and never when `silent`.

        A silent run of a state that names nothing (it was lost) is under what is in force now; that counts
        as taken up, and is recorded, with the next fetch. UnavailableError where the tables lack what the
        state has taken up.
        """
        extra: Rows = {"inputs": [], "policies": []}
        state = _given_up(state, fetch, poisoned)
        named = bool(state.policy_version)
        begun = state if silent and named else self._take_up(state, fetch, extra)
        if late := self.tables.behind(begun.consents_taken):
            raise late
        if begun.model_version not in self.tables.models.versions:
            await self.tables.recall(begun.model_version)
        policy = self.tables.policies.version(begun.policy_version)
        known = ConsentView(self.tables.consents, begun.consents_taken, begun.own)
        step, devices, now_ns = self._stages(fetch.records, begun, begun.devices, policy, known, poisoned)
        if not silent and fetch.partition == 0:
            begun = self._put_on_record(begun, step)
        extra["streams"] = _new_streams(step, devices)
        after = replace_state(begun, devices=_with(begun.devices, devices), own=known.own, now_ns=now_ns)
        if silent and not named:
            after = replace_state(after, model_version=0, policy_version="", consents_taken=0)
        elif not silent:
            after = self._beside(after, begun, fetch, step, policy, poisoned, extra)
        place, stamp = (fetch.topic, fetch.partition), now_ns // 1_000_000
        records, values = records_of(step, policy, place)
        records += consent_records(step)
        if self._lineage:
            records += lineage_of(
                step, values, policy, place, extra, (f"glasses/{fetch.partition}".encode(), stamp)
            )
        recorded = after.policies_read != state.policies_read
        return Outcome(after, records, checkpoint=recorded or bool(extra["inputs"]))

    def _stages(
        self,
        records: Sequence[Received],
        begun: PartitionState,
        devices: Devices,
        policy: Policy,
        known: ConsentView,
        poisoned: Mapping[int, str],
    ) -> tuple[Step, dict[str, DeviceState], int]:
        serving = self._serving(begun.model_version, policy)
        met = {name: self._adopted(devices[name], policy) for name in names_of(records) if name in devices}
        step = Step()
        crossing = Crossing(policy, known, step)
        states, now_ns = zones.run(records, met, self._codec, crossing, poisoned, begun.now_ns)
        tagged = [output.tagged for output in step.outputs]
        states, asked = processing.run(tagged, states, crossing)
        states = assistant.run(tagged, asked, states, serving, crossing)
        states = feedback.run(tagged, states, serving, crossing)
        return step, {name: _under(state, policy.version) for name, state in states.items()}, now_ns

    def _adopted(self, state: DeviceState, policy: Policy) -> DeviceState:
        """What is remembered of a device, its labels in the words of the policy in force.

        Done when the device is next heard of: a switch costs nothing for those that are quiet. Of a version
        that nobody knows (nothing of ours wrote the state) no label can be said.
        """
        if state.policy_version == policy.version:
            return state
        before = self.tables.policies.versions.get(state.policy_version)

        def label(text: str) -> str:
            return policy.adopted(bytes.fromhex(text), before).hex() if before is not None else ""

        return replace(
            state,
            policy_version=policy.version,
            windows={
                stream: replace(window, label=label(window.label)) for stream, window in state.windows.items()
            },
            recents=tuple(replace(one, label=label(one.label)) for one in state.recents),
            answers=tuple(
                replace(one, label=label(one.label), query_label=label(one.query_label))
                for one in state.answers
            ),
        )

    def _serving(self, number: int, policy: Policy) -> ModelVersion:
        """The model version in force, with its label in the words of the policy in force."""
        version = self.tables.models.version(number)
        if version.policy_version == policy.version:
            return version
        return replace_state(version, label=self.tables.label(version.label, version.policy_version, policy))

    def _take_up(self, state: PartitionState, fetch: Fetch, extra: Rows) -> PartitionState:
        """Take up what is new in the tables; each that changes results is an input that is recorded."""
        tables, taken = self.tables, state
        tables.models.settle()
        if tables.models.serving != taken.model_version:
            taken = replace_state(taken, model_version=tables.models.serving)
            extra["inputs"].append(input_row(MODEL_TAKEUP, "glasses", fetch, str(taken.model_version)))
        if tables.policies.current != taken.policy_version:
            policy = tables.policies.version(tables.policies.current)
            extra["policies"].append(policy_row(policy, fetch, first=not taken.policy_version))
            taken = replace_state(taken, policy_version=policy.version)
            extra["inputs"].append(input_row(POLICY_TAKEUP, "glasses", fetch, policy.version))
        if tables.consents.offset > taken.consents_taken:
            foreign, own = tables.fresh(taken.consents_taken, taken.own)
            taken = replace_state(taken, consents_taken=tables.consents.offset, own=own)
            if foreign:
                extra["inputs"] += [
                    input_row(CONSENT_TAKEUP, "glasses", fetch, part) for part in take_ups_of(foreign)
                ]
        return taken

    def _put_on_record(self, state: PartitionState, step: Step) -> PartitionState:
        """Add what was refused of `glasses.policies` since to the fetch's rejects."""
        refused = self.tables.refused(state.policies_read)
        step.rejects += map(refusal_of, refused)
        return replace_state(state, policies_read=refused[-1].offset + 1) if refused else state

    def _beside(
        self,
        after: PartitionState,
        begun: PartitionState,
        fetch: Fetch,
        step: Step,
        policy: Policy,
        poisoned: Mapping[int, str],
        extra: Rows,
    ) -> PartitionState:
        """Let the next policy decide the same fetch, and record what it would decide otherwise.

        The training gate is asked too; model versions are not made beside. Nothing else comes of it.
        """
        version = self.tables.policies.next
        if not version or version == policy.version:
            return replace_state(after, shadow=("", Devices()))
        other = self.tables.policies.version(version)
        of, devices = begun.shadow
        if of != version:
            devices = begun.devices
            extra["policies"].append(policy_row(other, fetch, first=True))
        known = ConsentView(self.tables.consents, begun.consents_taken, begun.own)
        beside, states, _ = self._stages(fetch.records, begun, devices, other, known, poisoned)
        extra["shadow"] = differences(
            with_gate(step, policy), with_gate(beside, other), policy.version, version
        )
        return replace_state(after, shadow=(version, _with(devices, states)))


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


def _fields(state: PartitionState) -> dict[str, object]:
    return {
        "model_version": state.model_version,
        "policy_version": state.policy_version,
        "consents_taken": state.consents_taken,
        "now_ns": state.now_ns,
        "own": own_fields(state.own),
        "policies_read": state.policies_read,
        "unsaid_policy": state.unsaid_policy,
    }


def names_of(records: Sequence[Received]) -> list[str]:
    """Devices that records may be of: what their keys say, each once."""
    return [key.decode(errors="replace") for key in dict.fromkeys(record.key for record in records) if key]


def _loaded(entries: Mapping[str, bytes], unsaid_policy: str) -> Iterator[tuple[str, DeviceState]]:
    for name in entries:
        if name != _STATE:
            state = DeviceState.load(entries[name])
            yield name, _under(state, state.policy_version or unsaid_policy)


def _under(state: DeviceState, policy_version: str) -> DeviceState:
    return state if state.policy_version == policy_version else replace(state, policy_version=policy_version)


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
