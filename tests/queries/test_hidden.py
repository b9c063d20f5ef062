"""No side door in the questions: a hidden id and one that does not exist get the same answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from streams.cli.main import main
from streams.errors import InputError
from streams.queries import questions
from streams.queries.between import between
from streams.queries.decided import decided
from streams.queries.descendants import descendants
from streams.queries.generations import generations
from streams.queries.loop import loop
from streams.queries.missing import CapturedStream, Missing, MissingRun, StreamInPart, missing
from streams.queries.reach import reach
from streams.queries.role import Role, RoleFilter
from streams.queries.store import Store
from tests.queries.pair import OFFER, pair_of
from tests.snapshots.build import POLICY, edge, event, row, store, stream, tagged

ROLES = ("analyst", "wearer:w1")
QUESTIONS: dict[str, Callable[[Store, str], object]] = {
    "ancestors": questions.ancestors,
    "ancestors through models": lambda store, identity: questions.ancestors(
        store, identity, through_models=True
    ),
    "generations": generations,
    "why": questions.why,
    "loop": loop,
    "genuine": lambda store, identity: questions.genuine(store, identity, "d" * 32),
    "genuine of another value": lambda store, identity: questions.genuine(store, identity, "0" * 32),
    "decided": questions.decisions,
    "descendants": descendants,
    "descendants through models": lambda store, identity: descendants(store, identity, through_models=True),
    "reached": lambda store, identity: between(store, identity, "g1/activity/0"),
    "reached from": lambda store, identity: between(store, "g1/imu/3", identity),
    "decisions": decided,
    "reach": reach,
}
#: Of hidden streams, of hidden runs in a stream that is shown in part, beside them, of a device nobody knows.
IDS = ("g1/imu/120", "g1/imu/9999", "g2/imu/100", "g2/ppg/17", "g2/ppg/9999", "g2/odd/5000", "g9/imu/1")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return pair_of(tmp_path_factory.mktemp("hidden"))


@pytest.fixture(scope="module")
def opened(pair: tuple[Path, Path]) -> Iterator[dict[tuple[int, str], Store]]:
    """Both stores by number and role; none of these answers adds to what is said to be hidden."""
    with ExitStack() as stack:
        yield {
            (number, role): stack.enter_context(Store.open(path, Role.of(role)))
            for number, path in enumerate(pair)
            for role in (*ROLES, "privacy-officer")
        }


def said(store: Store, question: str, identity: str) -> str:
    """Answer or sentence, and what is said to be hidden, without the names of the store and of the id."""
    try:
        answer = str(QUESTIONS[question](store, identity))
    except InputError as error:
        answer = f"refused: {error}"
    return f"{answer} {store.hidden}".replace(str(store.parts[0].directory), "STORE").replace(identity, "ID")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("question", QUESTIONS)
def test_hidden_and_absent_are_told_alike(
    opened: dict[tuple[int, str], Store], role: str, question: str
) -> None:
    whole = [said(opened[0, role], question, identity) for identity in IDS]
    (outcome,) = {OFFER.sub("", each) for each in whole}
    assert outcome.startswith("[] {}" if question == "decided" else "refused: ID: the role ")
    # Where all is shown a record is said not to be ours.
    if not question.startswith("genuine"):
        assert [said(opened[1, role], question, identity) for identity in IDS] == whole


def test_the_nearest_that_is_shown_is_offered(opened: dict[tuple[int, str], Store]) -> None:
    offered = {}
    for identity in (*IDS, "g1/imu/130", "g1/imu/3.1", "g1/voice-quarry/7", "g1/activity/4000"):
        (offer,) = OFFER.findall(said(opened[0, "analyst"], "why", identity)) or [""]
        offered[identity] = offer.rpartition(" ")[2]
    assert offered == {
        "g1/imu/120": "g1/imu/99",
        "g1/imu/130": "g1/imu/150",
        "g1/imu/9999": "g1/imu/304",
        "g1/imu/3.1": "g1/imu/3",
        "g1/voice-quarry/7": "g1/voice-query/2",
        "g1/activity/4000": "g1/activity/8",
        # Of a stream of which it is shown nothing, the one with the most similar name.
        "g2/imu/100": "g1/imu/99",
        "g2/ppg/17": "",
        "g2/ppg/9999": "",
        "g2/odd/5000": "",
        "g9/imu/1": "g1/imu/1",
    }


def test_what_is_hidden_is_not_offered_whatever_its_zone(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RoleFilter, "is_restricted", lambda *_: False)
    for path in pair:
        with Store.open(path, Role("analyst")) as store:
            assert OFFER.findall(said(store, "why", "g1/imu/120"))[0].endswith(" g1/imu/99")


def test_nothing_of_a_restricted_zone_is_offered(opened: dict[tuple[int, str], Store]) -> None:
    """A read of one is on record, and who asks for what is not there reads nothing."""
    officer = opened[0, "privacy-officer"]
    assert "nearest event that it is shown is g1/imu/304" in said(officer, "why", "g1/imu/400")
    # g1/imu/100..149 is of zone health, which she may see and which is restricted.
    assert "id=" in said(officer, "why", "g1/imu/120")
    assert "g1/imu/99" in said(officer, "why", "g1/imu/101.7")
    assert "nearest" not in said(officer, "why", "g2/ppg/9999")


def test_commands_say_it_in_one_sentence(pair: tuple[Path, Path]) -> None:
    for asked in (("ask", "why"), ("policy", "explain")):
        results = [
            CliRunner().invoke(main, [*asked, identity, "--store", str(pair[0]), "--role", "analyst"])
            for identity in ("g2/imu/100", "g2/imu/777")
        ]
        assert {(one.exit_code, one.stdout) for one in results} == {(2, "")}
        first, second = (OFFER.sub("", one.stderr) for one in results)
        assert first == second.replace("g2/imu/777", "g2/imu/100")


@pytest.mark.parametrize("role", ROLES)
def test_missing_names_no_number_of_a_stream_that_is_shown_in_part(
    pair: tuple[Path, Path], role: str
) -> None:
    answers: list[Missing] = []
    hidden: list[dict[str, str]] = []
    for path in pair:
        with Store.open(path, Role.of(role)) as opened:
            answers.append(missing(opened))
            hidden.append(opened.hidden)
    hiding, without = answers
    assert hiding.not_shown_whole.rows == (StreamInPart("g1", "imu", "imu"),)
    assert without.not_shown_whole.rows == ()
    assert ("g1", "imu") not in [(row.source, row.stream) for row in hiding.streams]
    assert (
        CapturedStream("g1", "imu", "imu", highest=304, stored=155, rejected=0, expired=0)
        in without.streams.rows
    )
    assert without.missing.rows == (
        MissingRun("g1", "imu", first=100, count=50, malformed=0),
        MissingRun("g1", "imu", first=200, count=100, malformed=0),
    )
    assert (hiding.missing.rows, hiding.missing_events) == ((), 0)
    assert hidden == [{"streams": "1-9"}, {}]
    assert (hiding.collisions, hiding.offsets) == (without.collisions, without.offsets)


def test_a_record_is_not_ours_where_its_whole_stream_is_shown(
    opened: dict[tuple[int, str], Store],
) -> None:
    for number in (0, 1):
        assert "no agent wrote it" in said(opened[number, "analyst"], "genuine", "g1/voice-query/77")
    assert "genuine=True" in said(opened[0, "privacy-officer"], "genuine", "g1/imu/100")


def test_what_a_model_answered_in_hidden_zones_is_not_counted(tmp_path: Path) -> None:
    answers = [
        event("g1", "answer", n, **tagged("voice_query", zone, wearer="w1") | {"kind": "answer"})
        for n, zone in enumerate(["voice-assistant"] * 3 + ["health"] * 40)
    ]
    model = tagged("voice_query", "voice-assistant")
    path = store(
        tmp_path / "s",
        {
            "events": [*answers, event("training", "m", 1, **model | {"kind": "model"})],
            "edges": [edge(("g1", "answer", n), ("training", "m", 1), operator="answer") for n in range(43)],
            "models": [
                row("models", source="training", stream="m", version=1)
                | {name: model[name] for name in ("zone", "label", "policy_version")}
            ],
            "streams": [
                stream("g1", "answer", "answer", captured=False),
                stream("training", "m", "model", captured=False),
            ],
            "policies": [POLICY],
        },
    )

    def answered(role: str) -> int:
        found = CliRunner().invoke(
            main, ["ask", "loop", "training/m/1", "--store", str(path), "--role", role, "--json"]
        )
        (generation,) = orjson.loads(found.stdout)["generations"]
        count: int = generation["answers"]
        return count

    assert (answered("analyst"), answered("privacy-officer")) == (3, 43)
