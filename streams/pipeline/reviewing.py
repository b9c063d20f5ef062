"""A person's review of an answer: whether the policy lets its query be looked at, and the event that it is.

The sink is `review` of the policy in force. A policy without it lets nobody look, and so does a label that
owes that no person looks (`local:NoHumanReview`), unless the sink honours it. What was answered is not shown:
the reviewer says what was meant, and is not steered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from msgspec.structs import replace

from streams.errors import InputError, MalformedError
from streams.events.batch import Batch
from streams.events.codec import Codec, encode
from streams.events.digest import digest
from streams.events.headers import content_type_of, envelope
from streams.events.identity import derived_stream
from streams.events.record import Outgoing, Received, stamp_ns
from streams.events.runs import Run
from streams.pipeline.judging import crossing_now
from streams.pipeline.side_inputs import SideInputs
from streams.policy.flow import flow_of
from streams.topology import CAPTURED, REVIEW, SINGLE_STREAMS

KIND = "review"
Verdict: TypeAlias = Literal["meant", "unclear"]


@dataclass(frozen=True, slots=True)
class Tagging:
    """How a captured event was tagged: its zone, its label (packed) under a policy version, its consent.

    `consent` is the number of the consent record under which it was captured.
    """

    zone: str
    label: bytes
    policy_version: str
    consent: int


def query_of(record: Received, codec: Codec, of: tuple[str, str, int], value_digest: str) -> Batch:
    """The query `of` (source, stream, number) in a record of `glasses.captured`.

    InputError if the record does not have it, or has another digest than the one that was tagged: its words
    would be judged by the zone and the consent of somebody else's.
    """
    source, stream, number = of
    try:
        batch = codec.decode(
            record.value, record.offset, stamp_ns(record), content_type=content_type_of(tuple(record.headers))
        )
    except MalformedError:
        batch = None
    if (
        batch is None
        or digest(record.value or b"") != value_digest
        or (batch.source, batch.stream, batch.kind) != (source, stream, "voice_query")
        or number not in batch.run
    ):
        raise InputError(
            f"{source}/{stream}/{number}: found another record at its place on {CAPTURED}, expected the "
            "query; this is the Kafka of another store"
        )
    at = number - batch.run.first
    return batch.part(at, at + 1, batch.context)


def refusing_rule(query: Batch, tagging: Tagging, side: SideInputs, now_ns: int) -> str:
    """The rule by which the policy in force does not let a person look at a query; empty if it does.

    The consent is that under which it was captured, in its state at `now_ns`, the time of the look.
    """
    policy = side.policies.version(side.policies.current)
    if REVIEW not in policy.sinks:
        return f"policy {policy.name} has no sink {REVIEW}: nobody looks"
    if policy.label_of(KIND, tagging.zone) is None:
        return f"policy {policy.name} says nothing about {KIND}, so no verdict would be taken"
    if tagging.policy_version not in side.policies.versions:
        return "the policy that tagged it is not known"
    label = side.label(tagging.label, tagging.policy_version, policy)
    tagged = crossing_now(side).tagged(query, tagging.zone, label, tagging.consent, now_ns)
    flow = flow_of(policy, tagged, REVIEW, now_ns)
    return "" if flow.verdict == "allow" else flow.rule


def review_event(
    query: Batch, answer: str, reviewer: str, meant: str | None, number: int, now_ns: int
) -> Batch:
    """The review as an event of the device that asked, in the query's surroundings and under its consent.

    `number` is its number in the stream of reviews. So it lies in the partition that knows the answer, and
    the policy judges it as it judges the query. `meant` None: it is unclear.
    """
    verdict: Verdict = "unclear" if meant is None else "meant"
    return replace(
        query,
        kind=KIND,
        stream=derived_stream(SINGLE_STREAMS[KIND], query.stream),
        run=Run(number, 1, 1),
        t0_ns=now_ns,
        dt_ns=0,
        t_ns=None,
        origin="live",
        changes=(),
        columns={
            "target": [answer],
            "verdict": [verdict],
            "chosen_intent": [meant],
            "reviewer": [reviewer],
        },
    )


def review_record(event: Batch, partition: int) -> Outgoing:
    """Record of a review for `glasses.captured`, in the partition of its device."""
    return Outgoing(
        CAPTURED,
        partition,
        event.source.encode(),
        encode(event),
        tuple(envelope(event)),
        event.t0_ns // 1_000_000,
    )
