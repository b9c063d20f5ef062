"""Flows that nobody declared, and a store of flows that are declared, to which tests add some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from streams.audit_log import AUDIT_LOG
from streams.policy.load import parse
from streams.policy.policy import Policy
from tests.snapshots.build import HOUSEHOLD, POLICY, Row, edge, event, row, store, stream

#: A household that only logs what it denies of health.
_LOGS = HOUSEHOLD.text.replace(
    'place == \'clinic\'"\nmode = "enforcing"', 'place == \'clinic\'"\nmode = "logging"'
)
LOGGING = parse(_LOGS, "logging")
T_READ = "2025-07-20T08:26:40.000000Z"


class Flow(NamedTuple):
    """One flow that a test makes: rows by table, lines of the audit log, and how it must be told."""

    told: tuple[str, str, str]
    rows: Mapping[str, Sequence[Row]] = {}
    read: Mapping[str, object] = {}


def decided(kind: str, zone: str, sink: str, policy: Policy = HOUSEHOLD, **columns: Any) -> Row:
    """A decision that let events of a kind pass."""
    label = policy.label_of(kind, zone) or policy.derived[kind]
    return row(
        "decisions",
        source="g1",
        first=0,
        count=7,
        zone=zone,
        **{
            "stream": kind.replace("_", "-"),
            "label": label.hex(),
            "policy_version": policy.version,
            "sink": sink,
            "verdict": "allow",
            "passed": True,
            "mode": "enforcing",
            **columns,
        },
    )


def stored(kind: str, zone: str, topic: str, policy: Policy = HOUSEHOLD) -> Row:
    """Events of a kind on a topic."""
    label = policy.label_of(kind, zone) or policy.derived[kind]
    version = {"policy_version": policy.version, "label": label.hex()}
    name = kind.replace("_", "-")
    return event("g1", name, 0, 7, kind=kind, zone=zone, topic=topic, rule="join", **version)


#: What the system does and the policy permits.
CLEAN: Mapping[str, Sequence[Row]] = {
    "policies": [
        POLICY | {"version": each.version, "text": each.text, "name": each.name}
        for each in (HOUSEHOLD, LOGGING)
    ],
    "streams": [
        stream("g1", "imu"),
        stream("g1", "gaze", "gaze"),
        stream("g1", "voice-query", "voice_query"),
        stream("g1", "activity", "activity", captured=False),
        stream("g1", "place", "place", captured=False),
    ],
    "events": [
        stored("imu", "public", "glasses.captured"),
        stored("gaze", "public", "glasses.captured"),
        stored("activity", "public", "glasses.derived"),
        stored("place", "public", "glasses.derived"),
    ],
    "decisions": [
        *(decided("imu", "public", sink) for sink in ("glasses.zoned", "store", "processing")),
        *(decided("gaze", "public", sink) for sink in ("glasses.zoned", "store")),
        *(
            decided(kind, "public", sink)
            for kind in ("activity", "place")
            for sink in ("glasses.derived", "store")
        ),
        decided("gaze", "public", "training-run", verdict="deny", passed=False),
    ],
    "edges": [edge(("g1", "activity", 0), ("g1", "imu", 0), operator="activity")],
}
UNDECLARED = (
    Flow(
        ("gaze", "crosses into", "training-run"), {"decisions": [decided("gaze", "public", "training-run")]}
    ),
    Flow(("imu", "crosses into", "vendor-cloud"), {"decisions": [decided("imu", "public", "vendor-cloud")]}),
    Flow(
        ("imu", "crosses into", "glasses.models"),
        {
            "decisions": [
                decided("imu", "health", "glasses.models", LOGGING, verdict="deny", mode="logging"),
            ]
        },
    ),
    # The policy would permit it, and no stage does it.
    Flow(("imu", "crosses into", "assistant"), {"decisions": [decided("imu", "public", "assistant")]}),
    Flow(
        ("activity", "lies on", "glasses.answers"),
        {"events": [stored("activity", "public", "glasses.answers")]},
    ),
    Flow(
        ("activity", "lies on", "glasses.derived"),
        {"events": [stored("activity", "health", "glasses.derived")]},
    ),
    Flow(
        ("voice_query", "lies on", "partner.feed"),
        {"events": [stored("voice_query", "public", "partner.feed")]},
    ),
    Flow(
        ("imu", "made into", "place"),
        {"edges": [edge(("g1", "place", 0), ("g1", "imu", 0), operator="place")]},
    ),
    Flow(
        ("gaze", "made into", "activity"),
        {"edges": [edge(("g1", "activity", 1), ("g1", "gaze", 0), operator="watcher")]},
    ),
    Flow(
        ("lineage", "read by", "ask:analyst"),
        read={"t": T_READ, "role": "analyst", "user": "root", "question": "sql", "zones": ["health"]},
    ),
)


def made(path: Path, flows: Sequence[Flow]) -> Path:
    rows = {
        table: [*some, *(each for flow in flows for each in flow.rows.get(table, ()))]
        for table, some in CLEAN.items()
    }
    store(path, rows)
    with (path / AUDIT_LOG).open("ab") as log:
        log.writelines(orjson.dumps(flow.read) + b"\n" for flow in flows if flow.read)
    return path
