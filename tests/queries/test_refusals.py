"""What was refused can be found: by its id, among what is missing, and only by who may see it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.cli.main import main
from streams.errors import InputError
from streams.ledger import run_ledger
from streams.policy.load import version_of
from streams.queries.loop import loop
from streams.queries.missing import CapturedStream, missing
from streams.queries.role import Role
from streams.queries.store import Store
from tests.queries.golden import JOURNAL, SECRET, asked, imu_batches, played, sent
from tests.queries.pair import OFFER
from tests.snapshots.build import HOUSEHOLD, POLICY, Row, batch, event, row, store, stream, tagged


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


def test_loop_says_of_a_refused_id_that_it_was_refused_and_because_of_what(
    spoilt: Path, tmp_path: Path
) -> None:
    ids = [f"g1/{name}/{first}" for name, first, _ in imu_batches()]
    for identity in ids:
        why, loop = (asked(spoilt, "ask", question, identity) for question in ("why", "loop"))
        assert "so it was refused, because" in why["says"]
        assert (loop["says"], loop["refused"]) == (why["says"], why["rejected"])
        assert (loop["made_of_it"], loop["answers"], loop["generations"]) == ({}, [], [])
    shown = CliRunner().invoke(
        main, ["ask", "loop", ids[0], "--store", str(spoilt), "--role", "privacy-officer"]
    )
    assert "nobody could read the batch" in shown.stdout
    rows = {"policies": [WIDE_POLICY], "rejected": [refused("imu-right", 0, reason="policy: zones.public")]}
    path = store(tmp_path / "s", rows)
    assert asked(path, "ask", "loop", "g1/imu-right/7", role="analyst")["says"].startswith(
        "it was refused, because policy: zones.public (rule zones.public, stage zones, offset 0 "
    )


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


def test_ledger_and_missing_name_one_number_where_all_of_a_stream_was_refused(tmp_path: Path) -> None:
    """She never consented, and the first batches were removed before anybody read them."""
    consents = [one["id"] for one in sent() if one["stream"] == "consent-change"]
    lost = [one for one in sent() if one["stream"] in ("imu-right", "voice-query") and one["first"] < 20]
    lost = [one for one in lost if one["stream"] == "imu-right" or one["first"] < 2]
    numbers = {(one["stream"], one["first"] + nth) for one in lost for nth in range(one["n"])}
    path = played(tmp_path, {}, without=[*consents, *(one["id"] for one in lost)])
    device = tmp_path / "device"
    device.mkdir()
    (device / "g1.jsonl").write_bytes(
        b"".join(
            line
            for line in JOURNAL.read_bytes().splitlines(keepends=True)
            if not any(f'"{each}"'.encode() in line for each in consents)
        )
    )
    with Store.open(path) as opened:
        (stored,) = opened.sql("SELECT count(*) FROM events WHERE stream = 'imu-right'").rows
    assert stored == (0,), "all of it was refused"
    answer = asked(path, "ask", "missing")
    found = run_ledger(device, None, path)
    assert found["events_missing"] == answer["missing_events"] == len(numbers)
    named = {
        (run["stream"], number)
        for run in answer["missing"]
        for number in range(run["first"], run["first"] + run["count"])
    }
    assert named == numbers
    (told,) = (one for one in answer["streams"] if one["stream"] == "imu-right")
    assert (told["kind"], told["highest"], told["stored"], told["rejected"]) == ("", 139, 0, 120)


#: The household's policy, in which an analyst is shown all categories, and so what was refused in public.
WIDE = re.sub(r'(name = "ask:analyst"\n(?:.+\n)+?)but_not = .+', r"\1but_not = []", HOUSEHOLD.text)
WIDE_POLICY: Row = {**POLICY, "version": version_of(WIDE), "text": WIDE}


def refused(of: str, first: int, rule: str = "zones.public", **columns: object) -> Row:
    """A rejection of twenty numbers by the zones stage, in a zone that an analyst is shown."""
    about = {"source": "g1", "stream": of, "first": first, "count": 20, "rule": rule, "zone": "public"}
    about |= {"stage": "zones", "topic": "glasses.captured", "policy_version": WIDE_POLICY["version"]}
    return row("rejected", **{**about, "wearer": "w1", **columns})


@pytest.fixture(scope="module")
def nothing_stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Streams of which nothing is stored, by what came of them; and one of which something is."""
    rejections = [
        refused("all-refused", 40),
        refused("unread", 40, "malformed"),
        refused("taken", 40, "collision"),
        refused("again", 40, "repeat"),
        refused("example", 40, "asked-again", stage="feedback"),
        # A device may not have a stream with the name of a derived one.
        refused("activity", 40, "names"),
        refused("half-health", 40),
        refused("half-health", 80, zone="health"),
        refused("health", 40, zone="health"),
        # Before it had a zone; and it names her, whoever sent it.
        refused("of-a-stranger", 40, "pairing", zone=""),
        # All that was stored of it is hidden from some.
        refused("stored-in-health", 40),
    ]
    return store(
        tmp_path_factory.mktemp("nothing") / "s",
        {
            "policies": [POLICY, WIDE_POLICY],
            "streams": [
                stream("g1", "imu-right"),
                stream("g1", "activity", "activity", captured=False),
                stream("g1", "stored-in-health", "ppg"),
            ],
            "events": [
                batch("g1", "imu-right", 0, 20),
                batch("g1", "stored-in-health", 80, 20, **tagged("ppg", "health", wearer="w2")),
            ],
            "rejected": rejections,
        },
    )


def of_role(path: Path, role: str) -> tuple[dict[str, list[tuple[int, int]]], list[str], list[str], int]:
    """What `missing` says to a role: runs by stream, streams with numbers, those in part, and the sum."""
    answer = asked(path, "ask", "missing", role=role)
    runs: dict[str, list[tuple[int, int]]] = {}
    for run in answer["missing"]:
        runs.setdefault(run["stream"], []).append((run["first"], run["count"]))
    whole, part = ([one["stream"] for one in answer[name]] for name in ("streams", "not_shown_whole"))
    return runs, whole, part, answer["missing_events"]


def test_claims_and_collisions_make_no_stream(nothing_stored: Path) -> None:
    runs, whole, part, events = of_role(nothing_stored, "privacy-officer")
    named = ["all-refused", "half-health", "health", "imu-right", "of-a-stranger", "stored-in-health"]
    assert (whole, part) == (named, [])
    holes = {name: [(0, 40)] for name in named if name != "imu-right"}
    holes["half-health"].append((60, 20))
    holes["stored-in-health"].append((60, 20))
    assert runs == holes
    # The data that came under other numbers is missing too, and makes its numbers no hole.
    assert events == sum(count for each in holes.values() for _, count in each) + 20
    with Store.open(nothing_stored) as opened:
        answer = missing(opened)
    assert [row.stream for row in answer.streams] == named
    assert CapturedStream("g1", "all-refused", "", 59, 0, 20, 0) in answer.streams.rows
    assert (answer.missing_events, {run.stream for run in answer.missing}) == (events, {*holes})


def test_a_role_is_told_of_a_refused_stream_only_if_nothing_of_it_is_hidden(nothing_stored: Path) -> None:
    runs, whole, part, events = of_role(nothing_stored, "analyst")
    assert (whole, part) == (["all-refused", "imu-right"], [])
    assert (runs, events) == ({"all-refused": [(0, 40)]}, 60), "of the sum 20 are those of the collision"


def test_of_a_stream_whose_events_are_over_no_number_is_told_by_what_was_refused(tmp_path: Path) -> None:
    """Nothing says any more who might see those events; the numbers of the others would tell how many."""
    rows = {
        "policies": [WIDE_POLICY],
        "streams": [stream("g1", "ppg", "ppg")],
        "rejected": [refused("ppg", 40)],
    }
    path = store(tmp_path / "s", rows)
    for role in ("analyst", "privacy-officer"):
        assert of_role(path, role) == ({}, [], [], 0)


def test_a_batch_that_names_a_wearer_tells_her_of_no_stream(nothing_stored: Path) -> None:
    """Whoever sends it may choose both names, and she would learn from the answer which streams there are."""
    runs, whole, part, _ = of_role(nothing_stored, "wearer:w1")
    assert (runs, whole, part) == ({}, ["imu-right"], [])
    runs, whole, part, _ = of_role(nothing_stored, "wearer:w2")
    assert (runs, whole, part) == ({}, [], ["stored-in-health"])
