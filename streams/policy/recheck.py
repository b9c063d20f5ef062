"""Repeat a decision from what the store keeps of it: policy, attributes, label, consent and time."""

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
from streams.policy.policy import JOIN_RULE, UNCONFIGURED, Policy
from streams.policy.rules import ERASED_RULE, SECOND_ORDER_RULES
from streams.policy.step import Tagged
from streams.policy.stored import read_stored
from streams.topology import TRAINING_RUN


class LookedAt(Struct, frozen=True, kw_only=True):
    """Inputs of a decision as in table `decisions`: labels are hexadecimal, times in nanoseconds.

    `zone` and `label` are inputs for derived events; those of captured events follow from `attributes`.
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
    """A decision as the store keeps it: its inputs and its result."""

    verdict: str
    passed: bool
    mode: str
    rule: str
    purpose: str


class DecidedAgain(Struct, frozen=True, kw_only=True):
    """Result of a decision that is repeated; fields are those of `StoredDecision`."""

    zone: str
    label: str
    verdict: str
    passed: bool
    mode: str
    rule: str
    purpose: str


#: Rules that the gate of training has beside the policy.
_OF_ERASURES = frozenset({ERASED_RULE, *SECOND_ORDER_RULES.values()})
DecisionT = TypeVar("DecisionT", bound=StoredDecision)


class Difference(Struct, Generic[DecisionT], frozen=True):
    """A stored decision that has another result when it is repeated.

    `now` has the new values of the fields that differ; or, as `rule`, why the decision cannot be repeated.
    """

    row: DecisionT
    now: Mapping[str, str | bool]


#: A process that follows a store opens it repeatedly; with this cache it reads each policy once.
_stored = lru_cache(maxsize=POLICIES_KEPT)(partial(read_stored, tried=True))


class StoredPolicies:
    """Policies by version, from the texts that the store keeps; each is read once."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._read: dict[str, Policy] = {}

    def version(self, version: str) -> Policy:
        """Policy by version; InputError if the store has no text for it, or one that does not match it."""
        if version not in self._read:
            if version not in self._texts:
                raise InputError(
                    f"policy {version}: found no text in the store, "
                    "expected that of every policy that decided"
                )
            self._read[version] = _stored(version, self._texts[version])
        return self._read[version]


def labelled_under(
    policy: Policy, policies: StoredPolicies, version: str, attributes: str, zone: str, label: str
) -> tuple[str, bytes]:
    """Zone and label, under `policy`, of events that the policy `version` decided about.

    What was captured (it has attributes) is tagged by `policy`. What is derived keeps zone and label, as far
    as `policy` can say the label. The label is empty if it cannot, or if the events are in none of its zones.
    """
    try:
        packed = bytes.fromhex(label)
        if version == policy.version:
            return zone, packed
        if attributes:
            tag = policy.tag(Attributes.parse(attributes))
            return tag.zone, b"" if tag.zone == UNCONFIGURED else tag.label
        return zone, policy.adopted(packed, policies.version(version))
    except (InputError, ValueError):
        return zone, b""


def tagged_of(policy: Policy, row: LookedAt) -> Tagged:
    """The tagged run of a decision, as far as the decision depends on it.

    Zone and label of captured events are derived from their attributes again.
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
    """Repeat a stored decision under `policy`. ValueError if Sightline cannot have written the row."""
    tagged = tagged_of(policy, row)
    at_ns = row.at_ns or row.appended_ns
    # The licensed seed belongs to no single person, so there is no consent to check.
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
    """Repeat a stored decision as if the wearer had withdrawn consent. ValueError like `again`."""
    return again(policy, replace(row, consent_state=WITHDRAWN))


def recheck(rows: Iterable[DecisionT], policies: StoredPolicies) -> Iterator[Difference[DecisionT]]:
    """Repeat stored decisions; yield those that have another result.

    A refusal of what was erased, or of the second order, is not repeated: what was erased and which versions
    were withdrawn stands in no decision.
    """
    for row in rows:
        if row.sink == TRAINING_RUN and not row.passed and row.rule in _OF_ERASURES:
            continue
        try:
            now = again(policies.version(row.policy_version), row)
        except (InputError, ValueError) as error:
            yield Difference(row, {"rule": str(error)})
            continue
        changed = {name: value for name, value in asdict(now).items() if value != getattr(row, name)}
        if changed:
            yield Difference(row, changed)
