"""Why a decision is what it is, and what would change it.

It is said from the policy that decided, without the event's content.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streams.policy.attributes import DOMAINS, Attributes
from streams.policy.policy import Policy
from streams.policy.recheck import again

CHANGES_MAX = 6


def explain(policy: Policy, row: Mapping[str, Any]) -> dict[str, Any]:
    """Explain one row of table `decisions` by the policy that made it.

    Returns the zone with its condition and reason, the attributes that the condition names, the label in
    words, the requirement or sink that decided, and sentences that say what would change it.
    """
    zone = policy.zones_by_name.get(row["zone"])
    sink = policy.sinks.get(row["sink"])
    explained: dict[str, Any] = {
        "sink": row["sink"],
        "verdict": row["verdict"],
        "passed": row["passed"],
        "mode": row["mode"],
        "purpose": row["purpose"],
        "rule": row["rule"],
        "zone": row["zone"],
    }
    if zone is not None:
        explained |= {"condition": zone.condition.text, "because": zone.reason}
    if row["attributes"]:
        attributes = Attributes.parse(row["attributes"])
        named = zone.condition.names if zone is not None else policy.named
        explained["matched"] = {name: getattr(attributes, name) for name in named}
    else:
        explained["matched"] = (
            "nothing: a derived event has the highest zone of its parents, and the join of their labels"
        )
    explained["consent"] = row["consent_state"] or "no one person's data"
    explained["policy"] = f"{policy.name} {policy.version}"
    explained["sink_is"] = sink.about if sink is not None else "not declared"
    requirement = next(
        (candidate for candidate in policy.requirements if row["rule"] == f"requirements.{candidate.name}"),
        None,
    )
    if requirement is not None:
        explained["requirement"] = {
            "about": requirement.about,
            "when": requirement.when.text if requirement.when else "always",
            "require": requirement.require.text,
        }
    label = bytes.fromhex(row["label"])
    explained["label"] = policy.describe(label) if label else {}
    explained["would_change_it"] = [*_other_attributes(policy, row), *_remedies(policy, row)]
    return explained


def _other_attributes(policy: Policy, row: Mapping[str, Any]) -> list[str]:
    """What one other attribute would have led to; what changes the verdict comes first.

    Kind and stream are what the event is.
    """
    if not row["attributes"]:
        return []
    attributes = Attributes.parse(row["attributes"])
    verdicts, zones = [], []
    for name, domain in DOMAINS.items():
        if name in {"kind", "stream"}:
            continue
        for value in domain:
            if value == getattr(attributes, name):
                continue
            other = attributes._replace(**{name: value})
            # Who had given a consent by then would have had one that stands.
            state = row["consent_state"] if name != "consent_given" else "claimed" if value else "none"
            now = again(policy, {**row, "attributes": other.text(), "consent_state": state})
            shown = str(value).lower() if isinstance(value, bool) else value
            if now["verdict"] != row["verdict"]:
                verdicts.append(
                    f"with {name} = {shown}: {now['verdict']}, in zone {now['zone']} ({now['rule']})"
                )
            elif now["zone"] != row["zone"]:
                zones.append(f"with {name} = {shown}: zone {now['zone']}, and {now['verdict']} all the same")
    return (verdicts + zones)[:CHANGES_MAX]


def _remedies(policy: Policy, row: Mapping[str, Any]) -> list[str]:
    """The three remedies of a refused flow, in words that fit the rule; nothing where it is allowed."""
    rule, sink = row["rule"], row["sink"]
    if row["verdict"] == "allow":
        return []
    if row["verdict"] == "unconfigured":
        return [
            "label: a zone of the policy whose condition takes these attributes, "
            "a label for the kind, or a sink of this name"
        ]
    if rule.startswith("consent:"):
        return [
            f"consent: the wearer agrees to {row['purpose']} under a new record; it counts for what is "
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
