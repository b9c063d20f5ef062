"""Rows of single decisions, rejects and opinions of a `Step`."""

from __future__ import annotations

from streams.lineage.rows import DecisionRow, OpinionRow, RejectedRow
from streams.policy.step import Decision, Opinion, Reject


def decision_row(decision: Decision, policy_version: str) -> DecisionRow:
    """Row of a decision about a run of events."""
    return DecisionRow(
        source=decision.source,
        stream=decision.stream,
        first=decision.run.first,
        step=decision.run.step,
        count=decision.run.count,
        t_ns=decision.t_ns,
        sink=decision.sink,
        purpose=decision.purpose,
        verdict=decision.verdict,
        passed=decision.passed,
        mode=decision.mode,
        zone=decision.zone,
        label=decision.label.hex(),
        rule=decision.rule,
        policy_version=policy_version,
        attributes=decision.attributes,
        consent=decision.consent,
        consent_state=decision.consent_state,
        wearer=decision.wearer,
        appended_ns=decision.appended_ns,
        at_ns=decision.at_ns,
    )


def rejected_row(reject: Reject, policy_version: str, topic: str, partition: int) -> RejectedRow:
    """Row of a reject of a fetch of `topic`/`partition`."""
    return RejectedRow(
        source=reject.source,
        stream=reject.stream,
        first=reject.run.first if reject.run else 0,
        count=reject.run.count if reject.run else 0,
        stage=reject.cause.stage,
        reason=reject.cause.reason,
        rule=reject.cause.rule,
        outcome=reject.cause.outcome,
        zone=reject.zone,
        policy_version=policy_version,
        topic=reject.topic or topic,
        partition=partition,
        offset=reject.position,
        bytes=reject.value_bytes,
        digest=reject.digest,
        t_ns=reject.t_ns,
        wearer=reject.wearer,
        appended_ns=reject.appended_ns,
    )


def opinion_row(opinion: Opinion, policy_version: str) -> OpinionRow:
    """Row of what one feedback says of an answer."""
    batch = opinion.feedback.batch
    return OpinionRow(
        source=batch.source,
        stream=batch.stream,
        first=batch.run.first,
        answer_stream=opinion.answer_stream,
        answer=opinion.answer,
        version=opinion.version,
        form=opinion.form,
        meaning=opinion.meaning,
        candidate=opinion.candidate,
        candidate_meaning=opinion.candidate_meaning,
        zone=opinion.zone,
        label=opinion.label.hex(),
        policy_version=policy_version,
        wearer=batch.wearer_id,
        t_ns=batch.t0_ns,
    )
