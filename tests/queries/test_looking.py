"""Questions about the whole store: against the oracle, and what they say to bad input."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from streams.audit_log import AUDIT_LOG
from streams.cli import ask
from streams.cli.asking import GROUPS
from streams.cli.main import main
from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.queries.changes import changes
from streams.queries.completeness import completeness
from streams.queries.crossings import crossings
from streams.queries.find import Wanted, find
from streams.queries.moments import moments_at
from streams.queries.reads import reads
from streams.queries.role import Role
from streams.queries.spread import Window, time_ns
from streams.queries.store import Store
from streams.queries.withdraw import withdrawal
from tests.queries.golden import asked
from tests.queries.pair import pair_of
from tests.snapshots.build import T0_NS, Row, edge, event, row, store, stream

DAY_NS = 86_400 * 10**9


def decision(sink: str, zone: str, count: int, at_ns: int, *, passed: bool = True) -> Row:
    of = {"source": "g1", "stream": "imu", "count": count, "zone": zone, "sink": sink, "passed": passed}
    return row("decisions", **of, at_ns=at_ns, wearer="w1", verdict="allow" if passed else "deny")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three epochs: activities of which one has no parent, and one a parent that is not stored."""
    return store(
        tmp_path_factory.mktemp("looking") / "s",
        {
            "streams": [stream("g1", "imu"), stream("g1", "activity", "activity", captured=False)],
            "events": [event("g1", "imu", 0, 10, wearer="w1", zone="health"), event("g1", "imu", 20, 10)],
            "decisions": [decision("store", "health", 4, T0_NS), decision("store", "health", 3, T0_NS + 10)],
        },
        {
            "events": [
                event("g1", "activity", 3 * n, 2, step=2, kind="activity", wearer="w1") for n in range(4)
            ],
            "edges": [
                edge(("g1", "activity", 0), ("g1", "imu", 0), child_count=2, child_step=2, parent_width=5),
                edge(("g1", "activity", 3), ("g1", "imu", 8), child_count=2, child_step=2, parent_step=12),
                edge(("g1", "activity", 6), ("g1", "imu", 9), child_count=2, child_step=2, parent_width=2),
            ],
            "decisions": [decision("export", "health", 2, T0_NS + DAY_NS, passed=False)],
        },
        {"events": [event("g1", "imu", 30, 7, zone="public", wearer="w2", t_first_ns=T0_NS + DAY_NS)]},
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return pair_of(tmp_path_factory.mktemp("looking-pair"))


def test_completeness_counts_outputs_whose_every_parent_is_stored(path: Path) -> None:
    with Store.open(path) as opened:
        answer = completeness(opened)
    assert (answer.outputs, answer.resolved, answer.without_parents) == (8, 4, 2)
    assert answer.percent == 50.0
    assert [each.first_unresolved for each in answer.streams] == ["g1/activity/6"]


def test_crossings_are_counted_by_zone_sink_and_span(path: Path) -> None:
    with Store.open(path) as opened:
        every = crossings(opened, every_ns=DAY_NS)
        late = crossings(opened, window=Window(since_ns=T0_NS + 11), sink="export")
        none = crossings(opened, zone="public")
    assert [(each.zone, each.sink, each.passed, each.events) for each in every.crossings] == [
        ("health", "store", True, 7),
        ("health", "export", False, 2),
    ]
    assert every.crossings.rows[0].t == rfc3339(T0_NS // DAY_NS * DAY_NS)
    assert (every.passed_events, every.stopped_events) == (7, 2)
    assert (late.stopped_events, len(late.crossings), len(none.crossings)) == (2, 1, 0)


def test_find_lists_runs_by_all_that_it_is_asked_for(path: Path) -> None:
    with Store.open(path) as opened:
        assert [each.id for each in find(opened, Wanted(wearer="w1", kind="imu")).runs] == ["g1/imu/0"]
        assert find(opened, Wanted(zone="public")).events == 10 + 8 + 7
        late = find(opened, Wanted(window=Window(since_ns=T0_NS + 1)))
        assert "zones health, public" in str(find(opened, Wanted(zone="nowhere")).says)
    # What began later and ended at T0 is in no span after it.
    assert late.events == 0


def test_changes_are_what_came_between_two_epochs(path: Path) -> None:
    with Store.open(path) as opened:
        first, last = moments_at(opened, "1", "FROM"), moments_at(opened, "3", "TO")
        answer = changes(opened, first, last)
        assert Counter({each.kind: each.events for each in answer.events}) == {"activity": 8, "imu": 7}
        assert [(each.sink, each.events) for each in answer.decisions] == [("export", 2)]
        assert not answer.streams.rows
        with pytest.raises(InputError, match="expected a later one"):
            changes(opened, last, first)


def test_moments_are_epochs_or_times(path: Path) -> None:
    with Store.open(path) as opened:
        assert moments_at(opened, rfc3339(T0_NS + DAY_NS), "TO")[0].epoch == 3
        (first,) = moments_at(opened, "1", "TO")
        assert moments_at(opened, rfc3339(first.published_ns), "TO")[0].published_ns == first.published_ns
        with pytest.raises(InputError, match=r"TO: epoch 77 is not kept .* nearest to it is kept epoch 3"):
            moments_at(opened, "77", "TO")
        with pytest.raises(InputError, match="FROM: found a time before the first epoch"):
            moments_at(opened, "1999-01-01", "FROM")
        with pytest.raises(InputError, match="--until: found another form"):
            moments_at(opened, "yesterday", "--until")
    assert time_ns("2025-07-20T10:26:40.5+02:00", "x") == 1_753_000_000_500_000_000


def test_reads_are_told_to_the_privacy_officer_alone(pair: tuple[Path, Path], tmp_path: Path) -> None:
    directory = tmp_path / "s"
    shutil.copytree(pair[0], directory, symlinks=True)
    (directory / AUDIT_LOG).unlink(missing_ok=True)
    for zone in ("health", "public"):
        asked(directory, "ask", "find", "--zone", zone)
    with (directory / AUDIT_LOG).open("ab") as log:
        log.write(b"no line of ours\n")
    with Store.open(directory, Role.of("privacy-officer")) as opened:
        answer = reads(opened)
        assert reads(opened, zone="public").reads == 0
        assert reads(opened, since_ns=2**62).reads == 0
    # A statement is on record with all that it may show.
    assert (answer.reads, answer.unreadable) == (2, 1)
    assert [each.question for each in answer.latest] == ["ask find --zone public", "ask find --zone health"]
    assert [(each.zone, each.role) for each in answer.by_zone] == [("health", "privacy-officer")]
    with (
        Store.open(directory, Role.of("analyst")) as opened,
        pytest.raises(InputError, match="is not shown who read what"),
    ):
        reads(opened)


def test_exports_are_told_whatever_they_hold(pair: tuple[Path, Path], tmp_path: Path) -> None:
    directory = tmp_path / "s"
    shutil.copytree(pair[0], directory, symlinks=True)
    (directory / AUDIT_LOG).unlink(missing_ok=True)
    statement, out = "SELECT zone FROM events", tmp_path / "out.csv"
    for role, to in (("analyst", []), ("analyst", ["--out", str(out)]), ("wearer:w1", ["--out", str(out)])):
        words = ["sql", statement, "--store", str(directory), "--role", role, *to]
        assert CliRunner().invoke(main, words).exit_code == 0
    with Store.open(directory, Role.of("privacy-officer")) as opened:
        answer = reads(opened)
    assert (answer.reads, answer.exports) == (2, 2), (
        "what is read without a file and a restricted zone is not"
    )
    assert [(each.role, each.question, each.exported) for each in answer.latest] == [
        ("wearer:w1", statement, True),
        ("analyst", statement, True),
    ]
    assert not answer.by_zone.rows


def test_an_export_that_cannot_be_recorded_writes_nothing(pair: tuple[Path, Path], tmp_path: Path) -> None:
    directory, out = tmp_path / "s", tmp_path / "out.csv"
    shutil.copytree(pair[0], directory, symlinks=True)
    (directory / AUDIT_LOG).unlink(missing_ok=True)
    (directory / AUDIT_LOG).mkdir()
    words = ["sql", "SELECT zone FROM events", "--store", str(directory), "--role", "analyst"]
    assert CliRunner().invoke(main, words).exit_code == 0
    refused = CliRunner().invoke(main, [*words, "--out", str(out)])
    assert refused.exit_code == 3
    assert "the export cannot be recorded" in refused.output
    assert not out.exists()


@pytest.mark.parametrize("role", ["analyst", "wearer:w1"])
def test_what_is_hidden_is_in_no_count(pair: tuple[Path, Path], role: str) -> None:
    answers = []
    for directory in pair:
        with Store.open(directory, Role.of(role)) as opened:
            first = moments_at(opened, "1", "FROM")
            answers.append(
                [
                    crossings(opened),
                    find(opened, Wanted()),
                    find(opened, Wanted(zone="health")),
                    find(opened, Wanted(subject="wearer")),
                    replace(
                        changes(opened, first, moments_at(opened, "2", "TO")),
                        after_published="",
                        upto_published="",
                    ),
                    withdrawal(opened, "w1"),
                ]
            )
    assert answers[0] == answers[1]


def test_a_role_is_shown_the_past_alike(pair: tuple[Path, Path]) -> None:
    counts = []
    for directory in pair:
        with Store.open(directory, Role.of("analyst")) as opened:
            now = find(opened, Wanted()).events
        with Store.open(directory, Role.of("analyst")) as opened:
            opened.look_back(1)
            counts.append((now, find(opened, Wanted()).events, find(opened, Wanted(kind="imu")).events))
    assert counts == [(167, 162, 150)] * 2
    past = asked(directory, "ask", "find", "--kind", "imu", "--as-of", "1", role="analyst")
    assert (past["epoch"], past["events"]) == (1, 150)
    gone = CliRunner().invoke(
        main, ["ask", "find", "--as-of", "99", "--store", str(directory), "--role", "analyst"]
    )
    assert gone.exit_code == 2
    assert "--as-of: epoch 99 is not kept" in gone.stderr


def test_a_withdrawal_is_decided_again_from_what_the_store_keeps(spoilt: Path) -> None:
    answer = asked(spoilt, "ask", "withdraw", "w1", "--what-if")
    by_sink = {each["sink"]: each for each in answer["sinks"]}
    assert answer["undecided"] == 0
    assert by_sink["glasses.derived"]["stopped"] > 0
    assert by_sink["glasses.derived"]["passed"] == 0
    # A word of hers about her rights needs no consent.
    assert by_sink["store"]["passed"] > 0


def test_every_question_has_a_line_in_the_help() -> None:
    listed = [name for lines in GROUPS.values() for name in lines]
    assert sorted(listed) == sorted(ask.command.commands)
    shown = CliRunner().invoke(main, ["ask", "--help"], terminal_width=80).stdout.splitlines()
    for lines in GROUPS.values():
        for name, line in lines.items():
            assert sum(each.split() == [name, *line.split()] for each in shown) == 1, name


def test_answers_are_tables_and_pictures_too(spoilt: Path) -> None:
    def shown(*words: str, code: int = 0) -> str:
        given = CliRunner().invoke(main, ["ask", *words, "--store", str(spoilt), "--role", "privacy-officer"])
        assert given.exit_code == code, given.output
        return given.stdout

    assert "first unresolved" in shown("completeness").replace("_", " ")
    assert "glasses.zoned" in shown("crossings", "--every", "always")
    assert "second order" not in shown("reach", "w1")
    assert "digraph" in shown("descendants", "g1/voice-query/0", "--format", "dot")
    assert "g1/answer/0" in shown("reached", "g1/voice-query/0", "g1/answer/0")
    no = shown("reached", "g1/answer/0", "g1/voice-query/0", code=1)
    assert "reached  no" in no
    assert "`sightline ask loop g1/answer/0`" in no
    assert "ask loop" not in shown("reached", "g1/voice-query/0", "g1/answer/0")
    assert shown("withdraw", "w1", "--what-if").endswith("What is stored stays.\n")
    statement = f"SELECT count(*) -- {'x' * 200}\nFROM events"
    CliRunner().invoke(main, ["sql", statement, "--store", str(spoilt), "--role", "privacy-officer"])
    read = next(line for line in shown("reads").splitlines() if "count(*) --" in line)
    assert len(read) < 200
    assert read.endswith("…")
    latest = asked(spoilt, "ask", "reads")["latest"]
    assert [each["question"] for each in latest if "count(*) --" in each["question"]] == [statement]
    assert "--what-if" in CliRunner().invoke(main, ["ask", "withdraw", "w1"]).stderr
