"""Which zones a policy can put events into, found by trying its conditions, and what it seals of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import product

from streams.limits import POLICIES_KEPT
from streams.policy.attributes import DOMAINS, Attributes
from streams.policy.policy import UNCONFIGURED, Policy
from streams.topology import DERIVED, PROCESSING, ZONED


@lru_cache(maxsize=POLICIES_KEPT)
def zones_of_captured(policy: Policy) -> Mapping[str, frozenset[str]]:
    """In which zones events of each captured kind can be, for the kinds that the policy names.

    Conditions are tried on every combination of attributes that they name. A stream has the name of its kind.
    """
    named = [name for name in policy.named if name not in ("kind", "stream")]
    rest = {name: DOMAINS[name][0] for name in DOMAINS if name not in ("kind", "stream", *named)}
    zones: dict[str, frozenset[str]] = {}
    for kind in dict.fromkeys(kind for kind, _ in policy.labels):
        fixed = {"kind": kind, "stream": kind.replace("_", "-"), **rest}
        facts = (
            Attributes(**fixed, **dict(zip(named, values, strict=True)))
            for values in product(*(DOMAINS[name] for name in named))
        )
        zones[kind] = frozenset(policy.zone_of(each)[0] for each in facts) - {UNCONFIGURED}
    return zones


def sealed_kinds(policy: Policy) -> dict[str, tuple[str, ...]]:
    """By zone whose values are sealed: the kinds of captured events that can be in it; highest rank first."""
    zones = zones_of_captured(policy)
    return {
        zone.name: tuple(sorted(kind for kind, some in zones.items() if zone.name in some))
        for zone in policy.zones
        if any(policy.seals(ZONED, label) for (_, name), label in policy.labels.items() if name == zone.name)
    }


def leaves_open(policy: Policy, topic: str) -> bool:
    """Whether values that are not sealed can come to `glasses.zoned` or `glasses.derived` under a policy.

    What operators make owes what its parents owe, so for derived values it is asked what operators may take.
    """
    into = PROCESSING if topic == DERIVED else topic
    return any(
        not policy.seals(ZONED, label) and policy.flow(zone, label, into, None).passed
        for kind, zones in zones_of_captured(policy).items()
        for zone in zones
        for label in [policy.labels[kind, zone]]
    )
