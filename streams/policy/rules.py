"""The parts of a policy: zones, sinks, requirements, declassifiers, rules by which answers are withheld.

Labels state what data is; requirements are rules of their own, beside labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

from msgspec import Struct

from streams.limits import TRAINING_EXAMPLES_DEFAULT
from streams.policy.attributes import CONTEXT
from streams.policy.condition import Condition

#: Facts that a requirement's conditions may use, and what each means.
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
#: Facts that the condition of a rule about answers may use, and what each means.
SPEECH_FACTS: Mapping[str, str] = {
    **dict.fromkeys(CONTEXT, "as for zones, where and when the query was asked"),
    "intent": "what the answer takes the query for",
    "confidence_percent": "how sure the model is of that, a whole number",
    "zone": "name of the answer's zone",
    "categories": "list of what the answer was made of",
}
RISKS = ("low", "medium", "high")
RUN_BY = ("wearer", "company", "vendor")
TRAINED_ON = ("nothing", "public", "company", "wearers", "vendor")
#: What a worker's start does if the review of a declassifier is overdue.
WHEN_OVERDUE = ("warn", "stop")
#: The declassifier that a training run applies, if the policy has it.
MODEL_TRAINING = "model-training"
#: What a training run looks at in its examples, and what came of it (`streams.training.quality`).
CheckName = Literal[
    "intent",
    "zone",
    "wearer",
    "device",
    "language",
    "repeated",
    "contradicting",
    "left-out",
    "wearer-weight",
    "outlier",
]
#: Checks whose subject is a wearer or a device.
PERSONAL_CHECKS: frozenset[CheckName] = frozenset(("wearer", "wearer-weight", "device", "outlier"))
CheckOutcome = Literal["passed", "held", "weighted", "left-out"]
#: What a training run is made from as a whole (`streams.training.assets`).
AssetKind = Literal["seed", "validation", "stream", "build"]
#: What came of the run that the assets are of.
RunOutcome = Literal["made", "refused", "held", "failed"]


class Owner(Struct, frozen=True):
    """Who answers for a policy: the controller of what it permits; without a name, nobody is named.

    `contact` is how to reach the owner, and `jurisdiction` whose law holds there (`JURISDICTIONS` of
    `streams.policy.dpv`); each is empty if the policy does not say. A plain `owner` has neither.
    """

    name: str = ""
    contact: str = ""
    jurisdiction: str = ""

    @property
    def says(self) -> str:
        """All of it as one text for a person; empty if nobody is named."""
        return ", ".join(filter(None, (self.name, self.contact, self.jurisdiction)))


class Zone(Struct, frozen=True):
    """A named, ranked set of labels; the highest-ranked zone whose condition holds takes the event.

    `without_consent`: the wearer's consent is not needed. `restricted`: reads of its lineage are recorded.
    `owner` answers for the zone; empty if the policy names nobody for it.
    """

    name: str
    rank: int
    condition: Condition
    mode: str
    retention: str
    reason: str
    without_consent: bool
    restricted: bool
    owner: str = ""

    @property
    def rule(self) -> str:
        """Name of the condition in decisions."""
        return f"zones.{self.name}.when"


class OwnLabel(Struct, frozen=True):
    """What the policy says of a kind of event in any zone: its categories, and how it came to be."""

    categories: tuple[str, ...]
    nature: str


class Sink(Struct, frozen=True):
    """A place that data may cross into, with its label.

    The label is its purpose, its region, and masks of the categories and data subjects that it may receive
    and of the obligations that it honours.

    `always_enforced` ignores a zone's logging mode. `risk`, `run_by` and `trained_on` are facts for
    requirements. `keys_for` names who beside Sightline itself is given keys of sealed values for its purpose.
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
    keys_for: frozenset[str]


class Requirement(Struct, frozen=True):
    """One legal or company requirement: where `when` holds, `require` must hold.

    `when` None: it always holds. `sinks` None: the requirement applies at every sink. `owner` is responsible
    for it, `proof` is where the evidence is (a path or an address); each is empty if the policy names none.
    """

    name: str
    about: str
    when: Condition | None
    require: Condition
    sinks: frozenset[str] | None
    owner: str = ""
    proof: str = ""

    def concerns(self, facts: Mapping[str, Any]) -> bool:
        """Whether it applies to a flow.

        If its condition cannot be evaluated on these facts, it does.
        """
        if self.sinks is not None and facts["sink"] not in self.sinks:
            return False
        try:
            return self.when is None or self.when.holds(facts)
        except TypeError:
            return True

    def same_rule(self, other: Requirement) -> bool:
        """Whether another requirement, of any policy, has the same name, conditions and sinks."""
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
        """Whether a flow violates it.

        If a condition cannot be evaluated on these facts, it counts as violated: refuse by default.
        """
        if self.sinks is not None and facts["sink"] not in self.sinks:
            return False
        try:
            return (self.when is None or self.when.holds(facts)) and not self.require.holds(facts)
        except TypeError:
            return True


class TrainingBounds(Struct, frozen=True):
    """What a training run is held for: bounds on the wearers' examples that it would learn from.

    Percentages are of these examples: those that mean the most frequent intent, are of the most frequent
    zone, wearer, device or language, repeat what the wearer said before, have an utterance that means
    something else in more of the others, or are from devices that contradict all others. With fewer than
    `examples_min` examples nothing is held. A bound of 100 holds nothing. A run looks at `examples_max`, the
    newest of each device, so that it takes the same time however long the loop has run.
    """

    examples_max: int = TRAINING_EXAMPLES_DEFAULT
    examples_min: int = 40
    intent_percent_max: int = 75
    zone_percent_max: int = 100
    wearer_percent_max: int = 100
    device_percent_max: int = 100
    language_percent_max: int = 100
    repeated_percent_max: int = 80
    contradicting_percent_max: int = 30
    left_out_percent_max: int = 50


#: What becomes of others' examples that were made with model versions which learned from somebody who is
#: erased: they are learned from as before, held until a person has reviewed the query, or dropped.
SecondOrder = Literal["keep", "review", "drop"]
#: Rule of the gate against an example of which something was captured in a time that was erased since.
ERASED_RULE = "erased: something that it was made of was erased since"
_MADE = "second-order: it was made with a model version that learned from somebody who was erased since"
#: Rules of the gate that refuse one.
SECOND_ORDER_RULES: Mapping[SecondOrder, str] = {
    "review": f"{_MADE}; a review of its query makes one that is learned",
    "drop": _MADE,
}


class TrainingAssets(Struct, frozen=True):
    """What a training run may be made from as a whole; None: the policy does not limit it.

    `licences` are SPDX names, `streams` those of examples without the incarnation of their device, `builds`
    digests of the code that makes a version (`sightline training --dry-run` shows that of this program).
    """

    licences: tuple[str, ...] | None = None
    streams: tuple[str, ...] | None = None
    builds: tuple[str, ...] | None = None


class AnonymityBounds(Struct, frozen=True):
    """What an anonymised export has to hold to (`[anonymised]`); a policy without them permits none.

    At least `k_min` wearers share each place and time, who did at least `l_min` different things there; what
    they did is spread otherwise than in the whole file by at most `t_percent_max` (half the sum of the
    differences of the shares). At most `suppressed_percent_max` of the rows are left out for that. At most
    `unique_percent_max` of the wearers are told from all others by all of their places and times together.
    """

    k_min: int
    l_min: int
    t_percent_max: int
    suppressed_percent_max: int
    unique_percent_max: int

    def together(self, other: AnonymityBounds) -> AnonymityBounds:
        """The stricter of each bound."""
        return AnonymityBounds(
            max(self.k_min, other.k_min),
            max(self.l_min, other.l_min),
            min(self.t_percent_max, other.t_percent_max),
            min(self.suppressed_percent_max, other.suppressed_percent_max),
            min(self.unique_percent_max, other.unique_percent_max),
        )


class Withheld(Struct, frozen=True):
    """A rule: where `when` holds, an answer is not said. `about` tells a person why."""

    name: str
    about: str
    when: Condition

    def holds(self, facts: Mapping[str, Any]) -> bool:
        """Whether it withholds an answer; also if it cannot be evaluated on these facts."""
        try:
            return self.when.holds(facts)
        except TypeError:
            return True


class Speech(Struct, frozen=True):
    """The rules by which answers are withheld, and the confidence (percent) below which an answer says so."""

    withheld: tuple[Withheld, ...] = ()
    confidence_percent_min: int = 0

    def withholds(self, facts: Mapping[str, Any]) -> Withheld | None:
        """The first rule that withholds an answer with these facts (`SPEECH_FACTS`); None: it may be said."""
        return next((rule for rule in self.withheld if rule.holds(facts)), None)


class Declassifier(Struct, frozen=True):
    """The only thing that may loosen a label: it has name, owner, reason, evidence and date of review.

    It sets the retention class of data that was made from the data of at least `wearers_min` people.
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
        """When its review is or was due, as text for a person."""
        when = self.review_by.isoformat()
        return f"review was due on {when}" if self.overdue(today) else f"review is due on {when}"


class Example(Struct, frozen=True):
    """An example in the policy file itself, which tests the policy.

    It has attributes of an event, the zone that the event must be in, and verdicts by sink.
    """

    attributes: Mapping[str, Any]
    consent: str
    zone: str
    verdicts: Mapping[str, str]
    line: int
