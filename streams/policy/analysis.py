"""Faults of a policy that can be detected without any event.

These are conditions that do not type-check or never hold, zones of one rank that take the same event, and
zones that zones of higher rank cover.

Attributes have enumerated values, so conditions are evaluated on all combinations: for each attribute, every
value that some condition names, and one value that stands for all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, groupby, product
from typing import TYPE_CHECKING, Any, TypeAlias

from streams.limits import POLICY_CHECK_STEPS_MAX
from streams.policy import label as lattice
from streams.policy.condition import Condition, telling
from streams.policy.rules import Zone
from streams.policy.source import Source

if TYPE_CHECKING:
    from streams.policy.policy import Policy

#: All values that an attribute can have, by its name.
Domains: TypeAlias = Mapping[str, Sequence[Any]]
#: Devices choose the names of streams, so there is always another one than those that conditions name.
_STREAM = "stream"


class Tried:
    """Counts the work of checking a policy: steps of conditions, and combinations that are only enumerated.

    Work is counted, not timed, so that fast and slow machines refuse the same policies.
    """

    def __init__(self) -> None:
        self._steps = 0

    def holds(self, condition: Condition, facts: Mapping[str, Any], source: Source) -> bool:
        """Whether the condition holds; InputError when the policy exceeds POLICY_CHECK_STEPS_MAX steps."""
        self.count(condition.steps, condition, source)
        return condition.holds(facts)

    def outcomes(
        self, condition: Condition, combinations: Iterable[Mapping[str, Any]], source: Source
    ) -> list[bool]:
        """Whether the condition holds, for each combination; InputError also if it does not type-check."""
        try:
            return [self.holds(condition, facts, source) for facts in combinations]
        except TypeError as error:
            raise source.wrong(condition.text, f"does not type-check: {error}") from None

    def count(self, steps: int, condition: Condition, source: Source) -> None:
        """Count steps for a condition before they are done; InputError like `holds`."""
        self._steps += steps
        if self._steps > POLICY_CHECK_STEPS_MAX:
            raise source.wrong(
                condition.text,
                f"is where trying out the policy takes more than {POLICY_CHECK_STEPS_MAX} steps; name fewer"
                " words in its conditions, or have fewer of them",
            )


def combinations_of(
    conditions: Sequence[Condition], names: Sequence[str], domains: Domains
) -> Iterator[dict[str, Any]]:
    """Yield the combinations of values of the attributes `names` that these conditions can distinguish."""
    yield from (
        dict(zip(names, values, strict=True))
        for values in product(*(_values(conditions, name, domains) for name in names))
    )


def _values(conditions: Sequence[Condition], name: str, domains: Domains) -> Sequence[Any]:
    if name != _STREAM:
        return telling(conditions, name, domains[name])
    named = {word for condition in conditions if name in condition.names for word in condition.literals}
    return [*sorted(named), *domains[name]]


def check_zones(zones: Sequence[Zone], sources: Mapping[str, Source], domains: Domains) -> None:
    """Check conditions of zones, which are sorted by rank, highest first; events have values of `domains`.

    InputError if a condition does not type-check or never holds, if two zones of one rank take the same
    event, if zones of higher rank cover a zone, or if this takes more than POLICY_CHECK_STEPS_MAX steps.
    """
    tried = Tried()
    for zone in zones:
        told_apart = combinations_of([zone.condition], zone.condition.names, domains)
        if not any(tried.outcomes(zone.condition, told_apart, sources[zone.name])):
            raise sources[zone.name].wrong(
                zone.condition.text,
                f"can never hold, so nothing comes into the zone {zone.name}; change it or take the zone out",
            )
    for _, equals in groupby(zones, key=lambda zone: zone.rank):
        for first, second in combinations(equals, 2):
            names = tuple(dict.fromkeys(first.condition.names + second.condition.names))
            for facts in combinations_of([first.condition, second.condition], names, domains):
                source = sources[second.name]
                if tried.holds(first.condition, facts, source) and tried.holds(
                    second.condition, facts, source
                ):
                    raise source.wrong(
                        second.name,
                        f"has rank {first.rank} like the zone '{first.name}', and both take an event with "
                        f"{in_words(facts)}; give one of them a rank of its own",
                    )
    for at, zone in enumerate(zones):
        if not _ever_takes(zone, zones[:at], tried, sources[zone.name], domains):
            raise sources[zone.name].wrong(
                zone.condition.text,
                f"holds only where zones of higher rank hold too, so nothing comes into the zone {zone.name};"
                " raise its rank, or take it out",
            )


def _ever_takes(zone: Zone, higher: Sequence[Zone], tried: Tried, source: Source, domains: Domains) -> bool:
    """Whether there is a combination that the zone takes and that no zone of higher rank takes."""
    own = zone.condition.names
    conditions = [zone.condition, *(other.condition for other in higher)]
    rest = [
        name
        for name in domains
        if name not in own and any(name in condition.names for condition in conditions)
    ]
    for facts in combinations_of(conditions, own, domains):
        if tried.holds(zone.condition, facts, source) and any(
            not any(tried.holds(other.condition, {**facts, **more}, source) for other in higher)
            for more in combinations_of(conditions, rest, domains)
        ):
            return True
    return False


def check_requirements(policy: Policy, sources: Mapping[str, Source]) -> None:
    """InputError for a requirement that does not type-check or never applies.

    It never applies if its `when` holds for no label that the policy can give. InputError also if the check
    takes more than POLICY_CHECK_STEPS_MAX steps.
    """
    tried = Tried()
    label_facts, sink_facts = _label_facts(policy), _sink_facts(policy)
    distinct: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for requirement in policy.requirements:
        source = sources[requirement.name]
        when = requirement.when
        for condition in (when, requirement.require):
            if condition is None:
                continue
            if condition.names not in distinct:
                distinct[condition.names] = _distinct(condition.names, label_facts, sink_facts)
            tried.count(len(distinct[condition.names]), condition, source)
            told_apart = _told_apart(condition, distinct[condition.names])
            held = tried.outcomes(condition, told_apart, source)
            if condition is when and not any(held):
                raise source.wrong(
                    condition.text,
                    f"holds for no label that this policy can give, so the requirement {requirement.name} "
                    "asks for nothing; change it or take it out",
                )


def _told_apart(condition: Condition, facts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Reduce facts to those that the condition can distinguish.

    If it only tests whether lists contain words that it names, the other words of the lists are dropped.
    """
    if not condition.by_membership:
        return [dict(each) for each in facts]
    words = set(condition.literals)
    told_apart = (
        tuple(
            tuple(word for word in value if word in words) if isinstance(value, tuple) else value
            for value in each.values()
        )
        for each in facts
    )
    return [dict(zip(condition.names, values, strict=True)) for values in dict.fromkeys(told_apart)]


def _label_facts(policy: Policy) -> list[dict[str, Any]]:
    """Facts of all labels of captured events, of the joins of two zones' labels, and of the join of all.

    Labels of derived events are among these.
    """
    singles = dict.fromkeys(policy.labels.values())
    pairs = (
        lattice.join((left, right)) for (_, left), (_, right) in combinations(_zone_labels(policy).items(), 2)
    )
    labels = dict.fromkeys([*singles, *pairs, lattice.join([*singles, *policy.derived.values()])])
    sink = next(iter(policy.sinks.values()))
    return [
        *(policy.facts(policy.zones[0].name, packed, sink) for packed in labels),
        *(policy.facts(zone, packed, sink) for zone, packed in _zone_labels(policy).items()),
    ]


def _zone_labels(policy: Policy) -> dict[str, bytes]:
    """The join of the labels of all kinds in a zone, by zone."""
    by_zone: dict[str, list[bytes]] = {}
    for (_, zone), packed in policy.labels.items():
        by_zone.setdefault(zone, []).append(packed)
    return {zone: lattice.join(labels) for zone, labels in by_zone.items()}


def _sink_facts(policy: Policy) -> list[dict[str, Any]]:
    zone, packed = next(iter(_zone_labels(policy).items()))
    return [policy.facts(zone, packed, sink) for sink in policy.sinks.values()]


_OF_SINK = frozenset({"sink", "purpose", "region", "risk", "run_by", "trained_on"})


def _distinct(
    names: Sequence[str], label_facts: Sequence[Mapping[str, Any]], sink_facts: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Distinct combinations of the named facts, over all labels and all sinks."""
    own = [name for name in names if name not in _OF_SINK]
    theirs = [name for name in names if name in _OF_SINK]
    left = dict.fromkeys(tuple(facts[name] for name in own) for facts in label_facts)
    right = dict.fromkeys(tuple(facts[name] for name in theirs) for facts in sink_facts)
    both = (dict(zip((*own, *theirs), (*mine, *other), strict=True)) for mine in left for other in right)
    return [{name: facts[name] for name in names} for facts in both]


def in_words(facts: Mapping[str, Any]) -> str:
    """A combination of attributes as text for a person: `name = value, ...`."""
    return ", ".join(
        f"{name} = {str(value).lower() if isinstance(value, bool) else value}"
        for name, value in facts.items()
    )
