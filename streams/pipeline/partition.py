"""The state of one partition of `glasses.captured`, and its form on `glasses.state`."""

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

    `model_version` and `policy_version` are those in force. `consents_taken` is the offset of
    `glasses.consents` up to which consents were taken up; `own` are consent words of this partition that
    have not come back from that topic yet; `candidate_version` answers in shadow, 0 for none. `now_ns` is
    the highest append time so far.

    `policies_read`, used by partition 0 only, is the offset of `glasses.policies` up to which refusals were
    recorded. `shadow` is (version, devices) of a run under the next policy; it begins with a copy of
    `devices` and is not saved. `unsaid_policy` is the policy version of stored device states that do not name
    one, because an earlier release wrote them. `let_go` has, by operator, the number of
    devices whose windows or memory were dropped on restore, because another version had left them.
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
    candidate_version: int = 0
    let_go: Mapping[str, int] = field(default_factory=dict, compare=False)


class _TakenUp(Struct):
    """The partition's own entry on `glasses.state`; earlier releases did not write the last four fields."""

    model_version: Number
    policy_version: str
    consents_taken: Number
    own: dict[str, Any]
    now_ns: Number | None = None
    unsaid_policy: str | None = None
    policies_read: Number = 0
    candidate_version: Number = 0


def restored(entries: Mapping[str, bytes], operators: Operators, shelf: Shelf | None) -> PartitionState:
    """State from checkpointed values, with the devices on `shelf`; data of other operators is dropped."""
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
        # A state without `now_ns` is from 0.1.0. Its own words are on the topic and are taken up from there.
        own_of(taken.own) if taken.now_ns is not None else {},
        Devices(_loaded(entries, operators, unsaid, let_go), shelf),
        unsaid_policy=unsaid,
        policies_read=taken.policies_read,
        candidate_version=taken.candidate_version,
        let_go=let_go,
    )


def readable(name: str, value: bytes, operators: Operators) -> bool:
    """Whether `restored` can read an entry."""
    try:
        if name == PARTITION:
            restored({name: value}, operators, None)
        else:
            operators.load(value)
    except Exception:  # noqa: BLE001  a foreign program may have written the bytes
        return False
    return True


def stored(before: PartitionState | None, after: PartitionState) -> Mapping[str, bytes]:
    """Values of the devices that changed, and the partition's own if it changed; all if `before` is None."""
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
        "candidate_version": state.candidate_version,
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
    """State of a device, marked as labelled under a policy version."""
    return state if state.policy_version == policy_version else replace(state, policy_version=policy_version)
