"""Deciding again from what the store keeps of a decision: policy, attributes, label, consent and time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Generic, TypeVar

from msgspec import Struct
from msgspec.structs import asdict, replace

from streams.consent.words import WITHDRAWN, Consent
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


class LookedAt(Struct, frozen=True, kw_only=True):
    """What a decision looked at, as table `decisions` has it: labels are hexadecimal, times in nanoseconds.

    `zone` and `label` count for derived events; those of captured ones follow from their `attributes`.
    """

    policy_version: str
    attributes: str
    zone: str
    label: str
    sink: str
    consent_state: str
    appended_ns: int
    at_ns: int


class StoredDecision(LookedAt, frozen=True, kw_only=True):
    """A decision as the store keeps it: what it looked at, and what came of that."""

    verdict: str
    passed: bool
    mode: str
    rule: str
    purpose: str


class DecidedAgain(Struct, frozen=True, kw_only=True):
    """What comes of a decision that is made again; fields are those of `StoredDecision`."""

    zone: str
    label: str
    verdict: str
    passed: bool
    mode: str
    rule: str
    purpose: str


DecisionT = TypeVar("DecisionT", bound=StoredDecision)


class Difference(Struct, Generic[DecisionT], frozen=True):
    """A stored decision that comes out otherwise.

    `now` holds the fields that differ, as they come out now; or, as `rule`, why it cannot be decided again.
    """

    row: DecisionT
    now: Mapping[str, str | bool]


#: Whoever follows a store opens it again and again; each policy is read once.
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


def tagged_of(policy: Policy, row: LookedAt) -> Tagged:
    """What was decided about, as far as the decision looked at it.

    Captured events get their zone and label again from their attributes.
    """
    consent = Consent.parse(row.consent_state) if row.consent_state else None
    kind, zone, label, rule = "", row.zone, bytes.fromhex(row.label), JOIN_RULE
    if row.attributes:
        attributes = Attributes.parse(row.attributes)
        tag = policy.tag(attributes)
        kind, zone, label, rule = attributes.kind, tag.zone, tag.label, tag.rule
    batch = Batch(
        kind=kind,
        source="",
        wearer_id="",
        session_id="",
        stream="",
        run=Run(0, 1, 1),
        t0_ns=0,
        dt_ns=0,
        origin="",
        context=None,
        columns={},
        appended_ns=row.appended_ns,
    )
    return Tagged(batch, zone, label, rule, row.attributes, 0, consent)


def again(policy: Policy, row: LookedAt) -> DecidedAgain:
    """Decide a stored decision again under `policy`. ValueError where the row is none of ours."""
    tagged = tagged_of(policy, row)
    at_ns = row.at_ns or row.appended_ns
    # The licensed seed is no one person's, and has no consent to ask for.
    decide = at_gate if row.sink == TRAINING_RUN and tagged.consent is not None else None
    flow = decide(policy, tagged, at_ns) if decide else flow_of(policy, tagged, row.sink, at_ns)
    return DecidedAgain(
        zone=tagged.zone,
        label=tagged.label.hex(),
        verdict=flow.verdict,
        passed=flow.passed,
        mode=flow.mode,
        rule=flow.rule,
        purpose=flow.purpose,
    )


def if_withdrawn(policy: Policy, row: LookedAt) -> DecidedAgain:
    """Decide a stored decision again as if the wearer had withdrawn. ValueError where it is none of ours."""
    return again(policy, replace(row, consent_state=WITHDRAWN))


def recheck(rows: Iterable[DecisionT], policies: StoredPolicies) -> Iterator[Difference[DecisionT]]:
    """Yield what comes out otherwise among stored decisions."""
    for row in rows:
        try:
            now = again(policies.version(row.policy_version), row)
        except (InputError, ValueError) as error:
            yield Difference(row, {"rule": str(error)})
            continue
        changed = {name: value for name, value in asdict(now).items() if value != getattr(row, name)}
        if changed:
            yield Difference(row, changed)
