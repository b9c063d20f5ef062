"""Records of processing: sums against SQL, observed inside declared, and no undeclared flow left out."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from streams import open_store
from streams.cli.main import main
from streams.errors import InputError
from streams.policy.dpv import TERMS
from streams.policy.load import load, parse
from streams.policy.plain import WORDS, plain
from streams.queries.notice import Notice, notice
from streams.queries.role import Role
from streams.queries.ropa import NOWHERE, Ropa, ropa, transfers
from streams.queries.store import Store
from tests.queries.test_reach import FEW
from tests.queries.undeclared import UNDECLARED, decided, made, stored
from tests.snapshots.build import HOUSEHOLD, POLICY, store, stream

_BEFORE, _ZONE, _AFTER = HOUSEHOLD.text.partition('name = "voice-assistant"')
#: A household in which nothing is learned from what was asked.
OTHER = parse(
    _BEFORE.replace('about = "One home', 'owner = "dpo@household"\nabout = "One home')
    + _ZONE
    + _AFTER.replace(' "ai:ModelTraining",', "", 1),
    "other",
)


def answered(path: Path, role: str = "") -> Ropa:
    with Store.open(path, Role.of(role) if role else None) as opened:
        return ropa(opened)


def told(path: Path, role: str = "", **options: object) -> Notice:
    with Store.open(path, Role.of(role) if role else None) as opened:
        return notice(opened, **options)  # type: ignore[arg-type]


@FEW
@given(chosen=st.sets(st.integers(0, len(UNDECLARED) - 1)))
def test_every_undeclared_flow_stands_in_the_record_and_no_other(chosen: set[int]) -> None:
    flows = [UNDECLARED[number] for number in sorted(chosen)]
    with tempfile.TemporaryDirectory() as name:
        answer = answered(made(Path(name) / "s", flows))
    assert sorted((flow.of, flow.how, flow.to) for flow in answer.undeclared) == sorted(
        flow.told for flow in flows
    )
    assert answer.flows_undeclared == len(flows)
    # Those into a sink or onto a topic stand at their activity, too.
    sinks = {each.activity: each for each in answer.activities}
    for of, how, to in (flow.told for flow in flows):
        if how in {"crosses into", "read by"} and to in sinks:
            assert sinks[to].standing == "undeclared", (of, how, to)
    untouched = sinks.keys() - {flow.told[2] for flow in flows}
    assert not any(sinks[name].standing == "undeclared" or sinks[name].undeclared for name in untouched)


def test_ten_undeclared_flows_are_ten_and_a_sink_that_no_policy_has_is_an_activity(tmp_path: Path) -> None:
    answer = answered(made(tmp_path / "s", UNDECLARED))
    assert len(answer.undeclared) == answer.flows_undeclared == 10
    cloud = answer.activity("vendor-cloud")
    assert (cloud.standing, cloud.region, cloud.purpose, cloud.events) == ("undeclared", NOWHERE, "", 7)
    assert cloud.about == f"no sink of policy household {HOUSEHOLD.version}"
    assert cloud.categories_observed == ("local:Gait", "pd:Behavioral")


@pytest.mark.parametrize("role", ["", "privacy-officer", "analyst", "wearer:w1"])
def test_of_a_played_day_all_that_was_observed_was_declared(spoilt: Path, role: str) -> None:
    answer = answered(spoilt, role)
    assert answer.flows_undeclared == 0
    assert {each.activity for each in answer.activities} == {*load("household").sinks}
    for each in answer.activities:
        assert each.standing in {"declared", "unobserved", "hidden"}, each.activity
        assert {*each.categories_observed} <= {*each.categories}, each.activity
        assert {*each.subjects_observed} <= {*each.subjects}, each.activity
        assert each.term == TERMS[each.purpose].term
        assert each.zones or not each.events


def test_sums_are_those_of_the_store(spoilt: Path) -> None:
    with Store.open(spoilt, Role.of("privacy-officer")) as opened:
        answer, by_region = ropa(opened), transfers(opened)
        rows = opened.sql(
            "SELECT sink, coalesce(sum(count) FILTER (passed), 0)::BIGINT, "
            "coalesce(sum(count) FILTER (NOT passed), 0)::BIGINT FROM decisions GROUP BY sink"
        ).rows
    assert {each.activity: (each.events, each.stopped) for each in answer.activities if each.events} == {
        sink: (events, stopped) for sink, events, stopped in rows if events
    }
    assert sum(region.events for region in by_region.regions) == sum(events for _, events, _ in rows)
    assert {row.recipient: row.events for row in by_region.transfers} == {
        each.activity: each.events for each in answer.activities
    }


def test_the_controller_is_told_with_contact_and_law(tmp_path: Path) -> None:
    owner = '[owner]\nname = "Home GmbH"\ncontact = "privacy@example.org"\njurisdiction = "DE"\n'
    draft = parse(f"{HOUSEHOLD.text}\n{owner}", "draft")
    path, says = made(tmp_path / "s", UNDECLARED[:1]), "Home GmbH, privacy@example.org, DE"
    with Store.open(path, Role.of("privacy-officer")) as opened:
        assert ropa(opened, draft).controller == says
    assert told(path, draft=draft).controller == says
    assert told(path).controller == "nobody named"


def test_words_and_retention_that_were_observed_are_those_of_the_labels(spoilt: Path) -> None:
    policy = load("household")
    with Store.open(spoilt, Role.of("privacy-officer")) as opened:
        answer = ropa(opened)
        labels = opened.sql("SELECT DISTINCT sink, label FROM decisions WHERE passed").rows
    for each in answer.activities:
        every = [bytes.fromhex(label) for sink, label in labels if sink == each.activity]
        packed = [label for label in every if policy.vocabulary.says(label)["subjects"]]
        categories = {word for label in packed for word in policy.vocabulary.says(label)["categories"]}
        days = {policy.vocabulary.retention_days[policy.vocabulary.retention(label)] for label in packed}
        assert {*each.categories_observed} == categories
        assert each.retention_observed == ((min(days), max(days)) if days else ())


def test_a_role_is_told_nothing_that_it_is_not_shown(spoilt: Path) -> None:
    analyst, officer = answered(spoilt, "analyst"), answered(spoilt, "privacy-officer")
    seen = {word for each in analyst.activities for word in each.categories_observed}
    assert seen & {"pd:Health", "pd:PhysicalHealth", "pd:Biometric", "local:Gaze"} == set()
    assert {word for each in analyst.activities for word in each.subjects_observed} <= {"wearer"}
    assert sum(each.events for each in analyst.activities) < sum(each.events for each in officer.activities)
    # What may be done follows from the policy, which anybody may read.
    assert [each.categories for each in analyst.activities] == [
        each.categories for each in officer.activities
    ]
    roles = ("analyst", "privacy-officer")
    mine, others = ({each.category for each in told(spoilt, role).says} for role in roles)
    assert others - mine == {"local:BystanderPresence", "pd:PrivacyPreference"}


def test_the_notice_says_of_each_category_what_it_was_used_for_and_how_long(spoilt: Path) -> None:
    policy, answer = load("household"), told(spoilt)
    with Store.open(spoilt, Role.of("privacy-officer")) as opened:
        rows = opened.sql("SELECT DISTINCT sink, purpose, label FROM decisions WHERE passed").rows
    expected: dict[tuple[str, str], set[int]] = {}
    recipients: dict[tuple[str, str], set[str]] = {}
    for sink, purpose, label in rows:
        packed = bytes.fromhex(label)
        # The licensed examples are about nobody.
        says = policy.vocabulary.says(packed)
        for category in says["categories"] if says["subjects"] else ():
            expected.setdefault((category, purpose), set()).add(policy.retention_days(packed))
            recipients.setdefault((category, purpose), set()).add(sink)
    assert {(each.category, each.purpose): each.days for each in answer.says} == {
        place: max(days) for place, days in expected.items()
    }
    assert {(each.category, each.purpose): {*each.recipients} for each in answer.says} == recipients
    assert all(
        each.text.startswith(each.data[:1].upper() + each.data[1:] + ": used ") for each in answer.says
    )
    assert answer.changes.rows == ()


def test_a_policy_that_comes_into_force_changes_the_notice_by_what_it_changed(tmp_path: Path) -> None:
    query = {"voice-query": "voice_query"}
    before = decided("voice_query", "voice-assistant", "training-run", purpose="ai:ModelTraining")
    after = decided(
        "voice_query", "voice-assistant", "assistant", OTHER, purpose="dpv:RequestedServiceProvision"
    )
    came = {**POLICY, "version": OTHER.version, "name": "other", "text": OTHER.text, "published_ns": 2}
    path = store(
        tmp_path / "s",
        {
            "policies": [{**POLICY, "published_ns": 1}, came],
            "streams": [stream("g1", name, kind) for name, kind in query.items()],
            "events": [stored("voice_query", "voice-assistant", "glasses.captured", OTHER)],
            "decisions": [before, after],
        },
    )
    answer = told(path)
    assert (answer.policy, answer.controller) == (f"household {OTHER.version}", "dpo@household")
    assert {each.purpose for each in answer.says} == {"dpv:RequestedServiceProvision"}
    assert {change.policy for change in answer.changes} == {f"household {OTHER.version}"}
    gone = [change.text for change in answer.changes if change.change == "gone"]
    added = [change.text for change in answer.changes if change.change == "added"]
    assert all("to train the assistant's model" in text for text in gone)
    assert all("to do what you ask the glasses for" in text for text in added)
    assert len(gone) == len(added) == 2


def test_what_went_to_a_region_stays_there_whatever_the_newest_policy_says(tmp_path: Path) -> None:
    """An assistant that came home was in the EU before; so it is told, and so of a draft."""
    before, sink, after = HOUSEHOLD.text.partition('name = "assistant"')
    abroad = parse(before + sink + after.replace('region = "household"', 'region = "eu"', 1), "abroad")
    path = store(
        tmp_path / "s",
        {
            "policies": [
                {**POLICY, "version": abroad.version, "text": abroad.text, "published_ns": 1},
                {**POLICY, "published_ns": 2},
            ],
            "streams": [stream("g1", "voice-query", "voice_query")],
            "events": [stored("voice_query", "public", "glasses.captured")],
            "decisions": [
                decided("voice_query", "public", "assistant", abroad, purpose="dpv:RequestedServiceProvision")
            ],
        },
    )
    with Store.open(path) as opened:
        answer, by_region = ropa(opened), transfers(opened)
        drafted = transfers(opened, load("enterprise"))
    assert {each.region: each.events for each in by_region.regions} == {"eu": 7, "household": 0}
    of = [each for each in answer.activities if each.activity == "assistant"]
    assert [(each.region, each.standing, each.events) for each in of] == [
        ("household", "unobserved", 0),
        ("eu", "former", 7),
    ]
    assert sum(each.events for each in drafted.regions if each.region == "eu") == 7


def test_the_notice_is_of_the_policy_that_decided_last_also_if_it_came_back(tmp_path: Path) -> None:
    query = stored("voice_query", "voice-assistant", "glasses.captured")
    path = store(
        tmp_path / "s",
        {
            "policies": [
                {**POLICY, "published_ns": 1},
                {**POLICY, "version": OTHER.version, "text": OTHER.text, "published_ns": 2},
            ],
            "streams": [stream("g1", "voice-query", "voice_query")],
            "events": [query],
            "decisions": [
                decided(
                    "voice_query", "voice-assistant", "assistant", purpose="dpv:RequestedServiceProvision"
                ),
                decided(
                    "voice_query",
                    "voice-assistant",
                    "processing",
                    OTHER,
                    purpose="dpv:RequestedServiceProvision",
                ),
            ],
        },
    )
    with Store.open(path) as opened:
        assert notice(opened).policy == ropa(opened).policy == f"household {HOUSEHOLD.version}"


def test_a_draft_is_told_before_it_is_published(spoilt: Path) -> None:
    with Store.open(spoilt, Role.of("privacy-officer")) as opened:
        now, clinic = notice(opened), notice(opened, load("clinic"))
    assert clinic.policy == f"clinic {load('clinic').version}"
    assert {change.text for change in clinic.changes if change.change == "gone"} == {
        each.text for each in now.says
    }
    assert {each.purpose for each in clinic.says} == {"dpv:RequestedServiceProvision"}, "nothing learns there"
    assert not any(each.category == "pd:Household" for each in clinic.says)


@pytest.mark.parametrize("name", ["household", "clinic", "enterprise"])
def test_every_word_of_the_shipped_policies_has_plain_words(name: str) -> None:
    words = load(name).vocabulary
    assert {*words.categories, *words.subjects, *words.purposes, *words.regions} <= WORDS.keys()


def test_a_word_of_a_policy_of_your_own_is_told_by_its_reason() -> None:
    words = load("household").vocabulary
    assert plain("local:NoExport", words) == words.local["local:NoExport"]
    assert plain("pd:Unheard", words) == "pd:Unheard"


def test_a_store_without_decisions_is_a_sentence(tmp_path: Path) -> None:
    path = store(tmp_path / "s", {"policies": [POLICY]})
    for question in (ropa, transfers, notice):
        with Store.open(path) as opened, pytest.raises(InputError, match="found no policy that decided"):
            question(opened)


def test_programs_ask_the_same(spoilt: Path) -> None:
    with (
        open_store(spoilt, role="privacy-officer") as opened,
        Store.open(spoilt, Role.of("privacy-officer")) as own,
    ):
        assert opened.ropa() == ropa(own)
        assert opened.transfers() == transfers(own)
        assert opened.notice() == notice(own)
        assert opened.notice(policy="clinic") == notice(own, load("clinic"))


def test_a_store_with_events_and_without_decisions_has_no_notice(tmp_path: Path) -> None:
    path = store(
        tmp_path / "s",
        {
            "policies": [POLICY],
            "streams": [stream("g1", "voice-query", "voice_query")],
            "events": [stored("voice_query", "voice-assistant", "glasses.captured")],
        },
    )
    with Store.open(path) as opened, pytest.raises(InputError, match="found no decision of a policy"):
        notice(opened)


def test_the_commands_print_the_record_and_one_of_it(spoilt: Path) -> None:
    where = ["--store", str(spoilt), "--role", "privacy-officer"]

    def run(*words: str) -> str:
        result = CliRunner().invoke(main, ["report", *words, *where])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert "flows undeclared  0" in run("ropa")
    assert "ai:ModelTraining" in run("ropa", "training-run")
    assert json.loads(run("ropa", "training-run", "--json"))["purpose"] == "ai:ModelTraining"
    assert "household" in run("transfers")
    assert "to train the assistant's model" in run("notice")
    assert "gone" in run("notice", "--policy", "clinic")
    unknown = CliRunner().invoke(main, ["report", "ropa", "nowhere", *where])
    assert (unknown.exit_code, "activity nowhere: found none of this name" in unknown.stderr) == (2, True)
    for words, sentence in (
        ([], "report: found no --out, expected a file to write; or ask ropa, transfers or notice"),
        (["--out", "x.html", "ropa"], "--out: found it beside ropa, which prints"),
    ):
        result = CliRunner().invoke(main, ["report", *words])
        assert (result.exit_code, sentence in result.stderr) == (2, True), result.output
