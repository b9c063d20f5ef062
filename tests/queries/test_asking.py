"""Programs of others ask a store for a role; what they are given is the commands' answers and tables."""

from __future__ import annotations

import builtins
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import orjson
import pytest

import streams
from streams import Answer, InputError, OpenStore, UnavailableError, limits, open_store, unfiltered
from streams.policy.load import parse
from tests.queries.golden import asked
from tests.queries.test_answers import ID, looped
from tests.snapshots.build import POLICY, event, store, stream, tagged

__all__ = ["looped"]
OFFICER = "privacy-officer"
#: By the words of the command.
QUESTIONS: Mapping[tuple[str, ...], Callable[[OpenStore], Answer]] = {
    ("ancestors", ID): lambda opened: opened.ancestors(ID),
    ("ancestors", ID, "--through-models", "--all"): lambda opened: opened.ancestors(ID, through_models=True),
    ("ancestors", ID, "--through-models"): lambda opened: opened.generations(ID),
    ("why", ID): lambda opened: opened.why(ID),
    ("loop", ID): lambda opened: opened.loop(ID),
    ("missing",): OpenStore.missing,
    ("creep",): OpenStore.creep,
    ("superseded",): OpenStore.superseded,
    ("usage", "--by", "zone"): lambda opened: opened.usage("zone"),
    ("card", "training/intent-model/1"): lambda opened: opened.card("training/intent-model/1"),
    ("wearer", "w1"): lambda opened: opened.wearer("w1"),
    ("decisions", ID): lambda opened: opened.decisions(ID),
    ("descendants", ID, "--depth", "2"): lambda opened: opened.descendants(ID, depth=2),
    ("reached", ID, ID): lambda opened: opened.reached(ID, ID),
    ("reach", "w1"): lambda opened: opened.reach("w1"),
    ("withdraw", "w1", "--what-if"): lambda opened: opened.withdrawal("w1"),
    ("find", "--wearer", "w1", "--until", "2100-01-01T00:00:00Z"): lambda opened: opened.find(
        wearer="w1", until="2100-01-01T00:00:00Z"
    ),
    ("crossings", "--every", "day"): lambda opened: opened.crossings(every="day"),
    ("completeness",): OpenStore.completeness,
    ("io-coverage",): OpenStore.io_coverage,
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three events of w1: one for everybody, one at home, one with somebody near."""
    zones = ("public", "home-private", "bystander-present")
    rows = [
        event("g1", "imu-right", number, wearer="w1", **tagged("imu", zone))
        for number, zone in enumerate(zones)
    ]
    tables = {"policies": [POLICY], "streams": [stream("g1", "imu-right", "imu")], "events": rows}
    return store(tmp_path_factory.mktemp("asking") / "s", tables)


@pytest.mark.parametrize("role", [{}, {"role": ""}])
def test_a_store_without_a_role_is_a_sentence(path: Path, role: dict[str, str]) -> None:
    with pytest.raises(
        InputError, match=r"found no role, expected one of role='analyst'.*unfiltered"
    ) as refused:
        open_store(path, **role)
    assert str(path) in str(refused.value)


def test_a_role_that_is_none_and_a_store_that_is_none_are_sentences(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found 'boss', expected analyst"):
        open_store(path, role="boss")
    with pytest.raises(UnavailableError, match="there is no store"):
        open_store(tmp_path, role=OFFICER)


def last_read(path: Path) -> str:
    """The question that was put on record last, and its file emptied."""
    log = path / "reads.jsonl"
    lines = log.read_bytes().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return str(orjson.loads(lines[-1])["question"]) if lines else ""


def test_each_question_is_on_record_as_that_of_the_command_is(path: Path) -> None:
    until = "2100-01-01T00:00:00Z"
    about = "g1/imu-right/2"
    questions: Mapping[tuple[str, ...], Callable[[OpenStore], Answer]] = {
        ("why", about): lambda opened: opened.why(about),
        ("decisions", about): lambda opened: opened.decisions(about),
        ("descendants", about, "--depth", "2", "--until", until): lambda opened: opened.descendants(
            about, depth=2, until=until
        ),
        ("find", "--wearer", "w1", "--kind", "imu", "--until", until): lambda opened: opened.find(
            wearer="w1", kind="imu", until=until
        ),
        ("reach", "w1"): lambda opened: opened.reach("w1"),
        ("withdraw", "w1", "--what-if"): lambda opened: opened.withdrawal("w1"),
        ("crossings", "--every", "day"): lambda opened: opened.crossings(every="day"),
        ("requirement", "no-model-learns-from-people", "--policy", "clinic"): lambda opened: (
            opened.requirement("no-model-learns-from-people", policy="clinic")
        ),
        ("requirements",): OpenStore.requirements,
    }
    recorded = set()
    for words, question in questions.items():
        for as_of in ("", until):
            group = () if words[0].startswith("requirement") else ("ask",)
            asked(path, *group, *words, *(["--as-of", as_of] if as_of else []))
            by_command = last_read(path)
            with open_store(path, role=OFFICER, as_of=as_of) as opened:
                question(opened)
            assert last_read(path) == by_command, words
            recorded.add(by_command)
    assert f"ask find --wearer w1 --kind imu --until {until} --as-of {until}" in recorded


def test_each_question_answers_what_the_command_prints(looped: Path) -> None:
    for words, question in QUESTIONS.items():
        with open_store(str(looped), role=OFFICER) as opened:
            plain = {**question(opened).to_dict(), "role": opened.role, "hidden": opened.hidden}
        assert orjson.loads(orjson.dumps(plain)) == asked(looped, "ask", *words), words


def test_a_role_is_shown_its_rows_and_the_rest_is_counted(path: Path) -> None:
    with unfiltered(path) as opened:
        every = {row["zone"] for row in opened.sql("SELECT zone FROM events").to_dicts()}
        assert (opened.role, opened.hidden) == ("", {})
    assert every == {"public", "home-private", "bystander-present"}
    with open_store(path, role="analyst") as opened:
        rows = opened.sql("SELECT zone FROM events").to_dicts()
        assert {row["zone"] for row in rows} < every
        assert opened.hidden == {"events": "1-9"}
    with open_store(path, role="wearer:w2") as opened:
        with pytest.raises(InputError, match="shown no such event"):
            opened.why("g1/imu-right/1")
        assert not len(opened.sql("FROM events"))


def test_what_is_shown_of_restricted_zones_is_recorded(path: Path) -> None:
    log = path / "reads.jsonl"
    log.unlink(missing_ok=True)
    with unfiltered(path) as opened:
        opened.why("g1/imu-right/2")
        opened.sql("FROM events")
    with open_store(path, role="analyst") as opened:
        opened.sql("SELECT zone FROM events")
    assert not log.exists()
    with open_store(path, role=OFFICER) as opened:
        opened.why("g1/imu-right/2")
        opened.sql("SELECT zone FROM events")
    questions = [orjson.loads(line)["question"] for line in log.read_bytes().splitlines()]
    assert questions == ["ask why g1/imu-right/2", "SELECT zone FROM events"]


def test_what_cannot_be_recorded_is_not_handed_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr("streams.files.append", full)
    with open_store(path, role=OFFICER) as opened:
        for question in (lambda: opened.why("g1/imu-right/2"), lambda: opened.sql("FROM events")):
            with pytest.raises(UnavailableError, match="cannot be recorded"):
                question()


def test_a_table_is_all_rows_in_arrow_and_stays(path: Path) -> None:
    with open_store(path, role=OFFICER) as opened:
        table = opened.sql("SELECT zone, sum(count) AS n FROM events GROUP BY zone ORDER BY zone")
        many = opened.sql("SELECT range AS n FROM range(200_000)")
        big = opened.sql("SELECT sum(9223372036854775807) AS n FROM range(2)")
    assert table.columns == ("zone", "n")
    assert table.to_dicts()[1] == {"zone": "home-private", "n": 1}
    assert str(table.arrow().schema.field("n").type) == "int64"
    assert (len(many), many.arrow()["n"].to_pylist()) == (200_000, list(range(200_000)))
    assert big.to_dicts() == [{"n": 2 * (2**63 - 1)}]


@pytest.mark.parametrize(("package", "method"), [("pandas", "df"), ("polars", "pl")])
def test_tables_go_into_packages_that_are_there_and_say_which_are_not(
    path: Path, package: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unfiltered(path) as opened:
        table = opened.sql("SELECT zone, number FROM event_records ORDER BY number")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, package, None)
        with pytest.raises(
            UnavailableError, match=rf"table.{method}\(\): the package {package} is not installed"
        ):
            getattr(table, method)()
    pytest.importorskip(package, reason=f"{package} is no dependency of ours")
    frame = getattr(table, method)()
    assert list(frame["number"]) == [0, 1, 2]
    assert list(frame["zone"]) == ["public", "home-private", "bystander-present"]


def test_a_statement_is_refused_without_a_value_of_the_store(path: Path) -> None:
    late = "SELECT if(number < 2, '1', zone)::INTEGER FROM event_records"
    with unfiltered(path) as opened:
        for text in ("SELECT zone::INTEGER FROM events", late):
            with pytest.raises(InputError, match="stopped with a ConversionException") as refused:
                opened.sql(text)
            assert "bystander" not in str(refused.value)
        for text in ("DELETE FROM events", "FROM read_text('/etc/passwd')", "SELECT nothing FROM events"):
            with pytest.raises(InputError):
                opened.sql(text)


def test_a_table_that_is_too_large_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TABLE_MB", 1)
    with unfiltered(path) as opened:
        assert len(opened.sql("SELECT range FROM range(100_000)")) == 100_000
        with pytest.raises(InputError, match="found an answer of more than 1 MB"):
            opened.sql("SELECT range FROM range(10_000_000)")


def test_importing_the_package_loads_nothing_and_a_name_what_it_needs() -> None:
    def loaded(line: str) -> set[str]:
        text = f"import sys\nbefore = set(sys.modules)\n{line}\nprint(*(set(sys.modules) - before))"
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    assert loaded("import streams") - loaded("import importlib, typing, __future__") == {"streams"}
    errors = loaded("from streams import InputError")
    assert "streams.errors" in errors
    assert not {"duckdb", "pyarrow", "msgspec"} & errors
    assert not {"pyarrow", "numpy"} & loaded("from streams import open_store")


def test_a_name_that_is_none_is_an_error_of_the_language() -> None:
    assert isinstance(streams, ModuleType)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = streams.nothing
    assert set(streams.__all__) <= set(dir(streams))
    assert not set(streams.__all__) & set(dir(builtins))


def test_the_last_policy_is_the_one_that_came_last_whatever_the_role(tmp_path: Path) -> None:
    later = parse(f"{POLICY['text']}\n# later\n", "later")
    # It came last, although it says that it was published first.
    published = {"version": later.version, "text": later.text, "published_ns": POLICY["published_ns"] - 1}
    path = store(tmp_path / "s", {"policies": [POLICY]}, {"policies": [POLICY | published]})
    for role in ("analyst", "privacy-officer", "wearer:w1"):
        with open_store(path, role=role) as opened:
            assert opened.last_policy() == (later.version, later.text)
    with open_store(path, role="analyst", as_of="1") as past:
        assert past.last_policy() == (POLICY["version"], POLICY["text"])
