"""Stores of many wearers: who told the glasses what, where, in which hour; every name in it is a canary."""

from __future__ import annotations

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
    """Wearers who are in the street at eight and at six, and at work or in a cafe at noon.

    One in three asks something in the street in the morning, one in two at noon, and says of the answer what
    it was worth if the wearer's number is a multiple of four.
    """
    uses = []
    for wearer in range(wearers):
        for day in range(days):
            noon = "cafe" if (wearer + day) % 3 == 0 else "work"
            uses += [
                Use(wearer, place, 24 * day + hour)
                for place, hour in (("home", 6), ("street", 8), (noon, 12), ("street", 18), ("home", 22))
            ]
            if wearer % 3 == day % 3:
                uses.append(Use(wearer, "street", 24 * day + 8, "voice_query"))
            if wearer % 2 == 0:
                uses.append(Use(wearer, noon, 24 * day + 12, "voice_query"))
            if wearer % 4 == 0:
                uses.append(Use(wearer, noon, 24 * day + 12, "feedback"))
    return uses
