"""Previews of a policy are correct: over a store, over journals and live, they name what a run refuses."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from device_sim.__main__ import main as device_sim
from streams.cli.main import main as sightline
from streams.events.record import Outgoing, StoredRecord
from streams.policy.diff import CONFIDENCE
from streams.policy.load import load, parse
from streams.policy.policy import Policy
from streams.replay import Replay
from streams.snapshots.writer import Writer
from streams.topology import LINEAGE, TRAINING_RUN

OFFICER = ("--role", "privacy-officer")
#: (sink, source, stream, number)
Events = set[tuple[str, str, str, int]]


def run(main: Any, *arguments: object) -> str:
    result = CliRunner().invoke(main, [str(one) for one in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a journal of a hundred seconds, and the store of its run under `household`."""
    path = tmp_path_factory.mktemp("previews")
    devices = ("--devices", 1, "--to", "file", "--start-ns", "1790000000000000000", "--duration-s", 100)
    run(device_sim, "run", "--scenario", "commute", "--journal", path / "journal", *devices)
    run(sightline, "replay", path / "journal", "--store", path / "household")
    return path


def without(zone: str, purpose: str) -> str:
    """Text of `household` with a purpose taken out of a zone."""
    before, found, after = load("household").text.partition(f'name = "{zone}"')
    assert f'"{purpose}", ' in after
    return before + found + after.replace(f'"{purpose}", ', "", 1)


def no_training() -> str:
    before, found, after = load("household").text.partition('name = "voice-assistant"')
    return before + found + after.replace(' "ai:ModelTraining",', "", 1)


def no_service_at_home() -> str:
    return without("home-private", "dpv:RequestedServiceProvision")


CHANGES = {"training": no_training, "service at home": no_service_at_home}


def allowed(store: Path) -> Events:
    """Events that passed according to a store, read with plain SQL."""
    return events_of(
        store, 'SELECT sink, source, stream, "first", step, "count" FROM decisions WHERE verdict = \'allow\''
    )


def events_of(store: Path, statement: str) -> Events:
    """The events in the runs that a statement returns."""
    said = run(sightline, "sql", statement, "--store", store, *OFFICER, "--rows", 10**7, "--json")
    return {
        (sink, source, stream, number)
        for sink, source, stream, first, step, count in orjson.loads(said)["rows"]
        for number in range(first, first + count * step, step)
    }


def preview(over: Path, policy: Path) -> tuple[Events, list[dict[str, Any]]]:
    """What `policy diff --over` reports as refused, and what it reports as not judged."""
    answer = orjson.loads(
        run(sightline, "policy", "diff", "household", policy, "--over", over, *OFFICER, "--json")
    )
    refused = {
        (flow["sink"], one["source"], one["stream"], number)
        for flow in answer["flows"]
        if flow["verdict"] == "allow" and flow["new verdict"] != "allow"
        for one in flow["events"]
        for number in range(one["first"], one["first"] + one["count"] * one["step"], one["step"])
    }
    return refused, answer.get("not judged", [])


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_preview_refuses_a_run_refuses(played: Path, tmp_path: Path, change: str) -> None:
    policy = tmp_path / "changed.toml"
    policy.write_text(CHANGES[change](), encoding="utf-8")
    run(sightline, "replay", played / "journal", "--store", tmp_path / "run", "--policy", policy)
    truly = allowed(played / "household") - allowed(tmp_path / "run")
    over_store, unjudged = preview(played / "household", policy)
    assert over_store == truly
    if change == "training":
        assert preview(played / "journal", policy)[0] == truly
        assert len({one for one in truly if one[0] == TRAINING_RUN}) >= 12
        assert ("glasses.models", "training", "intent-model", 2) in truly
        # Another model may interpret spoken feedback differently, which only a run can show.
        assert all(one["what"].startswith("spoken reactions") for one in unjudged)
    else:
        # Not only captured events are refused, but also windows and situations that were made from them.
        assert {stream for _, _, stream, _ in truly} >= {"imu-right", "activity", "fixation", "speech"}


def test_the_live_shadow_asks_the_training_gate(played: Path, tmp_path: Path) -> None:
    policy, offsets = parse(no_training(), "next"), itertools.count()
    with contextlib.closing(Writer.open(tmp_path / "store")) as writer:

        def take(records: Sequence[Outgoing]) -> None:
            for one in records:
                if one.topic == LINEAGE:
                    at = next(offsets)
                    record = StoredRecord(at, one.timestamp_ms, one.key, one.value, one.headers)
                    writer.ingest({0: [record]}, {0: at + 1}, 0)

        asyncio.run(_beside(policy, take).run(played / "journal"))
        writer.settle(2 * 10**18)
    statement = (
        'SELECT sink, source, stream, "first", step, "count" FROM shadow WHERE next_verdict = \'deny\''
    )
    kept = events_of(tmp_path / "store", statement)
    assert kept == {one for one in allowed(played / "household") if one[0] == TRAINING_RUN and one[1] == "g1"}
    said = run(sightline, "policy", "shadow", "--store", tmp_path / "store", *OFFICER, "--json")
    answer = orjson.loads(said)
    assert answer["next"] == [f"household {policy.version}"]
    assert answer["of them otherwise"] == len(kept)
    models = orjson.loads(
        run(
            sightline, "sql", "SELECT count(*) FROM models", "--store", tmp_path / "store", *OFFICER, "--json"
        )
    )["rows"][0][0]
    (sentence,) = answer["not judged"]
    assert f"{models - 1} of them from examples that it would keep from training" in sentence


def _beside(policy: Policy, take: Any) -> Replay:
    replay = Replay(load("household"), take)
    versions = {**replay.policies.versions, policy.version: policy}
    replay.policies = replace(replay.policies, versions=versions, next=policy.version)
    return replay


def test_what_a_store_cannot_tell_is_counted(played: Path, tmp_path: Path) -> None:
    policy = tmp_path / "open.toml"
    # Without consent no data was accepted, so no store has what would have been derived from it.
    text = load("household").text.replace("consent_given && kind != 'device_state' && place", "place")
    home = 'name = "home-private"\n'
    policy.write_text(text.replace(home, f"{home}without_consent = true\n", 1), encoding="utf-8")
    arguments = ("policy", "diff", "household", policy, "--over", played / "household")
    said = run(sightline, *arguments, *OFFICER)
    assert "what would be made of them is not in the store" in said
    assert "the role is not shown in which order examples were read" in run(sightline, *arguments)


def test_a_shadow_that_nobody_casts_is_no_agreement(played: Path) -> None:
    said = run(sightline, "policy", "shadow", "--store", played / "household", *OFFICER)
    assert "not judged  anything: no policy decides beside the one in force" in said


def test_what_the_assistant_may_say_is_read_out_and_compared(tmp_path: Path) -> None:
    shipped, mine = load("enterprise"), tmp_path / "mine.toml"
    assert shipped.speech.withheld, "this test needs a policy with a rule"
    (rule,) = shipped.speech.withheld
    checked = orjson.loads(run(sightline, "policy", "check", "enterprise", "--json"))
    assert checked["withheld"] == [{"withheld": rule.name, "when": rule.when.text, "about": rule.about}]
    assert checked["confidence below which an answer says so"] == "20 %"
    mine.write_text(
        shipped.text.replace("people_near == 'strangers' &&", "people_near != 'nobody' &&").replace(
            "confidence_percent_min = 20", "confidence_percent_min = 35"
        ),
        encoding="utf-8",
    )

    def differing(old: object, new: object, code: int) -> Any:
        words = ["policy", "diff", str(old), str(new), "--json", "--exit-code"]
        result = CliRunner().invoke(sightline, words)
        assert result.exit_code == code, result.output
        return orjson.loads(result.stdout)

    answer = differing("enterprise", mine, 1)
    assert (answer["zones"], answer["flows"]) == ([], [])
    nearer = rule.when.text.replace("== 'strangers'", "!= 'nobody'")
    assert answer["speech"] == [
        {"rule": rule.name, "when": rule.when.text, "new when": nearer},
        {"rule": CONFIDENCE, "when": "20", "new when": "35"},
    ]
    assert differing("enterprise", "enterprise", 0)["speech"] == []
    added = differing("household", "enterprise", 1)["speech"]
    assert [(each["rule"], each["when"]) for each in added] == [
        (rule.name, ""),
        (CONFIDENCE, ""),
    ]
    printed = CliRunner().invoke(sightline, ["policy", "diff", "enterprise", str(mine)]).stdout
    assert "what the assistant may say differs" in printed
