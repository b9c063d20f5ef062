"""Recorded decisions: each can be repeated from what the store keeps of it, with the same result.

Each can also be explained, and compared with the decision of another policy.
"""

from __future__ import annotations

from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from device_sim.__main__ import main as device_sim
from streams.cli.main import main as sightline
from streams.cli.policy.decided import distinct_decisions
from streams.policy.diff import on_paper
from streams.policy.load import load, parse
from streams.policy.recheck import StoredPolicies, recheck
from streams.queries.store import Store
from streams.topology import CROSSINGS, EXPORT
from tests import build

START_NS = "1790000000000000000"


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("journal")
    result = CliRunner().invoke(
        device_sim,
        [
            "run",
            "--scenario",
            "commute",
            "--devices",
            "1",
            "--to",
            "file",
            "--journal",
            str(path),
            "--start-ns",
            START_NS,
            "--duration-s",
            "300",
        ],
    )
    assert result.exit_code == 0, result.output
    return path


@pytest.fixture(scope="module")
def store(journal: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("decided") / "store"
    assert CliRunner().invoke(sightline, ["replay", str(journal), "--store", str(path)]).exit_code == 0
    return path


OFFICER = ("--role", "privacy-officer")


def answered(*arguments: str, code: int = 0) -> dict[str, Any]:
    result = CliRunner().invoke(sightline, ["policy", *arguments, "--json"])
    assert result.exit_code == code, result.output
    found: dict[str, Any] = orjson.loads(result.stdout)
    return found


def test_every_stored_decision_comes_out_again(store: Path) -> None:
    found = answered("recheck", "--store", str(store), *OFFICER)
    with Store.open(store) as opened:
        rows = opened.sql('SELECT count(*), sum("count") FROM decisions').rows[0]
    assert (found["decisions"], found["events"], found["differences"]) == (*rows, 0)


CLINIC = (
    "kind=imu stream=imu-right place=clinic people_near=nobody minor_near=false capture_light=false worn=true"
    " consent_given=true"
)
CHANGES: dict[str, Any] = {
    "verdict": "deny",
    "passed": False,
    "mode": "logging",
    "rule": "because",
    "purpose": "ai:ModelTraining",
    "zone": "public",
    "label": "00" * 16,
    "consent_state": "withdrawn",
    "policy_version": "0" * 16,
    "sink": "nowhere",
    "at_ns": 2 * 10**18,
    "attributes": CLINIC,
}


@pytest.mark.parametrize("column", CHANGES)
def test_a_decision_that_was_touched_is_found(store: Path, column: str) -> None:
    with Store.open(store) as opened:
        policies = StoredPolicies(opened.policies)
        rows = distinct_decisions(opened)
    row = next(
        row
        for row in rows
        if row.zone == "home-private" and row.attributes.startswith("kind=imu") and row.sink == "store"
    )
    assert not list(recheck([row], policies))
    assert getattr(row, column) != CHANGES[column]
    (difference,) = recheck([replace(row, **{column: CHANGES[column]})], policies)
    assert difference.now


def test_a_decision_is_made_at_every_crossing(store: Path) -> None:
    """Exports are decided when data leaves the store; the first policy decided everything else."""
    with Store.open(store) as opened:
        sinks = {sink for (sink,) in opened.sql("SELECT DISTINCT sink FROM decisions").rows}
        undecided = opened.sql(
            """SELECT kind, topic, count(*) FROM events WHERE topic <> '' AND NOT EXISTS (
            FROM decisions d WHERE d.source = events.source AND d.stream = events.stream AND d.passed
            AND d.sink = CASE topic WHEN 'glasses.captured' THEN 'glasses.zoned' ELSE topic END
            AND d."first" <= events."first" AND d."first" + d.step * (d."count" - 1) >= events."first")
            GROUP BY ALL"""
        ).rows
    assert sinks == set(CROSSINGS) - {EXPORT}
    assert undecided == []


def test_an_allowed_decision_is_explained(store: Path) -> None:
    (one,) = answered("explain", "g1/voice-query/30@glasses.zoned", "--store", str(store))["decisions"]
    assert (one["verdict"], one["zone"]) == ("allow", "voice-assistant")
    assert one["matched"] == {"consent_given": True, "kind": "voice_query"}
    assert one["policy"] == f"household {build.policy().version}"
    assert (
        "with consent_given = false: unconfigured, in zone unconfigured (no zone's condition holds)"
        in one["would_change_it"]
    )


def test_a_refused_and_an_unconfigured_decision_are_explained(store: Path) -> None:
    with Store.open(store) as opened:
        denied, refused = (
            opened.sql(
                f"SELECT source || '/' || stream || '/' || \"first\" FROM decisions WHERE {where} LIMIT 1"
            ).rows[0][0]
            for where in ("sink = 'training-run' AND verdict = 'deny'", "verdict = 'unconfigured'")
        )
    (one,) = answered("explain", f"{denied}@training-run", "--store", str(store), *OFFICER)["decisions"]
    assert one["verdict"] == "deny"
    assert [sentence.split(":")[0] for sentence in one["would_change_it"]] == [
        "label the sink",
        "block",
        "declassify",
    ]
    (other,) = answered("explain", refused, "--store", str(store), *OFFICER)["decisions"]
    assert (other["verdict"], other["matched"]["consent_given"]) == ("unconfigured", False)
    assert any(
        sentence.startswith("with consent_given = true: allow") for sentence in other["would_change_it"]
    )


def test_a_declassified_decision_names_owner_reason_and_uses(store: Path) -> None:
    found = answered("explain", "training/intent-model/3", "--store", str(store), *OFFICER)
    with Store.open(store) as opened:
        models = opened.sql("SELECT count(*) FROM models").rows[0][0]
    (declassified,) = found["declassified"]
    assert declassified["owner"] == "privacy-officer@household"
    assert declassified["used in what is shown"] == f"{models - 1} times"


def test_an_id_that_nobody_decided_about_is_a_sentence(store: Path) -> None:
    result = CliRunner().invoke(
        sightline, ["policy", "explain", "g1/answer/30@training-run", "--store", str(store)]
    )
    assert result.exit_code == 2
    assert "is shown no such decision in epoch 2; those that it is shown about g1/answer/30 are at: " in (
        result.stderr
    )


def oracle(
    kind: str,
    place: str,
    people_near: str,
    *,
    minor_near: bool,
    capture_light: bool,
    consent_given: bool,
    policy: str,
) -> str:
    """Zone of an event, as the text of the two policies describes it."""
    if kind in {"consent_change", "erasure_request"}:
        return "rights"
    if kind == "device_state":
        return "device"
    if not consent_given:
        return "unconfigured"
    somebody_near = people_near != "nobody" or minor_near
    if kind in {"camera_frame", "capture"} and somebody_near and not capture_light:
        return "unlit-camera"
    if policy == "enterprise":
        if kind == "ppg" or place == "clinic":
            return "health"
        if people_near == "strangers" or minor_near:
            return "others-near"
        return {"home": "private-life", "cafe": "private-life", "work": "work", "street": "work"}.get(
            place, "unconfigured"
        )
    if place == "clinic":
        return "health"
    if minor_near:
        return "child-near"
    if people_near == "strangers":
        return "bystander-present"
    if kind in {"voice_query", "feedback", "review"}:
        return "voice-assistant"
    return {"home": "home-private", "unknown": "unconfigured"}.get(place, "public")


def test_zones_that_differ_on_paper_equal_those_of_the_prose() -> None:
    expected: Counter[tuple[str, str]] = Counter()
    truth = (False, True)
    for kind, place, people_near, minor_near, capture_light, consent_given in product(
        sorted({kind for kind, _ in build.policy().labels}),
        ("home", "work", "street", "cafe", "clinic", "unknown"),
        ("nobody", "household", "strangers"),
        truth,
        truth,
        truth,
    ):
        household, enterprise = (
            oracle(
                kind,
                place,
                people_near,
                minor_near=minor_near,
                capture_light=capture_light,
                consent_given=consent_given,
                policy=policy,
            )
            for policy in ("household", "enterprise")
        )
        # Neither policy depends on `worn`, which has two values.
        expected[household, enterprise] += 2
    count, zones_found, _ = on_paper(load("household"), load("enterprise"))
    assert count == sum(expected.values())
    assert {(change.zone, change.next_zone): group.count for change, group in zones_found.items()} == {
        pair: number for pair, number in expected.items() if pair[0] != pair[1]
    }


def test_a_policy_differs_from_itself_nowhere_and_over_traffic_in_what_it_changes(
    store: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "changed.toml"
    before, zone, after = load("household").text.partition('name = "home-private"')
    changed.write_text(
        before + zone + after.replace('"dpv:RequestedServiceProvision", ', "", 1), encoding="utf-8"
    )
    assert parse(changed.read_text(encoding="utf-8"), "x").version != build.policy().version
    same = answered("diff", "household", "household", "--over", str(store), *OFFICER)
    assert (same["flows"], same["not judged"]) == ([], [])
    with Store.open(store) as opened:
        events = dict(
            opened.sql(
                """SELECT sink, sum("count") FROM decisions WHERE zone = 'home-private' AND attributes <> ''
            GROUP BY sink"""
            ).rows
        )
    flows = answered(
        "diff", "household", str(changed), "--over", str(store), "--exit-code", *OFFICER, code=1
    )["flows"]
    of_home = [flow for flow in flows if flow["zone"] == "home-private"]
    assert {flow["sink"]: flow["new verdict"] for flow in of_home} == {
        "glasses.zoned": "deny",
        **dict.fromkeys(("processing", "store", "glasses.derived"), "not-asked"),
    }
    assert {
        flow["sink"]: flow["count"] for flow in of_home if flow["sink"] in ("glasses.zoned", "processing")
    } == {sink: events[sink] for sink in ("glasses.zoned", "processing")}
