"""The training gate: learn from an example only if its label permits training and all the model serves.

The gate decides by label, does not trust earlier stages, and always enforces. Refused examples are recorded
with the rule, in a decision and in the manifest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from streams.errors import MalformedError
from streams.events.agreement import check_headers
from streams.events.batch import Batch
from streams.events.codec import Codec
from streams.events.headers import LABEL, PARENTS, SINCE, ZONE, unpack_parents
from streams.events.identity import example_stream
from streams.events.intents import INTENT
from streams.events.record import Received, stamp_ns
from streams.limits import LABEL_BYTES, NUMBER_MAX
from streams.models.pointer import Versions, holds
from streams.policy.crossing import Crossing
from streams.policy.flow import at_gate, decision_of
from streams.policy.policy import Flow, Policy
from streams.policy.rules import ERASED_RULE, SECOND_ORDER_RULES
from streams.policy.step import Decision, Tagged
from streams.topology import RESERVED_SOURCES, TRAINING_RUN, TRAINING_SOURCE

#: Streams of examples, without the incarnation of their device: of feedback, and of reviews.
STREAMS = (FED_BACK, REVIEWED) = (example_stream("feedback"), example_stream("review"))
#: Rule that refuses an example whose intent the policy does not list.
UNLISTED_RULE = "intent"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An example at the gate, the gate's decision, and whether the policy lists the example's intent."""

    tagged: Tagged
    decision: Decision
    listed: bool

    @property
    def id(self) -> str:
        """Identity of the example."""
        return self.tagged.batch.first_id

    @property
    def agreement(self) -> float:
        """How much those agree who said what it means, 0 to 1; 1 if it was one person."""
        agreement = self.tagged.batch.columns["agreement"][0]
        return 1.0 if agreement is None else float(agreement)

    @property
    def admitted(self) -> bool:
        """Whether a run may learn from it."""
        return self.decision.passed and self.listed

    @property
    def rule(self) -> str:
        """Rule that admitted or refused it."""
        return self.decision.rule if self.listed else UNLISTED_RULE


#: (label, policy version that gave it, policy in force) -> label in the words of the policy in force, empty
#: if that cannot express it.
Adopt = Callable[[bytes, str, Policy], bytes]


def read(record: Received, codec: Codec) -> tuple[Batch, str, str]:
    """(batch, zone, label header) of a record of `glasses.examples`.

    MalformedError if no feedback stage can have written it.
    """
    batch = codec.decode(record.value, record.offset, stamp_ns(record), captured=False)
    if batch.context is None:
        raise MalformedError("context: found none, expected that of the feedback which made the example")
    if batch.kind != "example" or batch.run.count != 1:
        raise MalformedError("example: found another kind or several events, expected one example a record")
    if batch.source in RESERVED_SOURCES or batch.stream.partition("~")[0] not in STREAMS:
        raise MalformedError(
            "stream: found none of an example, expected a device and what feedback makes of it"
        )
    agreement = batch.columns["agreement"][0]
    if agreement is not None and not 0 <= agreement <= 1:
        raise MalformedError("agreement: found none from 0 to 1, expected the share in which raters agree")
    if INTENT.fullmatch(batch.columns["intent"][0]) is None:
        raise MalformedError("intent: found no name, expected lower-case letters, digits and underscores")
    check_headers(record.headers, batch, captured=False)
    if record.key != batch.source.encode():
        raise MalformedError("key: found another one than device_id, expected the key to be the device")
    # Examples of older versions lack this header; their data counts as captured at the earliest time.
    since_ns, _ = since_of(record)
    return replace(batch, since_ns=since_ns or 1), *tag_of(record)


def since_of(record: Received) -> tuple[int, int | None]:
    """Capture time (ns) of the oldest data in a record, and number of the consent record, by its header.

    0 and None for what it does not say; a number 0 says that there was none. MalformedError if it is none
    that the pipeline writes.
    """
    written = dict(record.headers).get(SINCE)
    if written is None:
        return 0, None
    numbers = written.split(b" ")
    if len(numbers) > 2 or not all(each.isdigit() and int(each) <= NUMBER_MAX for each in numbers):
        raise MalformedError(f"headers: {SINCE} holds no time, expected what the pipeline writes")
    since_ns, *number = map(int, numbers)
    if not since_ns:
        raise MalformedError(f"headers: {SINCE} holds no time, expected what the pipeline writes")
    return since_ns, number[0] if number else None


def tag_of(record: Received) -> tuple[str, str]:
    """(zone, label) as the headers of a record have them; MalformedError if they are no text."""
    headers = dict(record.headers)
    try:
        return (headers.get(ZONE) or b"").decode(), (headers.get(LABEL) or b"").decode()
    except UnicodeDecodeError:
        raise MalformedError(
            "headers: found a tag that is no text, expected what the pipeline writes"
        ) from None


def judge(
    record: Received,
    codec: Codec,
    crossing: Crossing,
    adopt: Adopt,
    now_ns: int,
    sink: str = TRAINING_RUN,
    withdrawn: Versions = (),
) -> Candidate:
    """Judge one example at `now_ns`, the broker's time, for training or another sink; the step stays.

    MalformedError if the record is no example.

    The consent is that under which the example was captured, in its state at `now_ns`. What was erased since
    is refused, also before its key is destroyed, where the key store is at hand. `withdrawn` are the model
    versions that learned from somebody who was erased; what was made with one is of the second order.
    """
    batch, zone, header = read(record, codec)
    policy = crossing.policy
    tagged = crossing.tagged(batch, zone, label_of(header, policy, adopt), batch.consent, now_ns)
    flow = at_gate(policy, tagged, now_ns, sink)
    erased = crossing.consents.erased_as_known(batch.wearer_id)
    if flow.passed and erased.has(batch.oldest_ns, batch.last_ns):
        # Its wearer goes on consenting: an erasure that names a place takes nothing back but what was there.
        flow = Flow("deny", False, ERASED_RULE, flow.mode, flow.purpose)
    if (
        flow.passed
        and withdrawn
        and _held_back(batch, policy)
        and any(holds(withdrawn, version) for version in versions_of(record, batch))
    ):
        flow = Flow("deny", False, SECOND_ORDER_RULES[policy.second_order], flow.mode, flow.purpose)
    decision = decision_of(tagged, sink, flow, now_ns)
    return Candidate(tagged, decision, batch.columns["intent"][0] in policy.intents)


def versions_of(record: Received, batch: Batch) -> set[int]:
    """Model versions with which an example was made: that of the answer, and one that heard the feedback.

    MalformedError if its parents cannot be read.
    """
    packed = dict(record.headers).get(PARENTS) or b""
    try:
        parents = unpack_parents(batch.source, batch.run.first, packed)
    except ValueError:
        raise MalformedError(
            f"headers: {PARENTS} holds no parents, expected what the pipeline writes"
        ) from None
    heard = {parent.first for parent in parents if parent.source == TRAINING_SOURCE}
    return {batch.columns["model_version"][0], *heard}


def _held_back(batch: Batch, policy: Policy) -> bool:
    """Whether the policy keeps an example from learning if it is of the second order."""
    if policy.second_order == "review":
        return batch.stream.partition("~")[0] != REVIEWED
    return policy.second_order == "drop"


def labelled_under(record: Received) -> str:
    """Policy version that the label of a record names; empty if it names none."""
    return (
        next((value or b"" for name, value in record.headers if name == LABEL), b"")
        .decode(errors="replace")
        .partition(":")[0]
    )


def label_of(header: str, policy: Policy, adopt: Adopt) -> bytes:
    """Label of a header in the words of the policy in force; MalformedError if it is no label.

    It is empty, and passes nowhere, if the header has none or the policy cannot express it.
    """
    version, _, packed = header.partition(":")
    if not packed:
        return b""
    try:
        label = bytes.fromhex(packed)
    except ValueError:
        label = b""
    if len(label) != LABEL_BYTES:
        raise MalformedError(
            f"headers: {LABEL} holds no label, expected the policy's version and {LABEL_BYTES} bytes in "
            "hexadecimal"
        )
    return adopt(label, version, policy)
