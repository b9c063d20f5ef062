"""The examples at the gate, as a training run or whoever asks about one finds them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from msgspec.structs import replace

from streams.consent.words import CLAIMED_CONSENT
from streams.errors import MalformedError
from streams.events.codec import Codec
from streams.events.headers import content_type_of
from streams.events.record import Received, stamp_ns
from streams.limits import TRAINING_READ_RATIO
from streams.models.pointer import Versions, together
from streams.pipeline.side_inputs import SideInputs
from streams.pipeline.training_state import TrainingState
from streams.policy.crossing import Crossing
from streams.policy.flow import at_gate, enforced, flow_of
from streams.policy.policy import Flow, Policy
from streams.policy.step import Step, Tagged
from streams.topology import TRAINING_RUN, ZONED
from streams.training import gate, run
from streams.training.seed import Licensed
from streams.training.splits import key_of

#: Rule against a derived record in a zone that needs a consent, if it does not say under which it was made.
UNSAID_RULE = "consent: the record does not say under which one it was made, as sealed ones do"


def newest(history: Sequence[Received], policy: Policy) -> Sequence[Received]:
    """The newest records of `glasses.examples`, of which a run chooses what it looks at."""
    return history[-TRAINING_READ_RATIO * policy.training.examples_max :]


def judged(
    history: Sequence[Received],
    codec: Codec,
    crossing: Crossing,
    side: SideInputs,
    now_ns: int,
    withdrawn: Versions = (),
) -> list[gate.Candidate]:
    """Judge records of `glasses.examples` at `now_ns`; those that are no examples are passed over."""
    adopt, candidates = adopting(side), list[gate.Candidate]()
    for record in history:
        with contextlib.suppress(MalformedError):
            candidates.append(gate.judge(record, codec, crossing, adopt, now_ns, withdrawn=withdrawn))
    return candidates


def crossing_now(side: SideInputs) -> Crossing:
    """A crossing under the policy and the consents of now, for whoever judges beside a run."""
    policy = side.policies.version(side.policies.current)
    return Crossing(policy, side.consents.of_partition(side.consents.offset, {}), Step())


def judged_now(
    history: Sequence[Received],
    codec: Codec,
    side: SideInputs,
    now_ns: int,
    withdrawn: Versions = (),
) -> list[gate.Candidate]:
    """Judge records under the policy and the consents of now, for whoever asks beside a run.

    `withdrawn` are versions beside those of the last erasure.
    """
    back = side.models.rollback
    withdrawn = together(withdrawn, back.withdrawn if back is not None else ())
    return judged(history, codec, crossing_now(side), side, now_ns, withdrawn)


def used_of(
    candidates: Sequence[gate.Candidate], state: TrainingState, licensed: Licensed, policy: Policy
) -> tuple[Sequence[gate.Candidate], run.Material]:
    """Those of some candidates for which a run has room and that are not left out; and the same, divided."""
    failed = set(state.left_out)
    reserved = frozenset(key_of(text) for text, _ in licensed.validation.pairs)
    open_ = [candidate for candidate in candidates if candidate.id not in failed]
    streams = policy.training_assets.streams
    used = run.within(open_, reserved, policy.training.examples_max, streams)
    return used, run.divided(used, reserved, streams)


def judged_by_tag(
    record: Received, topic: str, codec: Codec, side: SideInputs, now_ns: int, sink: str
) -> Flow:
    """Whether a record of `glasses.zoned` or `glasses.derived` may go into a sink at `now_ns`.

    Judged are its label and zone, the retention, and the wearer's consent of now under the record that the
    device named; of what is derived the header says which, if it is sealed. What does not say it is refused
    by UNSAID_RULE where a consent would let it in. Whatever the mode of the zone, the flow enforces.
    MalformedError if the record is no batch with a tag.
    """
    captured, crossing = topic == ZONED, crossing_now(side)
    form = content_type_of(record.headers)
    batch = codec.decode(record.value, record.offset, stamp_ns(record), content_type=form, captured=captured)
    number: int | None = batch.consent
    if not captured:
        since_ns, number = gate.since_of(record)
        batch = replace(batch, since_ns=since_ns)
    zone, header = gate.tag_of(record)
    policy = crossing.policy
    label = gate.label_of(header, policy, adopting(side))
    tagged = crossing.tagged(batch, zone, label, number or 0, now_ns)

    def decided(of: Tagged) -> Flow:
        if sink == TRAINING_RUN:
            return at_gate(policy, of, now_ns)
        return enforced(flow_of(policy, of, sink, now_ns))

    flow = decided(tagged)
    if number is None and not flow.passed and decided(replace(tagged, consent=CLAIMED_CONSENT)).passed:
        # There may have been one: that none is known would blame the wearer.
        return replace(flow, rule=UNSAID_RULE)
    return flow


def adopting(side: SideInputs) -> gate.Adopt:
    """Make a function that translates labels to the policy in force; empty if their policy is unknown."""

    def adopt(label: bytes, version: str, policy: Policy) -> bytes:
        return side.label(label, version, policy) if version in side.policies.versions else b""

    return adopt
