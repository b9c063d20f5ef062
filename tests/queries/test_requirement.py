"""How requirements stand: against decisions drawn one by one, and what is said of a draft."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from streams.audit_log import AUDIT_LOG
from streams.cli.main import main
from streams.errors import InputError
from streams.policy.diff import every_combination
from streams.policy.load import load, parse
from streams.policy.policy import Policy
from streams.queries.answers import Bounded
from streams.queries.requirement import Shares, requirement, requirements
from streams.queries.store import Store
from tests.queries.golden import asked
from tests.queries.test_reach import FEW
from tests.snapshots.build import HOUSEHOLD, POLICY, T0_NS, Row, row, store

HEALTH = "nobody-learns-from-health"
DAY_NS = 86_400 * 10**9
_TABLE = f'[[requirements]]\nname = "{HEALTH}"'
#: A policy as it was before it had the requirement, and one that only logs in health, under another id.
BEFORE = parse(HOUSEHOLD.text.replace(_TABLE, '[[requirements]]\nname = "of-old"'), "before")
NEWEST = parse(
    HOUSEHOLD.text.replace(_TABLE, f'{_TABLE}\nowner = "dpo@household"\nproof = "audits/2026-11"'), "newest"
)
#: What is health, by the vocabulary's own words: kind and zone.
PLACES = {
    ("ppg", "public"): True,
    ("ppg", "health"): True,
    ("imu", "public"): False,
    ("gaze", "home-private"): False,
}
SINKS = {"store": "serve", "training-run": "train", "processing": "serve"}
#: What is a sink of no policy.
NOWHERE = "nowhere"


class Drawn(NamedTuple):
    """One decision."""

    policy: Policy
    place: tuple[str, str]
    sink: str
    verdict: str
    mode: str
    events: int
    age_ns: int

    @property
    def passed(self) -> bool:
        return self.verdict == "allow" or (self.verdict == "deny" and self.mode == "logging")

    @property
    def forbidden(self) -> bool:
        return PLACES[self.place] and SINKS.get(self.sink) == "train"

    @property
    def checked(self) -> str:
        if self.policy is BEFORE:
            return "not-checked"
        return "logged" if self.mode == "logging" else "enforced"

    def row(self, number: int) -> Row:
        kind, zone = self.place
        return row(
            "decisions",
            source=f"g{number % 2}",
            stream=kind if number % 3 else f"{kind}~2",
            first=1000 * number,
            count=self.events,
            zone=zone,
            label=(self.policy.label_of(kind, zone) or b"").hex(),
            policy_version=self.policy.version,
            sink=self.sink,
            verdict=self.verdict,
            passed=self.passed,
            mode=self.mode,
            at_ns=T0_NS - self.age_ns,
        )


def decisions_of(seed: int) -> list[Drawn]:
    """Decisions of all sorts; Hypothesis itself would begin with many that are alike."""
    draw = random.Random(seed)
    return [
        Drawn(
            draw.choice((BEFORE, HOUSEHOLD, NEWEST)),
            draw.choice(sorted(PLACES)),
            draw.choice((*SINKS, "training-run", NOWHERE)),
            draw.choice(("allow", "deny")),
            draw.choice(("enforcing", "logging")),
            draw.randint(1, 9),
            draw.choice((0, DAY_NS // 2, DAY_NS - 1, DAY_NS, 3 * DAY_NS)),
        )
        for _ in range(60)
    ]


def policy_row(policy: Policy) -> Row:
    return POLICY | {"version": policy.version, "text": policy.text}


def made(path: Path, decisions: list[Drawn], *more: Row) -> Path:
    newest = Drawn(NEWEST, ("imu", "public"), "store", "allow", "enforcing", 1, 0).row(999)
    shared = ("source", "stream", "first", "count", "zone", "label", "policy_version")
    rows = [each.row(number) for number, each in enumerate(decisions)]
    return store(
        path,
        {
            "decisions": [*rows, *more, newest],
            "events": [row("events", kind="imu", **{name: newest[name] for name in shared})],
            "policies": [policy_row(policy) for policy in (BEFORE, HOUSEHOLD, NEWEST)],
        },
    )


@FEW
@given(seed=st.integers(0, 2**32 - 1))
def test_a_requirement_stands_as_its_decisions_one_by_one_say(seed: int) -> None:
    decisions = decisions_of(seed)
    with (
        tempfile.TemporaryDirectory() as name,
        Store.open(made(Path(name) / "s", decisions)) as opened,
    ):
        answer = requirement(opened, HEALTH)
        lines = {each.requirement: each for each in requirements(opened).requirements}
    mine = [each for each in decisions if PLACES[each.place] and each.sink != NOWHERE]
    whole = sum(each.events for each in mine)
    violating = [each for each in mine if each.passed and each.forbidden]
    recent = sum(each.events for each in violating if each.age_ns < DAY_NS)
    shares = Counter[str]()
    flows = Counter[tuple[str, str, str, bool, bool]]()
    for each in mine:
        shares[each.checked] += each.events
        flows[each.place[1], each.sink, each.checked, not each.forbidden, each.passed] += each.events
    assert answer.concerned == whole
    assert answer.not_judged == sum(each.events for each in decisions if each.sink == NOWHERE)
    assert answer.violations == sum(each.events for each in violating)
    assert answer.violations_last_day == recent
    assert answer.stopped == sum(each.events for each in mine if each.forbidden and not each.passed)
    if whole:
        told = (answer.percent.enforced, answer.percent.logged, answer.percent.not_checked)
        parts = [shares[name] for name in ("enforced", "logged", "not-checked")]
        assert told == pytest.approx([100 * part / whole for part in parts], abs=1e-4)
    assert {(f.zone, f.sink, f.checked, f.holds, f.passed): f.events for f in answer.flows} == flows
    numbers = [number for number, each in enumerate(decisions) if each in mine]
    kinds = {decisions[number].place[0] for number in numbers}
    assert {each.stream: (each.sources, each.events) for each in answer.streams} == {
        kind: (
            len({number % 2 for number in numbers if decisions[number].place[0] == kind}),
            sum(decisions[number].events for number in numbers if decisions[number].place[0] == kind),
        )
        for kind in kinds
    }
    ids = Counter(
        f"{drawn['source']}/{drawn['stream']}/{drawn['first']}"
        for drawn in (each.row(number) for number, each in enumerate(decisions) if each in violating)
    )
    assert Counter(each.id for each in answer.open_violations) == ids
    logged = Counter[str]()
    for each in decisions:
        if each.sink == "training-run" and each.passed and each.verdict == "deny" and each not in violating:
            logged[each.place[1]] += each.events
    assert {each.zone: each.by_all - each.by_requirement for each in answer.enforcing_stops} == {
        zone: logged[zone] for zone in {each.place[1] for each in violating}
    }
    line = lines[HEALTH]
    old = [each for each in mine if each.age_ns >= DAY_NS]
    if old:
        part = sum(each.events for each in old if each.checked == "enforced")
        assert line.enforced_percent_before == pytest.approx(
            100 * part / sum(each.events for each in old), abs=1e-4
        )
    assert (line.concerned, line.violations, line.violations_last_day) == (whole, answer.violations, recent)


def test_a_list_says_what_is_new_reworded_and_dropped(tmp_path: Path) -> None:
    old = Drawn(BEFORE, ("imu", "public"), "store", "allow", "enforcing", 1, 2 * DAY_NS)
    words = NEWEST.text.replace("'minor' in subjects\"\nrequire", "'bystander' in subjects\"\nrequire")
    with Store.open(made(tmp_path / "s", [old])) as opened:
        answer = requirements(opened, parse(words, "draft"))
        owner = requirement(opened, HEALTH)
        with pytest.raises(InputError, match=f"has no such requirement; did you mean {HEALTH}"):
            requirement(opened, "nobody-learns-from-healt")
    assert {each.requirement: each.changed for each in answer.requirements} == {
        "bystanders-are-only-answered-about": "",
        "children-are-never-profiled": "reworded",
        HEALTH: "new",
    }
    assert answer.dropped == ("of-old",)
    assert (owner.owner, owner.proof) == ("dpo@household", "audits/2026-11")
    assert owner.streams == Bounded(())


def test_what_was_captured_has_the_labels_of_the_draft(tmp_path: Path) -> None:
    """What is derived keeps its own, so of two gazes that were decided about alike one becomes health."""
    gaze = Drawn(HOUSEHOLD, ("gaze", "home-private"), "training-run", "allow", "enforcing", 5, 0)
    at_home = next(
        each
        for each in every_combination()
        if each.kind == "gaze" and HOUSEHOLD.tag(each).zone == gaze.place[1]
    )
    captured = gaze.row(7) | {"attributes": at_home.text()}
    told = 'gaze = { categories = ["'
    assert told in HOUSEHOLD.text
    draft = parse(HOUSEHOLD.text.replace(told, f'{told}pd:Health", "'), "draft")
    with Store.open(made(tmp_path / "s", [gaze], captured)) as opened:
        now, then = requirement(opened, HEALTH), requirement(opened, HEALTH, draft)
    assert (now.concerned, then.concerned, then.violations) == (0, 5, 5)
    assert [each.id for each in then.open_violations] == ["g1/gaze/7000"]
    assert then.percent == Shares(100.0, 0.0, 0.0)


def test_a_draft_is_asked_before_it_is_published(spoilt: Path, tmp_path: Path) -> None:
    draft = tmp_path / "draft.toml"
    text = load("household").text
    rule = "purpose != 'ai:ModelTraining'\"\n\n"
    draft.write_text(text.replace(rule, "purpose == 'x'\"\n\n", 1))
    refused = CliRunner().invoke(
        main, ["requirement", HEALTH, "--policy", str(draft), "--role", "analyst", "--store", str(spoilt)]
    )
    assert refused.exit_code == 2
    assert "is a word that nothing here can be" in refused.stderr
    stricter = text.replace(rule, "sink != 'glasses.derived'\"\n\n", 1)
    everybody = "when = \"'pd:Health' in categories || 'pd:PhysicalHealth' in categories\""
    assert everybody in stricter
    draft.write_text(stricter.replace(everybody, "when = \"'wearer' in subjects\""))
    answer = asked(spoilt, "requirement", HEALTH, "--policy", str(draft))
    assert asked(spoilt, "requirement", HEALTH)["violations"] == 0
    assert answer["percent"]["not_checked"] == 100.0
    assert answer["violations"] > 0
    assert {each["sink"] for each in answer["open_violations"]} == {"glasses.derived"}
    assert sum(each["by_requirement"] for each in answer["enforcing_stops"]) == answer["violations"]
    log = (spoilt / AUDIT_LOG).read_text(encoding="utf-8")
    assert f'"question":"requirement {HEALTH} --policy {draft}"' in log
