"""What a policy is made of: zones, sinks, requirements, declassifiers.

Labels say what data is; each requirement has rules of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from msgspec import Struct

from streams.policy.condition import Condition

#: What a requirement's conditions may look at, and what each is.
FLOW_FACTS: Mapping[str, str] = {
    "zone": "name of the zone of the data",
    "categories": "list of what the data is",
    "subjects": "list of whom it is about",
    "purposes": "list of what it may be used for",
    "regions": "list of where it may be",
    "obligations": "list of what is owed with it",
    "retention_days": "how long it may be kept",
    "nature": "provided, observed, derived or inferred",
    "sink": "name of the sink",
    "purpose": "what the sink uses it for",
    "region": "where the sink is",
    "risk": "low, medium or high",
    "run_by": "who runs what is behind the sink",
    "trained_on": "whose data trained the model behind the sink",
}
RISKS = ("low", "medium", "high")
RUN_BY = ("wearer", "company", "vendor")
TRAINED_ON = ("nothing", "public", "company", "wearers", "vendor")
#: What a start does under a policy with a declassifier whose review is overdue.
WHEN_OVERDUE = ("warn", "stop")
#: The declassifier that a training run asks for, where a policy has it.
MODEL_TRAINING = "model-training"


class Zone(Struct, frozen=True):
    """A named, ranked set of labels; the highest-ranked zone whose condition holds takes the event.

    `without_consent`: the wearer need not have agreed. `restricted`: who reads its lineage is recorded.
    """

    name: str
    rank: int
    condition: Condition
    mode: str
    retention: str
    reason: str
    without_consent: bool
    restricted: bool

    @property
    def rule(self) -> str:
        """What a decision calls the condition."""
        return f"zones.{self.name}.when"


class Sink(Struct, frozen=True):
    """A place that data may cross into, with its label.

    The label is its purpose, its region, and as masks what it may receive and owes.

    `always_enforced` ignores a zone's logging mode. `risk`, `run_by` and `trained_on` are for requirements to
    look at.
    """

    name: str
    purpose: str
    region: str
    receives: int
    subjects: int
    honours: int
    always_enforced: bool
    risk: str
    run_by: str
    trained_on: str
    about: str


class Requirement(Struct, frozen=True):
    """One legal or company requirement: where `when` holds, `require` must hold.

    `when` None: it always holds. `sinks` None: at every sink. `owner` answers for it, `proof` is where the
    evidence is (a path or an address); each is empty where the policy names none.
    """

    name: str
    about: str
    when: Condition | None
    require: Condition
    sinks: frozenset[str] | None
    owner: str = ""
    proof: str = ""

    def concerns(self, facts: Mapping[str, Any]) -> bool:
        """Whether it says anything about a flow.

        A condition that cannot be evaluated on these facts is one that does.
        """
        if self.sinks is not None and facts["sink"] not in self.sinks:
            return False
        try:
            return self.when is None or self.when.holds(facts)
        except TypeError:
            return True

    def same_rule(self, other: Requirement) -> bool:
        """Whether another requires the same under the same name, of any policy."""
        return (self.name, self._when_text, self.require.text, self.sinks) == (
            other.name,
            other._when_text,
            other.require.text,
            other.sinks,
        )

    @property
    def _when_text(self) -> str:
        return "" if self.when is None else self.when.text

    def broken(self, facts: Mapping[str, Any]) -> bool:
        """Whether a flow breaks it.

        A condition that cannot be evaluated on these facts counts as broken: refuse by default.
        """
        if self.sinks is not None and facts["sink"] not in self.sinks:
            return False
        try:
            return (self.when is None or self.when.holds(facts)) and not self.require.holds(facts)
        except TypeError:
            return True


class Declassifier(Struct, frozen=True):
    """The only thing that may loosen a label: it has name, owner, reason, evidence and date of review.

    It sets the retention class, where at least `wearers_min` people's data went in.
    """

    name: str
    owner: str
    reason: str
    evidence: str
    retention: str
    wearers_min: int
    review_by: date
    when_overdue: str

    def overdue(self, today: date) -> bool:
        """Whether its review was due before `today`."""
        return self.review_by < today

    def review(self, today: date) -> str:
        """When its review is or was due, for a person."""
        when = self.review_by.isoformat()
        return f"review was due on {when}" if self.overdue(today) else f"review is due on {when}"


class Example(Struct, frozen=True):
    """An example that the policy file itself gives.

    It has attributes of an event, the zone it must come into, verdicts by sink.
    """

    attributes: Mapping[str, Any]
    consent: str
    zone: str
    verdicts: Mapping[str, str]
    line: int
