"""Answers of questions are values that nobody changes, and the JSON of commands is made of them."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from msgspec import Struct

from streams.queries import questions
from streams.queries.answers import Answer, Bounded
from streams.queries.card import card
from streams.queries.changes import changes
from streams.queries.completeness import completeness
from streams.queries.creep import creep
from streams.queries.crossings import crossings
from streams.queries.decided import decided
from streams.queries.descendants import descendants
from streams.queries.find import Wanted, find
from streams.queries.generations import generations
from streams.queries.io_coverage import io_coverage
from streams.queries.loop import loop
from streams.queries.missing import missing
from streams.queries.moments import moments_at
from streams.queries.overview import overview
from streams.queries.reach import reach
from streams.queries.reads import reads
from streams.queries.role import Role
from streams.queries.spread import Window
from streams.queries.store import Store
from streams.queries.superseded import superseded
from streams.queries.usage import usage
from streams.queries.wearer import wearer
from streams.queries.withdraw import withdrawal
from tests.queries.golden import asked
from tests.queries.test_questions import loop_edges, loop_rows
from tests.snapshots.build import store

ROOT = Path(__file__).parent.parent.parent
ID = "g1/answer/1"
#: By the words of the command.
QUESTIONS: dict[tuple[str, ...], Callable[[Store], Answer]] = {
    ("ancestors", ID): lambda opened: questions.ancestors(opened, ID),
    ("ancestors", ID, "--through-models"): lambda opened: generations(opened, ID),
    ("why", ID): lambda opened: questions.why(opened, ID),
    ("why", "g1/imu/105"): lambda opened: questions.why(opened, "g1/imu/105"),
    ("genuine", ID, "0" * 32): lambda opened: questions.genuine(opened, ID, "0" * 32),
    ("loop", "g1/answer/0"): lambda opened: loop(opened, "g1/answer/0"),
    ("loop", ID): lambda opened: loop(opened, ID),
    ("missing",): missing,
    ("creep",): creep,
    ("superseded",): superseded,
    ("usage",): usage,
    ("usage", "--by", "wearer"): lambda opened: usage(opened, "wearer"),
    ("card", "training/intent-model/1"): lambda opened: card(opened, "training/intent-model/1"),
    ("wearer", "w1"): lambda opened: wearer(opened, "w1"),
    ("descendants", "g1/imu/3"): lambda opened: descendants(opened, "g1/imu/3"),
    ("descendants", "g1/imu/3", "--through-models"): lambda opened: descendants(
        opened, "g1/imu/3", through_models=True
    ),
    ("reach", "w1"): lambda opened: reach(opened, "w1"),
    ("reach", "training/intent-model/1"): lambda opened: reach(opened, "training/intent-model/1"),
    ("withdraw", "w1", "--what-if"): lambda opened: withdrawal(opened, "w1"),
    ("decisions", ID): lambda opened: decided(opened, ID),
    ("find", "--zone", "home-private", "--until", "2100-01-01"): lambda opened: find(
        opened, Wanted(zone="home-private", window=Window(until_ns=4_102_444_800 * 10**9))
    ),
    ("crossings", "--every", "always"): lambda opened: crossings(opened, every_ns=2**62),
    ("changes", "1", "2"): lambda opened: changes(
        opened, moments_at(opened, "1", "FROM"), moments_at(opened, "2", "TO")
    ),
    ("completeness",): completeness,
    ("io-coverage",): io_coverage,
    ("reads",): reads,
}


@pytest.fixture(scope="module")
def looped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = loop_rows()
    rows["events"] = [row | {"wearer": "w1", "label": "0" * 32} for row in rows["events"]]
    rows["models"] = [row | {"label": "0" * 32} for row in rows["models"]]
    return store(tmp_path_factory.mktemp("answers") / "s", rows, {"edges": loop_edges()})


def frozen_through(value: object) -> bool:
    """Whether nothing in a value can be set or put into it, mappings aside."""
    if isinstance(value, Struct):
        return value.__struct_config__.frozen and all(
            frozen_through(getattr(value, name)) for name in value.__struct_fields__
        )
    if isinstance(value, tuple):
        return all(map(frozen_through, value))
    return not isinstance(value, list | set)


def test_an_answer_is_frozen_and_its_dict_is_what_the_command_prints(looped: Path) -> None:
    for words, question in QUESTIONS.items():
        with Store.open(looped, Role("privacy-officer")) as opened:
            answer = question(opened)
            hidden = opened.hidden
        assert frozen_through(answer), words
        if words[0] == "genuine":
            continue
        printed = asked(looped, "ask", *words)
        assert list(printed) == [*answer.to_dict(), "role", "hidden"], words
        assert printed == orjson.loads(
            orjson.dumps({**answer.to_dict(), "role": "privacy-officer", "hidden": hidden})
        ), words
    with Store.open(looped) as opened:
        assert frozen_through(overview(opened))


def test_a_list_of_an_answer_says_how_much_is_beyond_it() -> None:
    class Numbers(Answer, frozen=True, kw_only=True):
        numbers: Bounded[int]

    numbers = Bounded.of(range(1007))
    assert (len(numbers), numbers.more, list(numbers)[:2]) == (1000, 7, [0, 1])
    plain = Numbers(numbers=numbers).to_dict()
    assert (list(plain), plain["numbers_more"]) == (["numbers", "numbers_more"], 7)


#: What DuckDB and its parser hand over is as it comes; the ledger's results are its own.
AS_IT_COMES = {
    "Statement.items",
    "Rows.dicts",
    "Store.arrays",
    "Table.to_dicts",
    "_refuse_function",
    "_items",
} | {
    "_compared",
    "_report",
}


@pytest.mark.parametrize("room", ["queries", "cli", "lineage"])
def test_no_dict_of_anything_crosses_a_function(room: str) -> None:
    crossing = {}
    for path in sorted((ROOT / "streams" / room).rglob("*.py")):
        for holder in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for node in ast.iter_child_nodes(holder):
                if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                name = f"{holder.name}.{node.name}" if isinstance(holder, ast.ClassDef) else node.name
                given = [
                    argument.annotation for argument in ast.walk(node.args) if isinstance(argument, ast.arg)
                ]
                said = " ".join(ast.unparse(one) for one in (*given, node.returns) if one is not None)
                if "dict[str, Any]" in said and name not in AS_IT_COMES:
                    crossing[f"{path.name}:{name}"] = said
    assert not crossing
