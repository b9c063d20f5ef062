"""Roles: what each is shown is said here in words.

It is held against SQL and against the questions.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from streams import limits
from streams.audit_log import AUDIT_LOG
from streams.cli.main import main
from streams.errors import InputError, UnavailableError
from streams.events.runs import EdgeRun, Run
from streams.queries import questions
from streams.queries.role import Role
from streams.queries.store import Store
from tests.snapshots.build import HOUSEHOLD, POLICY, Row, edge, event, row, store, stream, tagged

#: The household policy in words: who looks after the service sees neither what tells of health or strangers,
#: nor what wearers decided; nor in any zone a pulse. Of what was refused no label is kept, so it may be one.
ANALYST_SEES = {"home-private", "public", "voice-assistant", "device"}
ROLES = ("analyst", "privacy-officer", "wearer:w1", "wearer:w2", "wearer:nobody")

EVENTS = [
    event("g1", "imu", 0, 100, **tagged("imu", "home-private", wearer="w1")),
    event("g1", "imu", 100, 50, **tagged("imu", "health", wearer="w1")),
    event("g1", "imu", 150, 50, **tagged("imu", "home-private", wearer="w1")),
    event("g1", "ppg", 1, 20, **tagged("ppg", "health", wearer="w1"), step=5),
    event("g1", "ppg", 0, 20, **tagged("ppg", "public", wearer="w1"), step=5),
    event("g1", "gesture", 0, 3, **tagged("gesture", "public", wearer="w1")),
    event("g1", "voice-query", 0, 2, **tagged("voice_query", "voice-assistant", wearer="w1")),
    event("g1", "answer", 0, **tagged("voice_query", "voice-assistant", wearer="w1") | {"kind": "answer"}),
    event("g1", "answer", 1, **tagged("voice_query", "health", wearer="w1") | {"kind": "answer"}),
    event("g2", "imu", 0, 100, **tagged("imu", "bystander-present", wearer="w2")),
    event("g2", "consent-change", 0, **tagged("consent_change", "rights", wearer="w2")),
    event("g2", "device-state", 0, **tagged("device_state", "device", wearer="w2")),
    event("g2", "odd", 0, wearer="w2", zone="public", label="", policy_version="of nobody"),
    event("training", "intent-model", 1, **tagged("voice_query", "voice-assistant") | {"kind": "model"}),
]
EDGES = [
    edge(("g1", "answer", 0), ("g1", "voice-query", 0), operator="answer"),
    edge(("g1", "answer", 0), ("training", "intent-model", 1), operator="answer"),
    edge(("g1", "answer", 1), ("g1", "voice-query", 1), operator="answer"),
    edge(("g1", "voice-query", 0), ("g1", "imu", 0), parent_width=90),
    edge(("g1", "voice-query", 1), ("g1", "imu", 60), parent_width=50),
    edge(("g1", "voice-query", 0), ("g1", "ppg", 0), child_count=2, parent_step=5),
    edge(("g2", "device-state", 0), ("g2", "imu", 7), parent_width=3),
    edge(("g1", "answer", 0), ("g9", "unknown", 0)),
]
REJECTED = [
    row(
        "rejected",
        source="g1",
        stream="imu",
        first=300,
        count=5,
        zone="health",
        wearer="w1",
        policy_version=HOUSEHOLD.version,
    ),
    row(
        "rejected",
        source="g1",
        stream="imu",
        first=310,
        count=5,
        zone="public",
        wearer="w1",
        policy_version=HOUSEHOLD.version,
    ),
    row(
        "rejected",
        source="g2",
        stream="imu",
        first=300,
        count=5,
        zone="unconfigured",
        wearer="w2",
        policy_version=HOUSEHOLD.version,
    ),
    row("rejected", zone="malformed", count=0, policy_version=HOUSEHOLD.version),
    row("rejected", source="g3", zone="malformed", count=0, stage="snapshots"),
]
SHARED = ("source", "stream", "first", "step", "count", "zone", "label", "policy_version", "wearer")
DECISIONS = [
    row("decisions", **{name: one[name] for name in SHARED}, sink="store", verdict="allow") for one in EVENTS
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    streams = sorted({(one["source"], one["stream"], one["kind"]) for one in EVENTS})
    return store(
        tmp_path_factory.mktemp("roles") / "s",
        {
            "events": EVENTS,
            "edges": EDGES,
            "rejected": REJECTED,
            "decisions": DECISIONS,
            "policies": [POLICY],
            "streams": [stream(*one) for one in streams],
            "inputs": [row("inputs", kind="consent-takeup", value="w2 withdrew")],
            "training_runs": [row("training_runs", trigger="g2/example/0")],
            "promotions": [row("promotions", outcome="declined", reason="worse")],
            "training_checks": [row("training_checks", name="device", subject="g2", outcome="held")],
            "training_assets": [row("training_assets", kind="seed", name="seed.csv")],
        },
    )


def seen(one: Row, role: str, *, rejected: bool = False) -> bool:
    """What a role is shown of a row, in plain words: its zone, and whose it is."""
    name, _, wearer = role.partition(":")
    if not one["policy_version"]:
        return name == "privacy-officer"
    if one["policy_version"] != HOUSEHOLD.version:
        return False
    if name == "wearer":
        return one["wearer"] == wearer or (not one["wearer"] and not rejected)
    return name == "privacy-officer" or (
        one["zone"] in ANALYST_SEES and one.get("stream") != "ppg" and not rejected
    )


def numbers(one: Row) -> set[tuple[str, str, int]]:
    return {(one["source"], one["stream"], one["first"] + one["step"] * i) for i in range(one["count"])}


def visible(role: str) -> set[tuple[str, str, int]]:
    return {number for one in EVENTS if seen(one, role) for number in numbers(one)}


def sql(path: Path, role: str, text: str) -> list[tuple[Any, ...]]:
    with Store.open(path, Role.of(role)) as opened:
        return opened.sql(text).rows


@pytest.mark.parametrize("role", ROLES)
def test_sql_shows_the_events_that_the_words_allow(path: Path, role: str) -> None:
    assert set(sql(path, role, "SELECT source, stream, number FROM event_records")) == visible(role)
    for table, rows in (("events", EVENTS), ("decisions", DECISIONS)):
        assert set(sql(path, role, f'SELECT source, stream, "first" FROM {table}')) == {
            (one["source"], one["stream"], one["first"]) for one in rows if seen(one, role)
        }
    assert set(sql(path, role, 'SELECT source, "first" FROM rejected')) == {
        (one["source"], one["first"]) for one in REJECTED if seen(one, role, rejected=True)
    }
    assert {(source, name) for source, name in sql(path, role, "SELECT source, stream FROM streams")} == {
        one[:2] for one in visible(role)
    }


@pytest.mark.parametrize("role", ROLES)
def test_an_edge_is_shown_where_both_its_ends_are(path: Path, role: str) -> None:
    known, everything = visible(role), {number for one in EVENTS for number in numbers(one)}
    expected: set[tuple[str, int, str, int]] = set()
    for one in EDGES:
        pairs = list(
            EdgeRun(
                Run(one["child_first"], one["child_step"], one["child_count"]),
                one["parent_first"],
                one["parent_step"],
                one["parent_width"],
            ).pairs()
        )
        sides = (("child", [a for a, _ in pairs]), ("parent", [b for _, b in pairs]))
        # Whatever is hidden between its first and its last number hides the run.
        across = {
            (one[f"{side}_source"], one[f"{side}_stream"], number)
            for side, ends in sides
            for number in range(min(ends), max(ends) + 1)
        }
        if not across & everything - known and {(source, name) for source, name, _ in across} <= {
            one[:2] for one in known
        }:
            expected |= {(one["child_stream"], a, one["parent_stream"], b) for a, b in pairs}
    assert (
        set(
            sql(
                path,
                role,
                "SELECT child_stream, child_number, parent_stream, parent_number FROM edge_records",
            )
        )
        == expected
    )


@pytest.mark.parametrize("role", ROLES)
def test_a_walk_shows_the_same_and_says_what_it_hid(path: Path, role: str) -> None:
    with Store.open(path, Role.of(role)) as opened:
        if ("g1", "answer", 0) not in visible(role):
            with pytest.raises(InputError, match=f"the role {role} is shown no such event"):
                questions.ancestors(opened, "g1/answer/0")
            return
        answer = questions.ancestors(opened, "g1/answer/0")
        found = {
            (step.source, step.stream, number)
            for step in answer.ancestors
            for number in range(step.first, step.last + 1)
        }
        everything = {
            ("g1", "voice-query", 0),
            ("training", "intent-model", 1),
            ("g9", "unknown", 0),
            ("g1", "ppg", 0),
            *(("g1", "imu", number) for number in range(90)),
        }
        assert found == {one for one in everything if one in visible(role) or one[0] == "g9"}
        assert opened.role_filter is not None
        assert opened.role_filter.hidden.get("events", 0) == len(everything - found)


def test_a_walk_does_not_go_through_what_it_hides(path: Path) -> None:
    with Store.open(path, Role.of("analyst")) as opened:
        found = questions.ancestors(opened, "g1/voice-query/1")
        assert [(step.first, step.last) for step in found.ancestors if step.stream == "imu"] == [(60, 99)]
        assert opened.role_filter is not None
        assert opened.role_filter.hidden == {"events": 10 + 1}, "ten of health and a pulse"


def test_tables_of_anybodys_events_are_the_officers(path: Path) -> None:
    for table in ("inputs", "segments", "spans", "classes"):
        assert sql(path, "privacy-officer", f"FROM {table}")
        assert not sql(path, "analyst", f"FROM {table}")
    # How many rows an epoch added, whoever's.
    assert sql(path, "analyst", "SELECT rows FROM epochs") == [(None,)]
    assert sql(path, "privacy-officer", "SELECT rows > 0 FROM epochs") == [(True,)]
    for table in ("training_runs", "promotions", "training_checks", "training_assets"):
        assert not sql(path, "wearer:w1", f"FROM {table}")
        assert sql(path, "analyst", f"FROM {table}")


def test_hidden_rows_are_counted_and_commented_views_are_there(path: Path) -> None:
    with Store.open(path, Role.of("analyst")) as opened:
        opened.sql("SELECT count(*) FROM event_records")
        assert opened.role_filter is not None
        assert opened.role_filter.hidden == {"events": sum(not seen(one, "analyst") for one in EVENTS)}
        assert opened.hidden == {"events": "1-9"}
        assert all(
            comment
            for (comment,) in opened.sql(
                "SELECT comment FROM duckdb_columns() WHERE database_name = current_database() "
                "AND schema_name = 'main' AND NOT internal"
            ).rows
        )


def ask(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--store", str(path)])


def test_a_read_of_a_restricted_zone_is_recorded_first(path: Path) -> None:
    log = path / AUDIT_LOG
    log.unlink(missing_ok=True)
    assert ask(path, "ask", "why", "g1/voice-query/0", "--role", "analyst").exit_code == 0
    assert ask(path, "sql", "SELECT count(*) FROM events", "--role", "analyst").exit_code == 0
    assert not log.exists(), "an analyst is shown nothing restricted"
    assert ask(path, "ask", "why", "g1/answer/1", "--role", "privacy-officer").exit_code == 0
    assert ask(path, "sql", "SELECT zone FROM events", "--role", "wearer:w1").exit_code == 0
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [(line["role"], line["question"], line["zones"]) for line in lines] == [
        ("privacy-officer", "ask why g1/answer/1", ["health"]),
        ("wearer:w1", "SELECT zone FROM events", ["health"]),
    ]
    assert {line["user"] for line in lines} == {pwd.getpwuid(os.getuid()).pw_name}
    assert log.stat().st_mode & 0o077 == 0
    # What comes first in a long statement hides nothing of what comes after it.
    hiding = f"/*{'x' * 50_000}*/ SELECT wearer FROM events"
    assert ask(path, "sql", hiding, "--role", "privacy-officer").exit_code == 0
    line = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    assert (line["question"], line["bytes"]) == (hiding, len(hiding))
    assert line["sha256"] == hashlib.sha256(hiding.encode()).hexdigest()
    longer = ask(
        path, "sql", f"/*{'x' * limits.STATEMENT_BYTES_MAX}*/ FROM events", "--role", "privacy-officer"
    )
    assert (longer.exit_code, longer.stdout) == (2, "")
    assert f"more than {limits.STATEMENT_BYTES_MAX:,} bytes" in longer.stderr
    log.unlink()
    log.mkdir()
    try:
        for refused in (("ask", "why", "g1/answer/1"), ("sql", "FROM events")):
            result = ask(path, *refused, "--role", "privacy-officer")
            assert result.exit_code == UnavailableError.exit_code
            assert "cannot be recorded" in result.output
            assert not result.stdout
    finally:
        log.rmdir()


def test_what_leaves_the_store_as_a_file_crosses_into_export_too(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "events.csv"
    # Household in words: life at home stays in the household, and neither health, strangers nor decisions of
    # wearers are exported; of what is in public no pulse is.
    asked = (
        "sql",
        "SELECT DISTINCT zone FROM events ORDER BY ALL",
        "--format",
        "csv",
        "--role",
        "privacy-officer",
    )
    assert ask(path, *asked, "--out", str(out)).stdout == ""
    assert out.read_text(encoding="utf-8") == "zone\ndevice\npublic\nvoice-assistant\n"
    assert out.stat().st_mode & 0o077 == 0
    streams = ("sql", "SELECT DISTINCT stream FROM events WHERE zone = 'public'", *asked[2:])
    assert ask(path, *streams, "--out", str(out)).stdout == ""
    assert out.read_text(encoding="utf-8") == "stream\ngesture\n"
    failed = ask(path, "sql", "SELECT nonsense", "--out", str(tmp_path / "none.csv"))
    assert (failed.exit_code, sorted(found.name for found in tmp_path.iterdir())) == (2, ["events.csv"])
    assert ask(path, *asked, "--out", str(tmp_path / "nowhere" / "x.csv")).exit_code == 2


@pytest.mark.parametrize("role", ["", "root", "wearer", "wearer:", "analyst:w1"])
def test_who_is_no_role_is_told_which_there_are(path: Path, role: str) -> None:
    result = ask(path, "ask", "missing", "--role", role)
    assert result.exit_code == 2
    assert "expected analyst, privacy-officer or wearer:ID" in result.output


def test_a_store_without_its_policies_shows_nothing(tmp_path: Path) -> None:
    bare = store(tmp_path / "s", {"events": EVENTS})
    for role in ROLES:
        assert not sql(bare, role, "FROM events")
        with Store.open(bare, Role.of(role)) as opened, pytest.raises(InputError, match="does not show"):
            questions.why(opened, "g1/imu/0")


@pytest.mark.parametrize(
    ("role", "zones"), [("analyst", ANALYST_SEES), ("privacy-officer", set(HOUSEHOLD.zones_by_name))]
)
def test_a_real_day_shows_no_other_zone(home: Path, role: str, zones: set[str]) -> None:
    day = home / "lineage-store"
    shown = {zone for (zone,) in sql(day, role, "SELECT zone FROM events UNION SELECT zone FROM decisions")}
    assert shown <= zones | {"unconfigured"}
    assert "voice-assistant" in shown
    with Store.open(day) as whole, Store.open(day, Role.of(role)) as opened:
        answers = [
            answer
            for (answer,) in whole.sql(
                "SELECT id FROM event_records WHERE kind = 'answer' AND source = 'g1' LIMIT 40"
            ).rows
        ]
        for answer in answers:
            try:
                found = questions.ancestors(opened, answer)
            except InputError:
                continue
            assert {zone for step in found.ancestors for zone in step.zones} <= zones
