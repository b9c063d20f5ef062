"""Which zones a policy can put events into, found by trying its conditions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import product

from streams.limits import POLICIES_KEPT
from streams.policy.attributes import DOMAINS, Attributes
from streams.policy.policy import UNCONFIGURED, Policy


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
