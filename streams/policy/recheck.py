"""Deciding stored decisions again, from nothing but what the store keeps.

That is policy text, attributes, label, consent and time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

from msgspec import Struct

from streams.consent.words import Consent
from streams.errors import InputError
from streams.events.batch import Batch
from streams.events.runs import Run
from streams.limits import POLICIES_KEPT
from streams.policy.attributes import Attributes
from streams.policy.flow import at_gate, flow_of
from streams.policy.policy import JOIN_RULE, Policy
from streams.policy.step import Tagged
from streams.policy.stored import read_stored
from streams.topology import TRAINING_RUN

#: What a decision looked at, and what it said: columns of table `decisions`.
LOOKED_AT = ("policy_version", "attributes", "zone", "label", "sink", "consent_state", "appended_ns", "at_ns")
SAID = ("zone", "label", "verdict", "passed", "mode", "rule", "purpose")


class Difference(Struct, frozen=True):
    """A stored decision that comes out otherwise.

    It has the row, and by column what it says now (or the reason why nothing can be said).
    """

    row: Mapping[str, Any]
    now: Mapping[str, Any]


#: A store is opened again and again, by who follows it.
_stored = lru_cache(maxsize=POLICIES_KEPT)(partial(read_stored, tried=True))


class StoredPolicies:
    """Policies by version, from the texts that the store keeps; each is read once."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._read: dict[str, Policy] = {}

    def version(self, version: str) -> Policy:
        """Policy by version; InputError when the store does not hold it, or not as it was."""
        if version not in self._read:
            if version not in self._texts:
                raise InputError(
                    f"policy {version}: found no text in the store, "
                    "expected that of every policy that decided"
                )
            self._read[version] = _stored(version, self._texts[version])
        return self._read[version]


def tagged_of(policy: Policy, row: Mapping[str, Any]) -> Tagged:
    """What was decided about, as far as the decision looked at it.

    Captured events get their zone and label again from their attributes.
    """
    text = row["consent_state"]
    consent = Consent.parse(text) if text else None
    kind, zone, label, rule = "", row["zone"], bytes.fromhex(row["label"]), JOIN_RULE
    if row["attributes"]:
        attributes = Attributes.parse(row["attributes"])
        tag = policy.tag(attributes)
        kind, zone, label, rule = attributes.kind, tag.zone, tag.label, tag.rule
    batch = Batch(kind, "", "", "", "", Run(0, 1, 1), 0, 0, "", None, {}, appended_ns=row["appended_ns"])
    return Tagged(batch, zone, label, rule, row["attributes"], 0, consent)


def again(policy: Policy, row: Mapping[str, Any]) -> dict[str, Any]:
    """Decide a stored decision again under `policy`; values by the columns of `SAID`.

    ValueError where the row is none of ours.
    """
    tagged = tagged_of(policy, row)
    at_ns = row["at_ns"] or row["appended_ns"]
    # The licensed seed is no one person's, and has no consent to ask for.
    decide = at_gate if row["sink"] == TRAINING_RUN and tagged.consent is not None else None
    flow = decide(policy, tagged, at_ns) if decide else flow_of(policy, tagged, row["sink"], at_ns)
    return {
        "zone": tagged.zone,
        "label": tagged.label.hex(),
        "verdict": flow.verdict,
        "passed": flow.passed,
        "mode": flow.mode,
        "rule": flow.rule,
        "purpose": flow.purpose,
    }


def recheck(rows: Iterable[Mapping[str, Any]], policies: StoredPolicies) -> Iterator[Difference]:
    """Yield what comes out otherwise among stored decisions; rows have the columns `LOOKED_AT` and `SAID`."""
    for row in rows:
        try:
            now = again(policies.version(row["policy_version"]), row)
        except (InputError, ValueError) as error:
            yield Difference(row, {"rule": str(error)})
            continue
        changed = {name: value for name, value in now.items() if value != row[name]}
        if changed:
            yield Difference(row, changed)
