"""Decisions about flows: the only place that decides whether a tagged run may enter a sink.

`decide` also records them, except those of the gate: training judges the same examples in many runs, and
records a later decision only if it differs.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from streams.consent.words import Consent
from streams.policy.policy import Flow, Policy
from streams.policy.step import Decision, Step, Tagged
from streams.topology import TRAINING_RUN


def flow_of(policy: Policy, tagged: Tagged, sink: str, at_ns: int) -> Flow:
    """Decide whether a tagged run may cross into `sink` at `at_ns`, the broker's time.

    A run without a zone or a label is unconfigured, which passes in no mode. A run whose retention is over at
    `at_ns` is denied.
    """
    flow = policy.decision(tagged, sink)
    if (
        flow.verdict == "allow"
        and at_ns - tagged.batch.appended_ns >= policy.shortest_ns
        and at_ns >= policy.expires_ns(tagged.label, tagged.batch.appended_ns)
    ):
        return Flow("deny", flow.mode == "logging", "retention: it is over", flow.mode, flow.purpose)
    return flow


def at_gate(policy: Policy, tagged: Tagged, at_ns: int, sink: str = TRAINING_RUN) -> Flow:
    """Decide about an example that is taken out of its topic: a flow into a sink, with more conditions.

    It needs a consent even if the zone needs none, and for training it must also permit all purposes that the
    model serves. The gate always enforces, whatever the mode of the zone.
    """
    flow = flow_of(policy, tagged, sink, at_ns)
    serves, rule = sink == TRAINING_RUN, ""
    if serves and flow.verdict == "allow" and not policy.permits(tagged.label, policy.served_purposes):
        rule = "gate: the example does not permit what the model serves"
    elif flow.verdict == "allow" and not (tagged.consent and tagged.consent.given):
        rule = "gate: no consent is known"
    if rule:
        return Flow("deny", False, rule, "enforcing", flow.purpose)
    return enforced(flow)


def enforced(flow: Flow) -> Flow:
    """The same decision where the mode of the zone does not count."""
    return replace(flow, passed=flow.verdict == "allow", mode="enforcing")


def decision_of(tagged: Tagged, sink: str, flow: Flow, at_ns: int) -> Decision:
    """Record of one decision, with everything that is needed to repeat it."""
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
    """State of a consent as a decision records it; empty if the data belongs to no single person."""
    return "" if consent is None else consent.text()


def decide(tagged: Tagged, sinks: Sequence[str], policy: Policy, step: Step, at_ns: int | None = None) -> str:
    """Decide, in order, whether a tagged run may cross into each of `sinks`; record the decisions in `step`.

    Returns the rule of the first refusal, after which no further sink is decided; empty if all permit it.
    `at_ns` None: the append time.
    """
    at_ns = tagged.batch.appended_ns if at_ns is None else at_ns
    for sink in sinks:
        flow = flow_of(policy, tagged, sink, at_ns)
        step.decisions.append(decision_of(tagged, sink, flow, at_ns))
        if not flow.passed:
            return flow.rule
    return ""


def rule_against(tagged: Tagged, sinks: Sequence[str], policy: Policy) -> str:
    """The rule by which one of `sinks` refuses a tagged run, empty if none does; nothing is recorded.

    `decide` records the decision later, when it is known which similar events continue the run.
    """
    flows = (flow_of(policy, tagged, sink, tagged.batch.appended_ns) for sink in sinks)
    return next((flow.rule for flow in flows if not flow.passed), "")
