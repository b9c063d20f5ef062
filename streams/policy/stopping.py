"""What stops when a wearer takes purposes back, as a policy decides it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from msgspec import Struct

from streams.consent.words import GIVEN, WITHDRAWN, Consent
from streams.policy.policy import Policy
from streams.topology import TRAINING_RUN


class Asking(NamedTuple):
    """A flow at which the consent of the wearer is asked: data of a zone and label into a sink."""

    zone: str
    label: bytes
    sink: str


class StoppedSink(Struct, frozen=True, kw_only=True):
    """A sink that data does not go into any more, of these zones.

    `goes_on` are the zones whose data still goes there, because they need no consent, or because their mode
    only logs what it would refuse.
    """

    sink: str
    purpose: str
    region: str
    run_by: str
    zones: tuple[str, ...]
    goes_on: tuple[str, ...]


def stopped(policy: Policy, flows: Iterable[Asking], gone: set[str], left: set[str]) -> list[StoppedSink]:
    """The sinks into which data passes with the purposes of both sets, and not with those that are left."""
    before, after = _consent(gone | left), _consent(left)
    stops: dict[str, dict[str, bool]] = {}
    for flow in flows:
        if _passes(policy, flow, before):
            # Labels of a zone can differ, but what consent decides depends on zone and sink alone.
            stops.setdefault(flow.sink, {})[flow.zone] = not _passes(policy, flow, after)
    return [
        StoppedSink(
            sink=name,
            purpose=policy.sinks[name].purpose,
            region=policy.sinks[name].region,
            run_by=policy.sinks[name].run_by,
            zones=tuple(sorted(zone for zone, stops_there in zones.items() if stops_there)),
            goes_on=tuple(sorted(zone for zone, stops_there in zones.items() if not stops_there)),
        )
        for name, zones in stops.items()
        if any(zones.values())
    ]


def _consent(purposes: set[str]) -> Consent:
    return Consent(GIVEN, tuple(sorted(purposes))) if purposes else Consent(WITHDRAWN, ())


def _passes(policy: Policy, flow: Asking, consent: Consent) -> bool:
    decided = policy.flow(flow.zone, flow.label, flow.sink, consent)
    # The training gate needs a consent whatever the zone, and always enforces.
    if flow.sink == TRAINING_RUN:
        return decided.verdict == "allow" and consent.given
    return decided.passed
