"""Two stores that differ only in rows that neither an analyst nor the wearer w1 is shown."""

from __future__ import annotations

import re
from pathlib import Path

from tests.snapshots.build import HOUSEHOLD, POLICY, Row, edge, event, row, store, stream, tagged

#: Behind the sentence about an id; it depends on the id, and on nothing that is hidden.
OFFER = re.compile("; the nearest event that it is shown is [a-z0-9/-]+")


def rows_of(*, hidden: bool) -> dict[str, list[Row]]:
    """A household's rows; `hidden` adds what the analyst and w1 are not shown."""
    seen = [
        event("g1", "imu", 0, 100, **tagged("imu", "home-private", wearer="w1", session="s1")),
        event("g1", "imu", 150, 50, **tagged("imu", "public", wearer="w1", session="s1")),
        event(
            "g1", "voice-query", 0, 3, **tagged("voice_query", "voice-assistant", wearer="w1", rule="asked")
        ),
        event("g1", "activity", 0, 9, **tagged("imu", "home-private", wearer="w1") | {"kind": "activity"}),
    ]
    kept = [
        event("g1", "imu", 100, 50, **tagged("imu", "health", wearer="w2", digest="d" * 32)),
        event(
            "g2", "imu", 100, 50, **tagged("imu", "health", wearer="w2", rule="(", session="9999999999999")
        ),
        event("g2", "imu", 3, 4, **tagged("imu", "health", wearer="w2", rule="[", t_first_ns=0)),
        event("g2", "ppg", 0, 400, **tagged("ppg", "health", wearer="w2", session="secret")),
        event("g2", "odd", 5000, wearer="w2", zone="health", label="", policy_version="of nobody"),
    ]
    edges = [edge(("g1", "activity", n), ("g1", "imu", 10 * n), parent_width=10) for n in range(9)]
    more = [edge(("g2", "imu", 100), ("g2", "ppg", n)) for n in range(40)]
    shared = ("source", "stream", "first", "step", "count", "zone", "label", "policy_version", "wearer")

    def decided(some: list[Row], attributes: str) -> list[Row]:
        return [
            row("decisions", **{name: one[name] for name in shared}, sink="store", attributes=attributes)
            for one in some
        ]

    refused = row("rejected", source="g2", stream="imu", first=7, count=2, zone="health", wearer="w2")
    return {
        "events": seen + (kept if hidden else []),
        "edges": edges + (more if hidden else []),
        "decisions": decided(seen, "kind=imu") + (decided(kept, "kind=(") if hidden else []),
        "rejected": [refused | {"policy_version": HOUSEHOLD.version, "reason": "secret"}] if hidden else [],
        "streams": [stream("g1", name) for name in ("imu", "voice-query", "activity")]
        + ([stream("g2", name, "ppg") for name in ("imu", "ppg", "odd")] if hidden else []),
        "inputs": [
            row("inputs", kind="consent-takeup", value='[["w2",{"device":"g2","bound":false,"at_ns":1}]]')
        ]
        if hidden
        else [],
        "policies": [POLICY],
    }


def pair_of(home: Path) -> tuple[Path, Path]:
    """A store with hidden rows, and one of the same epochs without."""
    last = {"events": [event("g1", "imu", 300, 5, **tagged("imu", "public", wearer="w1"))]}
    return store(home / "with", rows_of(hidden=True), last), store(
        home / "without", rows_of(hidden=False), last
    )
