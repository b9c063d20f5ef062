"""Deciding flows: the one place where a tagged run meets a sink, and the decision that is recorded of it."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from streams.consent.words import Consent
from streams.events.runs import Run
from streams.policy.policy import Flow, Policy
from streams.policy.step import Decision, Step, Tagged
from streams.topology import TRAINING_RUN


def flow_of(policy: Policy, tagged: Tagged, sink: str, at_ns: int) -> Flow:
    """Decide whether a tagged run may cross into `sink` at `at_ns`, the broker's time.

    No zone or no label is unconfigured, which passes in no mode.
    """
    flow = policy.decision(tagged, sink)
    if (
        flow.verdict == "allow"
        and at_ns - tagged.batch.appended_ns >= policy.shortest_ns
        and at_ns >= policy.expires_ns(tagged.label, tagged.batch.appended_ns)
    ):
        return Flow("deny", flow.mode == "logging", "retention: it is over", flow.mode, flow.purpose)
    return flow


def at_gate(policy: Policy, tagged: Tagged, at_ns: int) -> Flow:
    """Decide of an example at the training gate.

    That is the flow into a training run, and that it permits whatever the model serves.

    It enforces in every mode, and asks for a consent whatever its zone says.
    """
    flow = flow_of(policy, tagged, TRAINING_RUN, at_ns)
    rule = ""
    if flow.verdict == "allow" and not policy.permits(tagged.label, policy.served_purposes):
        rule = "gate: the example does not permit what the model serves"
    elif flow.verdict == "allow" and not (tagged.consent and tagged.consent.given):
        rule = "gate: no consent is known"
    if rule:
        return Flow("deny", False, rule, "enforcing", flow.purpose)
    return replace(flow, passed=flow.verdict == "allow", mode="enforcing")


def decision_of(tagged: Tagged, sink: str, flow: Flow, at_ns: int) -> Decision:
    """Record of one decision, with all that it takes to decide it again."""
    batch = tagged.batch
    return Decision(
        source=batch.source,
        stream=batch.stream,
        run=batch.run,
        t_ns=batch.t0_ns,
        sink=sink,
        purpose=flow.purpose,
        verdict=flow.verdict,
        passed=flow.passed,
        mode=flow.mode,
        zone=tagged.zone,
        label=tagged.label,
        rule=flow.rule,
        attributes=tagged.attributes,
        consent=tagged.consent_number,
        consent_state=consent_text(tagged.consent),
        wearer=batch.wearer_id,
        appended_ns=batch.appended_ns,
        at_ns=at_ns if at_ns != batch.appended_ns else 0,
    )


def consent_text(consent: Consent | None) -> str:
    """State of a consent as a decision records it; empty where the data is no one person's."""
    return "" if consent is None else consent.text()


def decide(tagged: Tagged, sinks: Sequence[str], policy: Policy, step: Step, at_ns: int | None = None) -> str:
    """Decide whether a tagged run may cross into all of `sinks`, in order, and record that in `step`.

    Returns the rule that refused, where no further sink is asked; empty when it passes. `at_ns` is when the
    broker took it unless given.
    """
    at_ns = tagged.batch.appended_ns if at_ns is None else at_ns
    for sink in sinks:
        flow = flow_of(policy, tagged, sink, at_ns)
        step.decisions.append(decision_of(tagged, sink, flow, at_ns))
        if not flow.passed:
            return flow.rule
    return ""


class Stretch:
    """Consecutive runs of one stream that are alike before the policy.

    They are decided once when they begin, and recorded as one when they end.
    """

    def __init__(self, sinks: Sequence[str], policy: Policy, step: Step) -> None:
        self._sinks, self._policy, self._step = sinks, policy, step
        self._begun: Tagged | None = None
        self._next = 0
        self._rule = ""

    def refusing_rule(self, tagged: Tagged) -> str:
        """Take the next run of the stream; return the rule that refuses it, empty when it passes."""
        batch, begun = tagged.batch, self._begun
        run = batch.run
        if (
            begun is None
            or run.first != self._next
            or begun.label != tagged.label
            or begun.attributes != tagged.attributes
            or begun.zone != tagged.zone
            or begun.consent_number != tagged.consent_number
            or begun.consent != tagged.consent
        ):
            self.close()
            self._begun = tagged
            flows = (flow_of(self._policy, tagged, sink, batch.appended_ns) for sink in self._sinks)
            self._rule = next((flow.rule for flow in flows if not flow.passed), "")
        self._next = run.first + run.count
        return self._rule

    def close(self) -> None:
        """Record the decisions of what has been taken, for every sink up to the one that refused."""
        if self._begun is not None:
            batch = self._begun.batch
            whole = replace(
                self._begun, batch=replace(batch, run=Run(batch.run.first, 1, self._next - batch.run.first))
            )
            decide(whole, self._sinks, self._policy, self._step)
            self._begun = None
