"""What may flow: what the stages and operators of a system do with kinds of event, and what a policy permits.

A flow is declared if a part of the system makes it and the policy permits it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import product
from typing import Protocol, runtime_checkable

from streams.errors import InputError
from streams.events.extensions import kinds_of, load
from streams.events.kinds import Kind, Kinds
from streams.events.shipped import SHIPPED
from streams.limits import LABEL_BYTES
from streams.policy import label as lattice
from streams.policy.policy import Policy
from streams.policy.possible import zones_of_captured
from streams.policy.stopping import Asking
from streams.topology import (
    CAPTURED,
    CROSSINGS,
    DERIVED,
    EXPORT,
    MADE_OF,
    PROCESSING,
    READ_BY,
    REVIEW,
    REVISED,
    STORE,
    TAKEN,
    TRAINING_RUN,
    ZONED,
)

#: The operator whose events show what other operators made.
_SITUATION = "situation"
EXAMPLE, MODEL = "example", "model"
#: The kind that a reviewer looks at.
_LOOKED_AT = "voice_query"


@runtime_checkable
class Reading(Protocol):
    """What is needed of an operator: the kind that it makes, the one that it reads, the column it cites."""

    name: str
    reads: str
    cites: str

    @property
    def revises(self) -> bool:
        """Whether it makes an event again, of the event that it replaces too, when samples come late."""


class System:
    """The kinds and operators of a pipeline, and which flows they make; immutable.

    `made_of` has, for each operator, the kind that it makes and the kinds that this can be made of.
    """

    def __init__(self, kinds: Kinds, operators: Sequence[Reading] = ()) -> None:
        read = {**READ_BY, **{each.name: each.reads for each in operators}}
        revised = REVISED | {each.name for each in operators if each.revises}
        cited = [each.name for each in operators if each.cites]
        self.kinds = kinds
        self.made_of: Mapping[str, tuple[str, tuple[str, ...]]] = {
            **{name: (name, (reads, name) if name in revised else (reads,)) for name, reads in read.items()},
            **MADE_OF,
            _SITUATION: (_SITUATION, (*MADE_OF[_SITUATION][1], *cited)),
        }
        self._read = frozenset(read.values())

    @classmethod
    def extended(cls, packages: Iterable[str]) -> System:
        """What is shipped, and what packages add (`--extend`); InputError if one cannot be loaded."""
        extensions = load(packages)
        if not extensions:
            return SHIPPED_SYSTEM
        operators = []
        for extension in extensions:
            for operator in extension.operators:
                if not isinstance(operator, Reading):
                    raise InputError(
                        f"extension {extension.name}: OPERATORS holds a {type(operator).__name__}, expected "
                        "nothing but streams.processing.operators.Operator"
                    )
                operators.append(operator)
        return cls(kinds_of(extensions), operators)

    def carries(self, kind: str, sink: str, *, captured: bool) -> bool:
        """Whether a part of the system hands events of a kind to a sink.

        Of kinds that it does not know, it believes only what all captured or all derived kinds do.
        """
        if sink == STORE:
            return True
        if sink == ZONED:
            return captured
        if sink == PROCESSING:
            return kind in TAKEN[PROCESSING] or kind in self._read or (captured and kind not in self.kinds)
        if sink == DERIVED:
            return not captured and (kind == _SITUATION or kind not in self._elsewhere)
        return kind in TAKEN.get(sink, ())

    def hands(self, kind: Kind, sink: str) -> bool:
        """Whether events of a known kind can come into a sink; who fills those of others is unknown."""
        return sink not in CROSSINGS or self.carries(kind.name, sink, captured=kind.captured)

    def topics_of(self, kind: str, *, captured: bool) -> tuple[str, ...]:
        """Topics on which stored events of a kind lie; the empty one is that of licensed examples."""
        if captured:
            return (CAPTURED,)
        if kind == EXAMPLE:
            return (*(sink for sink in CROSSINGS if self._lies(kind, sink)), "")
        return tuple(sink for sink in CROSSINGS if self._lies(kind, sink))

    def _lies(self, kind: str, sink: str) -> bool:
        return sink.startswith("glasses.") and self.carries(kind, sink, captured=False)

    def makes(self, operator: str, child: str, parent: str) -> bool:
        """Whether an operator makes events of the kind `child` of events of the kind `parent`."""
        if operator not in self.made_of:
            # The operator of a package that is not loaded makes the kind of its name, of captured events.
            return operator == child and child not in self.kinds
        made, parents = self.made_of[operator]
        return child == made and (parent in parents or parent not in self.kinds)

    @cached_property
    def _elsewhere(self) -> frozenset[str]:
        """Derived kinds that other stages than the processing make."""
        return frozenset(made for name, (made, _) in MADE_OF.items() if name != _SITUATION)

    def parents(self, kind: str) -> tuple[frozenset[str], frozenset[str]]:
        """Captured kinds that a derived kind can be made of, over all steps, and the derived ones between."""
        made = dict(self.made_of.values())
        seen, waiting = {kind}, [kind]
        while waiting:
            for parent in made.get(waiting.pop(), ()):
                if parent not in seen:
                    seen.add(parent)
                    waiting.append(parent)
        captured = frozenset(each for each in seen if each in self.kinds and self.kinds[each].captured)
        return captured, frozenset(seen) - captured


#: What comes with Sightline.
SHIPPED_SYSTEM = System(SHIPPED)


def refused(policy: Policy, zone: str, label: bytes, sink: str) -> str:
    """Why a policy does not permit data of a zone and label in a sink; empty if it does.

    The consent of the wearer is not asked: it differs from event to event.
    """
    if sink not in policy.sinks:
        return f"policy {policy.name} {policy.version} has no sink {sink}"
    if zone not in policy.zones_by_name:
        return f"it is in no zone of policy {policy.name} {policy.version}"
    if len(label) != LABEL_BYTES:
        return f"it has no label that policy {policy.name} {policy.version} can read"
    flow = policy.flow(zone, label, sink)
    if flow.verdict != "allow":
        return flow.rule
    if sink == TRAINING_RUN and not policy.permits(label, policy.served_purposes):
        return "gate: the example does not permit what the model serves"
    return ""


def asks_consent(policy: Policy, system: System) -> list[Asking]:
    """The declared flows at which the consent of a wearer is asked, each once, in the order of the sinks.

    A model is of no single person, and lineage that somebody reads was decided about before.
    """
    flows: dict[Asking, None] = {}
    sinks = [name for name in policy.sinks if name == REVIEW or name in CROSSINGS]
    for sink, kind in product(sinks, system.kinds.values()):
        handed = kind.name == _LOOKED_AT if sink == REVIEW else system.hands(kind, sink)
        if kind.name != MODEL and handed:
            for zone, label in labels_of(policy, system, kind).items():
                if not refused(policy, zone, label, sink):
                    flows[Asking(zone, label, sink)] = None
    return list(flows)


def undone(system: System, kind: str, sink: str, *, captured: bool) -> str:
    """Why no part of the system makes a flow of a kind into a sink; empty if one does."""
    if system.carries(kind, sink, captured=captured):
        return ""
    if sink not in CROSSINGS or sink == EXPORT:
        return f"no stage hands anything to {sink}"
    return f"no stage takes {kind} into {sink}"


def labels_of(policy: Policy, system: System, kind: Kind) -> Mapping[str, bytes]:
    """Label of events of a kind, by the zones in which the policy lets them be.

    The label of a derived kind is taken to be the join of all that it can be made of, which is as strict as
    one can become. Declassifiers are not applied. A model is in zones from which examples may be learned.
    """
    inside = zones_of_captured(policy)
    if kind.captured:
        captured, derived = frozenset({kind.name}), frozenset[str]()
    else:
        captured, derived = system.parents(kind.name)
    labels = {}
    for zone in policy.zones_by_name:
        whole = [policy.label_of(each, zone) or b"" for each in captured if zone in inside.get(each, ())]
        own = [policy.derived.get(each, b"") for each in derived]
        if whole and all(len(label) == LABEL_BYTES for label in (*whole, *own)):
            labels[zone] = lattice.join([*whole, *own])
    if kind.name != MODEL:
        return labels
    learned = labels_of(policy, system, system.kinds[EXAMPLE])
    return {
        zone: label
        for zone, label in labels.items()
        if not refused(policy, zone, learned[zone], TRAINING_RUN)
    }
