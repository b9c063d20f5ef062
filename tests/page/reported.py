"""A store to report on: two wearers, a rule that only logs, a requirement that is broken, holes, a loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streams.page.report.writing import Wanted, Written, write_report
from streams.policy.load import parse
from streams.queries.asking import OpenStore, open_store
from streams.queries.role import Role
from tests.snapshots.build import HOUSEHOLD, T0_NS, Row, edge, event, row, store, stream

OFFICER = "privacy-officer"
HOUR_NS = 3_600 * 10**9
REQUIREMENT = "nobody-learns-how-we-move"
#: The household's, but that the zone `public` may leave the store, so that what was rejected in it may too.
_TEXT = HOUSEHOLD.text.replace(
    'but_not = ["pd:Health", "pd:PhysicalHealth", "pd:Biometric", "local:Gaze", "local:BystanderPresence"]\n',
    "",
    1,
)
#: That policy before and after somebody asked for one more requirement.
BEFORE, POLICY = (
    parse(_TEXT.replace("[[declassifiers]]", f"{text}\n[[declassifiers]]", 1), where)
    for where, text in (
        ("before", "# as it was"),
        (
            "report",
            f'''[[requirements]]
name = "{REQUIREMENT}"
about = "How somebody moves tells who it is."
when = "'local:Gait' in categories"
require = "purpose != 'ai:ModelTraining'"
''',
        ),
    )
)
#: Generations of the model.
GENERATIONS = 9


def of(kind: str, zone: str = "public", **columns: Any) -> Row:
    """Columns of what the policy tagged."""
    label = POLICY.label_of(kind, zone) or b""
    return {"zone": zone, "label": label.hex(), "policy_version": POLICY.version, **columns}


def rows() -> dict[str, list[Row]]:
    """Rows of one epoch."""

    def decided(name: str, count: int, sink: str, hours_ago: int, **columns: Any) -> Row:
        at_ns = T0_NS - hours_ago * HOUR_NS
        around = {"wearer": "w1", "rule": f"sinks.{sink}", "mode": "enforcing", **columns}
        return row(
            "decisions",
            source="g1",
            stream=name,
            count=count,
            sink=sink,
            at_ns=at_ns,
            t_ns=at_ns,
            **{"purpose": "dpv:RequestedServiceProvision", "verdict": "allow", "passed": True, **around},
        )

    refused = {"verdict": "deny", "passed": False, "purpose": "ai:ModelTraining"}
    rule = "sinks.training-run: purpose ai:ModelTraining is not permitted"
    training = {"source": "training", "stream": "intent-model"}
    return {
        "policies": [
            {
                "version": each.version,
                "name": each.name,
                "text": each.text,
                "published_ns": T0_NS + place,
            }
            for place, each in enumerate((BEFORE, POLICY))
        ],
        "streams": [
            *(stream(source, "imu") for source in ("g1", "g2", "g3")),
            stream("g1", "answer", "answer", captured=False),
            stream("g1", "example", "example", captured=False),
            stream("training", "intent-model", "model", captured=False),
        ],
        "events": [
            event("g1", "imu", 0, 100, kind="imu", wearer="w1", topic="glasses.captured", **of("imu")),
            event("g1", "imu", 110, 40, kind="imu", wearer="w1", topic="glasses.captured", **of("imu")),
            event("g2", "imu", 0, 50, kind="imu", wearer="w2", topic="glasses.captured", **of("imu")),
            event("g3", "imu", 0, 7, kind="imu", wearer="w3", session="secret", **of("imu", "health")),
            event("g1", "answer", 0, 4, kind="answer", wearer="w1", topic="glasses.answers", **of("imu")),
            event("g1", "example", 0, 3, kind="example", wearer="w1", topic="glasses.examples", **of("imu")),
            *(
                event("training", "intent-model", version, kind="model", topic="glasses.models", **of("imu"))
                for version in range(1, GENERATIONS + 1)
            ),
        ],
        "models": [
            row(
                "models",
                **training,
                version=version,
                examples=80 + version,
                wearers=1,
                accuracy=0.5 + version / 50,
                trained_ns=T0_NS - (GENERATIONS - version) * 10 * HOUR_NS,
                **of("imu"),
            )
            for version in range(1, GENERATIONS + 1)
        ],
        "edges": [
            edge(("g1", "answer", 0), ("g1", "imu", 20), parent_width=10, operator="answer"),
            # A parent that nobody stored.
            edge(("g1", "answer", 1), ("g1", "imu", 105), operator="answer"),
            edge(("g1", "answer", 2), ("g1", "imu", 40), child_count=2, parent_step=10, operator="answer"),
            edge(("g1", "example", 0), ("g1", "answer", 0), child_count=3, parent_step=1, operator="example"),
            edge(
                ("training", "intent-model", 1),
                ("g1", "example", 0),
                child_count=GENERATIONS,
                parent_step=0,
                operator="training",
            ),
        ],
        "decisions": [
            decided("imu", 100, "store", 40, **of("imu")),
            decided("imu", 40, "store", 1, **of("imu")),
            # In a zone that only logs.
            decided("imu", 5, "processing", 2, **of("imu"), verdict="deny", mode="logging"),
            # A rule allowed what the requirement forbids.
            decided("imu", 6, "training-run", 3, **of("imu"), purpose="ai:ModelTraining"),
            decided("example", 3, "training-run", 30, **of("imu"), **refused | {"rule": rule}),
            decided("example", 2, "training-run", 4, **of("imu"), **refused | {"rule": rule}, consent=2),
            decided("imu", 7, "store", 1, **of("imu", "health"), wearer="w3") | {"source": "g3"},
        ],
        "rejected": [
            row(
                "rejected",
                source="g1",
                stream="imu",
                first=30,
                count=4,
                stage="zones",
                reason="it came before",
                rule="repeat",
                zone="public",
                policy_version=POLICY.version,
                wearer="w1",
                t_ns=T0_NS - HOUR_NS,
                appended_ns=T0_NS - HOUR_NS,
            )
        ],
    }


def right() -> dict[str, list[Row]]:
    """The same rows without those that anybody could complain of, and without what may not be taken out."""
    whole = rows()
    kept = {
        "events": [each for each in whole["events"] if each["source"] != "g3" and each["first"] != 110],
        "edges": [each | {"parent_first": min(each["parent_first"], 99)} for each in whole["edges"]],
        "decisions": [
            each
            for each in whole["decisions"]
            if each["source"] != "g3" and each["mode"] == "enforcing" and each["count"] != 6
        ],
    }
    return {**whole, **kept}


def made(path: Path, whole: dict[str, list[Row]] | None = None) -> Path:
    """A store of these rows in two epochs; only the second has the second device."""
    whole = whole or rows()
    first = {
        table: [each for each in some if table != "events" or each["source"] != "g2"]
        for table, some in whole.items()
    }
    second = {"events": [each for each in whole["events"] if each["source"] == "g2"]}
    return store(path / "lineage-store", first, second)


def unmoved(_: str) -> None:
    """Nobody is told how far it is."""


def report(path: Path, out: Path, role: str = OFFICER, **wanted: Any) -> Written:
    """Write a report as HTML."""
    asked = Wanted(**{"last": "24 h", "last_ns": 24 * HOUR_NS, **wanted})
    return write_report(path, Role.of(role), out, asked, replacing=False, printed=bytes, show=unmoved)


def leaving(path: Path, role: str = OFFICER) -> OpenStore:
    """The store as a role may take it out."""
    name = Role.of(role)
    return open_store(path, role=Role(name.name, name.wearer, exporting=True))
