"""Explain why a decision was made, and what would change it.

This needs only the stored decision and the policy that decided, not the event's content.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from streams.policy.attributes import DOMAINS, Attributes
from streams.policy.policy import Policy
from streams.policy.recheck import StoredDecision, again

CHANGES_MAX = 6


class RequirementText(Struct, frozen=True):
    """The texts of a requirement, as the policy has them."""

    about: str
    when: str
    require: str


class Explanation(Struct, frozen=True, kw_only=True):
    """Why a decision was made; fields that do not apply are UNSET.

    `condition` and `because` are the zone's condition and reason, `matched` the attributes that the condition
    names (a sentence for derived events), `label` the words by component, `requirement` the requirement that
    decided. `would_change_it` has sentences.
    """

    sink: str
    verdict: str
    passed: bool
    mode: str
    purpose: str
    rule: str
    zone: str
    condition: str | UnsetType = UNSET
    because: str | UnsetType = UNSET
    matched: Mapping[str, str | bool] | str
    consent: str
    policy: str
    sink_is: str
    requirement: RequirementText | UnsetType = UNSET
    label: Mapping[str, str]
    would_change_it: tuple[str, ...]


def explain(policy: Policy, row: StoredDecision) -> Explanation:
    """Explain one stored decision by the policy that made it."""
    zone = policy.zones_by_name.get(row.zone)
    sink = policy.sinks.get(row.sink)
    decisive = next((rule for rule in policy.requirements if row.rule == f"requirements.{rule.name}"), None)
    label = bytes.fromhex(row.label)
    return Explanation(
        sink=row.sink,
        verdict=row.verdict,
        passed=row.passed,
        mode=row.mode,
        purpose=row.purpose,
        rule=row.rule,
        zone=row.zone,
        condition=UNSET if zone is None else zone.condition.text,
        because=UNSET if zone is None else zone.reason,
        matched=_matched(policy, row),
        consent=row.consent_state or "no one person's data",
        policy=f"{policy.name} {policy.version}",
        sink_is=sink.about if sink is not None else "not declared",
        requirement=UNSET
        if decisive is None
        else RequirementText(
            about=decisive.about,
            when=decisive.when.text if decisive.when else "always",
            require=decisive.require.text,
        ),
        label=policy.describe(label) if label else {},
        would_change_it=(*_other_attributes(policy, row), *_remedies(policy, row)),
    )


def _matched(policy: Policy, row: StoredDecision) -> Mapping[str, str | bool] | str:
    """The attributes that the zone's condition names; without such a zone, those that any condition names."""
    if not row.attributes:
        return "nothing: a derived event has the highest zone of its parents, and the join of their labels"
    zone = policy.zones_by_name.get(row.zone)
    attributes = Attributes.parse(row.attributes)
    return {
        name: getattr(attributes, name) for name in (policy.named if zone is None else zone.condition.names)
    }


def _other_attributes(policy: Policy, row: StoredDecision) -> list[str]:
    """Results if one attribute were different; those with another verdict come first.

    Kind and stream are not varied, because they say what the event is.
    """
    if not row.attributes:
        return []
    attributes = Attributes.parse(row.attributes)
    verdicts, zones = [], []
    for name, domain in DOMAINS.items():
        if name in {"kind", "stream"}:
            continue
        for value in domain:
            if value == getattr(attributes, name):
                continue
            other = attributes._replace(**{name: value})
            # To vary `consent_given`, assume a consent that limits nothing, or none.
            state = row.consent_state if name != "consent_given" else "claimed" if value else "none"
            now = again(policy, replace(row, attributes=other.text(), consent_state=state))
            shown = str(value).lower() if isinstance(value, bool) else value
            if now.verdict != row.verdict:
                verdicts.append(f"with {name} = {shown}: {now.verdict}, in zone {now.zone} ({now.rule})")
            elif now.zone != row.zone:
                zones.append(f"with {name} = {shown}: zone {now.zone}, and {now.verdict} all the same")
    return (verdicts + zones)[:CHANGES_MAX]


def _remedies(policy: Policy, row: StoredDecision) -> list[str]:
    """Remedies for a refused flow (label, block, declassify) that fit its rule; empty if it is allowed."""
    rule, sink = row.rule, row.sink
    if row.verdict == "allow":
        return []
    if row.verdict == "unconfigured":
        return [
            "label: a zone of the policy whose condition takes these attributes, "
            "a label for the kind, or a sink of this name"
        ]
    if rule.startswith("consent:"):
        return [
            f"consent: the wearer agrees to {row.purpose} under a new record; it counts for what is "
            "captured from then on"
        ]
    if rule.startswith("retention:"):
        return [
            "nothing: its time is over; a longer retention class counts for what is captured from then on"
        ]
    named = ", ".join(policy.declassifiers) or "none so far"
    return [
        f"label the sink: change what {sink} is for or may receive, if that is what it does",
        f"block: leave it as it is, and keep such data from {sink}",
        (
            f"declassify: a registered declassifier (in this policy: {named}) whose evidence shows that the "
            "sensitive part does not arrive"
        ),
    ]
