"""Stores of many wearers: who told the glasses what, where, in which hour; every name in it is a canary."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from streams.policy.load import parse
from streams.policy.policy import Policy
from streams.topology import ZONED
from tests.build import CONTEXT
from tests.snapshots.build import HOUSEHOLD, Row, event, row, store

#: Stands in the name of each wearer, device, stream and session, and in each digest.
CANARY = "canary"
#: The midnight from which hours are counted.
DAY_NS = 20_700 * 86_400_000_000_000
HOUR_NS = 3_600_000_000_000
BOUNDS = {
    "k_min": 5,
    "l_min": 2,
    "t_percent_max": 30,
    "suppressed_percent_max": 20,
    "unique_percent_max": 0,
}
#: The zone that takes a kind at a place, under the household's policy.
_ZONES = {"voice_query": "voice-assistant", "feedback": "voice-assistant", "device_state": "device"}


class Use(NamedTuple):
    """One event: whose, at which kind of place, in which hour, of which kind."""

    wearer: int
    place: str
    hour: int
    kind: str = "imu"


def permitting(bounds: Mapping[str, int] | None = None) -> Policy:
    """The policy of the demo with a table `[anonymised]`."""
    table = "".join(f"{name} = {bound}\n" for name, bound in (BOUNDS | dict(bounds or {})).items())
    return parse(f"{HOUSEHOLD.text}\n[anonymised]\n{table}", "permitting")


def published(policy: Policy) -> Row:
    """The row by which a reader knows what a policy says."""
    return row("policies", version=policy.version, name=policy.name, text=policy.text)


def used(uses: Iterable[Use], policy: Policy, epoch: int = 0) -> dict[str, list[Row]]:
    """Rows of events and of the decisions by which they passed."""
    rows: dict[str, list[Row]] = {"events": [], "decisions": [], "streams": []}
    for number, use in enumerate(sorted(uses), start=10_000 * epoch):
        zone = _ZONES.get(use.kind, "home-private" if use.place == "home" else "public")
        names: Row = {"source": f"g{use.wearer}-{CANARY}", "stream": f"{use.kind}-{CANARY}", "first": number}
        tagged: Row = {
            "zone": zone,
            "label": (policy.label_of(use.kind, zone) or b"").hex(),
            "policy_version": policy.version,
            "wearer": f"w{use.wearer}-{CANARY}",
        }
        t_ns = DAY_NS + use.hour * HOUR_NS + number % 3_000 * 1_000_000_000
        around: Row = {
            "session": f"session-{CANARY}",
            "digest": f"{CANARY:-<32}",
            "topic": "glasses.captured",
        }
        rows["events"].append(
            event(**names, **tagged, **around, kind=use.kind, t_first_ns=t_ns, t_last_ns=t_ns)
        )
        facts = {"kind": use.kind, "stream": use.kind, **CONTEXT, "place": use.place, "consent_given": True}
        del facts["consent"]
        attributes = " ".join(f"{name}={str(value).lower()}" for name, value in facts.items())
        rows["decisions"].append(
            row("decisions", **names, **tagged, t_ns=t_ns, sink=ZONED, attributes=attributes)
        )
        rows["streams"].append(
            row("streams", source=names["source"], stream=names["stream"], kind=use.kind, captured=True)
        )
    return rows


def fleet(path: Path, uses: Iterable[Use], policy: Policy) -> Path:
    """A store of one epoch in which that was used, under one policy."""
    return store(path, {"policies": [published(policy)], **used(uses, policy)})


def commuters(wearers: int = 30, days: int = 2) -> list[Use]:
    """Wearers who are in the street in the morning and in the evening, and in between at work or in a cafe.

    They go at different hours, and no two at the same ones all day. One in two asks something on the way, one
    in three at noon, one in four says what the answer was worth. Late in the first evening one is in a cafe.
    """
    uses = [Use(0, "cafe", 21)]
    for wearer in range(wearers):
        for day in range(days):
            noon = "cafe" if (wearer + day) % 3 == 0 else "work"
            morning, lunch, evening = 7 + wearer % 5, 12 + wearer // 5 % 6, 18 + wearer % 3
            for place, hour in (("home", 6), ("street", morning), (noon, lunch), ("street", evening)):
                uses.append(Use(wearer, place, 24 * day + hour))
            if wearer % 2 == day % 2:
                uses.append(Use(wearer, "street", 24 * day + morning, "voice_query"))
                uses.append(Use(wearer, "street", 24 * day + evening, "voice_query"))
            if wearer % 3 != 1:
                uses.append(Use(wearer, noon, 24 * day + lunch, "voice_query"))
            if wearer % 4 == 0:
                uses.append(Use(wearer, noon, 24 * day + lunch, "feedback"))
    return uses


if __name__ == "__main__":
    # As docs/rights.md shows it: where to, and how many wearers.
    fleet(Path(sys.argv[1]), commuters(int(sys.argv[2])), permitting())
