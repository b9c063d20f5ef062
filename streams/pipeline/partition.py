"""What one partition of `glasses.captured` remembers, and how it stands on `glasses.state`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from msgspec import Struct, json
from msgspec.structs import replace

from streams.consent.record import own_fields, own_of
from streams.consent.view import Own
from streams.events.state import DeviceState, Number
from streams.pipeline.devices import Devices, Shelf
from streams.processing.operators import Operators

#: Name of the entry of the partition itself, beside those of its devices.
PARTITION = "@partition"


@dataclass(frozen=True, slots=True)
class PartitionState:
    """State of one partition of `glasses.captured`.

    Model and policy version in force, up to which offset of `glasses.consents` it has taken them up, the
    broker's time at the record that was read last (it never runs back), its own consent words that have not
    come back from there yet, and what is remembered of each device. `policies_read`, of partition 0 alone, is
    the offset of `glasses.policies` up to which what was refused of it stands on record. `shadow`
    are the devices as the next policy, of that version, would have them: they begin with a copy, and are not
    kept beyond the worker. `unsaid_policy` is the version in whose words the labels are of stored states that
    do not say it, which is how versions before wrote them. `let_go` says of how many devices, by operator,
    something was let go when they were restored, since another version of the operator had left it.
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
    let_go: Mapping[str, int] = field(default_factory=dict, compare=False)


class _TakenUp(Struct):
    """What stands on `glasses.state` of a partition itself; versions before did not say the last three."""

    model_version: Number
    policy_version: str
    consents_taken: Number
    own: dict[str, Any]
    now_ns: Number | None = None
    unsaid_policy: str | None = None
    policies_read: Number = 0


def restored(entries: Mapping[str, bytes], operators: Operators, shelf: Shelf | None) -> PartitionState:
    """State from checkpointed values, with its devices on `shelf`; of operators, what is of `operators`."""
    let_go: Counter[str] = Counter()
    if PARTITION not in entries:
        devices = Devices(_loaded(entries, operators, "", let_go), shelf)
        return PartitionState(devices=devices, let_go=let_go)
    taken = json.decode(entries[PARTITION], type=_TakenUp)
    unsaid = taken.policy_version if taken.unsaid_policy is None else taken.unsaid_policy
    return PartitionState(
        taken.model_version,
        taken.policy_version,
        taken.consents_taken,
        taken.now_ns or 0,
        # A state of 0.1.0 has no time; what its partition said is on the topic, and is taken up again.
        own_of(taken.own) if taken.now_ns is not None else {},
        Devices(_loaded(entries, operators, unsaid, let_go), shelf),
        unsaid_policy=unsaid,
        policies_read=taken.policies_read,
        let_go=let_go,
    )


def readable(name: str, value: bytes, operators: Operators) -> bool:
    """Whether `restored` can read an entry."""
    try:
        if name == PARTITION:
            restored({name: value}, operators, None)
        else:
            operators.load(value)
    except Exception:  # noqa: BLE001  bytes that nobody of ours may have written
        return False
    return True


def stored(before: PartitionState | None, after: PartitionState) -> Mapping[str, bytes]:
    """Values of the devices that changed, and of what the partition has taken up; all without `before`."""
    known = before.devices if before else Devices()
    changed = {name: slot.read().dump() for name, slot in after.devices.fresh(known)}
    if before is None or _fields(before) != _fields(after):
        changed[PARTITION] = orjson.dumps(_fields(after))
    return changed


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


def _loaded(
    entries: Mapping[str, bytes], operators: Operators, unsaid_policy: str, let_go: Counter[str]
) -> Iterator[tuple[str, DeviceState]]:
    for name in entries:
        if name != PARTITION:
            state, outdated = operators.load(entries[name])
            let_go.update(outdated)
            yield name, under(state, state.policy_version or unsaid_policy)


def under(state: DeviceState, policy_version: str) -> DeviceState:
    """A device's state whose labels are in the words of a policy version."""
    return state if state.policy_version == policy_version else replace(state, policy_version=policy_version)
