"""Deciding a flow: the one place where a tagged run meets a sink, and the decision that is recorded of it."""

from __future__ import annotations

from streams.events.step import Decision, Step, Tagged
from streams.policy.policy import Policy

STORE, TRAINING_RUN = "store", "training-run"


def decide(tagged: Tagged, sink: str, policy: Policy, step: Step) -> bool:
    """Decide whether a tagged run may cross into `sink`, record the decision in `step`, and say whether it passes."""
    batch = tagged.batch
    flow = policy.decision(tagged, sink)
    step.decisions.append(Decision(
        batch.source, batch.stream, batch.run, batch.t0_ns, sink, flow.purpose, flow.verdict, flow.passed, flow.mode, tagged.zone,
        tagged.label, flow.rule, tagged.attributes, batch.consent))
    return flow.passed
