"""What was refused can be found: by its id, among what is missing, and only by who may see it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.cli.main import main
from streams.errors import InputError
from streams.queries.loop import loop
from streams.queries.role import Role
from streams.queries.store import Store
from tests.queries.golden import SECRET, asked, imu_batches, sent
from tests.queries.pair import OFFER
from tests.snapshots.build import HOUSEHOLD, POLICY, batch, event, row, store, stream, tagged


def test_why_says_of_a_refused_id_that_it_was_refused_and_because_of_what(spoilt: Path) -> None:
    for (name, first, count), because in zip(
        imu_batches(), ("columns: found other names", "value: found bytes that are not JSON"), strict=True
    ):
        for number in (first, first + count - 1):
            answer = asked(spoilt, "ask", "why", f"g1/{name}/{number}")
            assert answer["says"].startswith(
                f"nobody could read the batch that claims it, so it was refused, because {because}"
            )
            assert "(rule malformed, stage zones, offset " in answer["says"]
            assert answer["rejected"][0]["t"].startswith("2026-09-21T14:13:2")
        shown = CliRunner().invoke(
            main, ["ask", "why", f"g1/{name}/{first}", "--store", str(spoilt), "--role", "privacy-officer"]
        )
        assert "nobody could read" in shown.stdout


def test_missing_numbers_that_were_refused_unread_are_told_from_lost_ones(spoilt: Path) -> None:
    batches = imu_batches()
    answer = asked(spoilt, "ask", "missing")
    expected = sum(count for *_, count in batches)
    assert [(row["stream"], row["first"], row["count"], row["malformed"]) for row in answer["missing"]] == [
        (batches[0][0], batches[0][1], expected, expected)
    ]
    assert (answer["missing_events"], answer["malformed_events"]) == (expected, expected)
    # Numbers are stored, refused by a rule, or missing, and nothing else.
    with Store.open(spoilt, Role.of("privacy-officer")) as opened:
        for one in answer["streams"]:
            (known,) = opened.sql(
                "SELECT sum(count) FROM rejected WHERE outcome IN ('refused', 'clock', 'late') "
                f"AND source = '{one['source']}' AND stream = '{one['stream']}' AND first <= {one['highest']}"
            ).rows
            assert one["rejected"] == (known[0] or 0)


def test_they_are_counted_in_batches_and_events(spoilt: Path) -> None:
    with Store.open(spoilt, Role.of("privacy-officer")) as opened:
        found = opened.sql(
            "SELECT stream, first, count, wearer FROM rejected WHERE outcome = 'malformed' ORDER BY first"
        ).rows
        everything = repr(opened.sql("FROM rejected").rows)
    # The link sent one of them twice.
    copies = [(one["stream"], one["first"], one["n"]) for one in sent()]
    assert [row[:3] for row in found] == sorted(one for one in copies if one in imu_batches())
    assert {row[3] for row in found} == {""}
    assert not [word for word in (SECRET, "wearer,") if word in everything]


@pytest.mark.parametrize("role", ["analyst", "wearer:w1"])
def test_who_may_not_see_the_refusal_is_told_as_of_an_absent_id(spoilt: Path, role: str) -> None:
    (name, first, _), _ = imu_batches()
    said = []
    for identity in (f"g1/{name}/{first}", f"g1/{name}/99999"):
        result = CliRunner().invoke(main, ["ask", "why", identity, "--store", str(spoilt), "--role", role])
        assert (result.exit_code, result.stdout) == (2, "")
        said.append(OFFER.sub("", result.stderr.replace(identity, "ID")))
    assert said[0] == said[1]
    # What nobody could read hides no stream of hers: its numbers are missing, and why is not said.
    answer = asked(spoilt, "ask", "missing", role=role)
    runs = [(run["first"], run["count"], run["malformed"]) for run in answer["missing"]]
    assert runs == ([] if role == "analyst" else [(first, sum(count for *_, count in imu_batches()), 0)])
    assert answer["malformed_events"] == 0


def test_a_claim_takes_no_place_of_what_is_stored(tmp_path: Path) -> None:
    """What a malformed copy of a stored batch claims changes no number, and the event is where it is."""
    refused = row("rejected", source="g1", stream="imu-right", first=0, count=20, rule="malformed")
    refused |= {"stage": "zones", "topic": "glasses.captured", "zone": "malformed", "reason": "v: other"}
    path = store(
        tmp_path / "s",
        {
            "policies": [POLICY],
            "streams": [stream("g1", "imu-right")],
            "events": [batch("g1", "imu-right", 0, 20), batch("g1", "imu-right", 40, 20)],
            "rejected": [refused | {"policy_version": HOUSEHOLD.version}],
        },
    )
    for role in ("privacy-officer", "analyst"):
        answer = asked(path, "ask", "missing", role=role)
        assert [(run["first"], run["count"], run["malformed"]) for run in answer["missing"]] == [(20, 20, 0)]
    why = asked(path, "ask", "why", "g1/imu-right/7")
    assert (why["zone"], "says" in why, len(why["rejected"])) == ("public", False, 1)


def test_loop_says_of_feedback_why_no_example_was_made_of_it(tmp_path: Path) -> None:
    because = "the wearer asked to hear it again"
    rows = {
        "policies": [POLICY],
        "streams": [stream("g1", "feedback", "feedback")],
        "events": [event("g1", "feedback", 3, 2, **tagged("feedback", "public", wearer="w1"))],
        "rejected": [
            row(
                "rejected",
                source="g1",
                stream="example",
                first=3,
                count=1,
                stage="feedback",
                rule="asked-again",
                outcome="refused",
                reason=because,
                zone="public",
                policy_version=HOUSEHOLD.version,
                wearer="w1",
            )
        ],
    }
    path = store(tmp_path / "s", rows)
    told = {number: asked(path, "ask", "loop", f"g1/feedback/{number}")["refused"] for number in (3, 4)}
    assert [(each["rule"], each["reason"]) for each in told[3]] == [("asked-again", because)]
    assert told[4] == []
    with Store.open(path, Role.of("wearer:w2")) as opened, pytest.raises(InputError):
        loop(opened, "g1/feedback/3")
