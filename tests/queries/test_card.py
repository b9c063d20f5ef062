"""A model card says what the store says of a version, and no more than the role may see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest
from msgspec import UNSET

from streams.errors import InputError
from streams.queries.card import card
from streams.queries.reach import reach
from streams.queries.role import Role
from streams.queries.store import Store
from streams.snapshots.writer import Writer
from streams.topology import EXAMPLES
from tests.snapshots.build import HOUSEHOLD, POLICY, T0_NS, edge, event, row, store, stream, tagged
from tests.snapshots.worlds import erasure, mark

MODEL = {"source": "training", "stream": "intent-model"}
ID = "training/intent-model/2"
S_NS = 10**9


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with versions 1 and 2 and two answers of the second, whose run was held once before."""
    label = HOUSEHOLD.inherited_label("model", (HOUSEHOLD.label_of("voice_query", "voice-assistant") or b"",))
    shared: dict[str, Any] = {
        "zone": "voice-assistant",
        "label": label.hex(),
        "policy_version": HOUSEHOLD.version,
    }
    spoken = tagged("voice_query", "voice-assistant", wearer="w1")
    answers = [event("g1", "answer", number, **{**spoken, "kind": "answer"}) for number in (0, 1)]
    return store(
        tmp_path / "s",
        {
            "policies": [POLICY],
            "streams": [
                stream("g1", "answer", "answer", captured=False),
                stream("training", "intent-model", "model"),
            ],
            "events": [
                *answers,
                *(event("training", "intent-model", number, kind="model", **shared) for number in (1, 2)),
            ],
            "edges": [
                edge(("g1", "answer", number), ("training", "intent-model", 2), operator="answer")
                for number in (0, 1)
            ],
            "models": [
                row(
                    "models", **MODEL, version=number, examples=88 + number, wearers=2, accuracy=0.5, **shared
                )
                for number in (1, 2)
            ],
            "training_runs": [
                row(
                    "training_runs",
                    version=2,
                    seed_examples=88,
                    admitted=2,
                    refused=7,
                    trigger="g1/example/9",
                )
            ],
            "promotions": [
                row("promotions", version=2, outcome="declined", against=1, reason="worse", p_value=0.01),
                row("promotions", version=1, outcome="rolled-back", reason="the first one never was judged"),
                row("promotions", version=2, outcome="rolled-back", reason="rude", t_ns=10**18 * 2),
            ],
            "training_assets": [
                row("training_assets", version=2, outcome="held", kind="stream", name="example"),
                row(
                    "training_assets",
                    version=2,
                    outcome="made",
                    kind="seed",
                    name="seed.csv",
                    licence="MIT",
                    examples=88,
                ),
            ],
            "training_checks": [
                row(
                    "training_checks",
                    version=2,
                    name="device",
                    subject="g1",
                    outcome="held",
                    judged=2,
                    t_ns=5,
                ),
                row(
                    "training_checks",
                    version=2,
                    name="device",
                    subject="g1",
                    outcome="passed",
                    examples=1,
                    judged=4,
                    percent_max=100.0,
                ),
            ],
        },
    )


def test_it_says_what_was_learned_from_how_it_was_judged_and_what_it_may_be_used_for(path: Path) -> None:
    with Store.open(path, Role.of("analyst")) as opened:
        made = card(opened, ID)
    assert (made.id, made.policy, made.zone, made.answers) == (ID, "household", "voice-assistant", 2)
    assert isinstance(made.may, dict)
    assert "ai:ModelTraining" in made.may["purposes"]
    assert made.may["retention"] == "half-year"
    assert isinstance(made.data, dict)
    assert (made.data["examples"], made.data["refused"], made.data["trigger"]) == (2, 7, "g1/example/9")
    assert isinstance(made.judged, dict)
    assert (made.judged["outcome"], made.judged["against"], made.judged["reason"]) == ("declined", 1, "worse")
    assert [(asset.kind, asset.name, asset.licence, asset.examples) for asset in made.assets] == [
        ("seed", "seed.csv", "MIT", 88)
    ], "those of the run that made it, not of one that was refused before"
    assert [(check.name, check.outcome, check.percent) for check in made.checks] == [
        ("device", "passed", 25.0)
    ]


def test_a_return_to_a_version_is_no_judgement_about_it(path: Path) -> None:
    with Store.open(path) as opened:
        assert card(opened, "training/intent-model/1").judged is UNSET


def test_a_wearer_is_not_told_what_others_taught_it(path: Path) -> None:
    with Store.open(path, Role.of("wearer:w1")) as opened:
        made = card(opened, ID)
    assert (made.data, made.judged, list(made.checks), list(made.assets)) == (UNSET, UNSET, [], [])
    assert made.answers == 2


@pytest.mark.parametrize("identity", ["g1/answer/0", "training/intent-model/9", "nobody/intent-model/1"])
def test_what_is_no_model_version_has_no_card(path: Path, identity: str) -> None:
    with Store.open(path, Role.of("analyst")) as opened, pytest.raises(InputError):
        card(opened, identity)


def test_a_store_of_before_says_what_it_has(path: Path) -> None:
    catalog = (path / "catalog.duckdb").resolve()
    catalog.chmod(0o600)
    with duckdb.connect(str(catalog)) as connection:
        connection.execute(f"SET file_search_path = '{path}'")
        connection.execute("CREATE OR REPLACE VIEW training_runs AS SELECT * FROM files.training_runs")
        for view in ("promotions", "training_checks", "training_assets"):
            connection.execute(f"DROP VIEW {view}")
            connection.execute(f"DROP VIEW files.{view}")
    with Store.open(path) as opened:
        made = card(opened, ID)
    assert (made.judged, list(made.checks), list(made.assets)) == (UNSET, [], [])
    assert isinstance(made.data, dict)


def test_it_says_by_which_erasure_the_version_was_withdrawn(tmp_path: Path) -> None:
    """Of a later erasure, and of an operator's return, the same versions are told again."""

    def back(at: int, why: str, erased: str, runs: str) -> dict[str, Any]:
        text = f'{{"version":1,"before":2,"why":"{why}","at_ns":{at}{erased},"withdrawn":{runs}}}'
        return row("inputs", kind="model-rollback", agent="training", topic=EXAMPLES, value=text, t_ns=at)

    shared: dict[str, Any] = tagged("voice_query", "voice-assistant")
    numbers = (1, 2, 3)
    made = store(
        tmp_path / "s",
        {
            "policies": [POLICY],
            "streams": [stream("training", "intent-model", "model")],
            "events": [
                event("training", "intent-model", each, **{**shared, "kind": "model"}) for each in numbers
            ],
            "models": [row("models", **MODEL, version=each, **_labelled(shared)) for each in numbers],
            "inputs": [
                back(5 * S_NS, "rude", "", "[[2,2]]"),
                back(7 * S_NS, "erasure 7", ',"erasure":true', "[[2,2]]"),
                back(9 * S_NS, "erasure 8", ',"erasure":true', "[[2,3]]"),
            ],
        },
    )
    with Store.open(made, Role.of("privacy-officer")) as opened:
        told = [card(opened, f"training/intent-model/{number}").withdrawn for number in numbers]
    assert told == [UNSET, "erasure 7, 1970-01-01T00:00:07.000000Z", "erasure 8, 1970-01-01T00:00:09.000000Z"]
    with Store.open(made, Role.of("analyst")) as opened:
        assert card(opened, ID).withdrawn is UNSET


def _labelled(shared: dict[str, Any]) -> dict[str, Any]:
    return {name: shared[name] for name in ("zone", "label", "policy_version")}


def test_after_an_erasure_since_a_day_a_version_says_what_it_learned_from_what_is_older(
    tmp_path: Path,
) -> None:
    day_ns = 86_400 * S_NS
    spoken = {**tagged("voice_query", "voice-assistant"), "kind": "example"}
    examples = [
        event(
            source,
            "example",
            number,
            **{**spoken, "wearer": f"w{source[1]}"},
            **dict.fromkeys(("t_first_ns", "t_last_ns", "appended_ns"), T0_NS + day * day_ns),
        )
        for source, number, day in (("g1", 0, 0), ("g1", 1, 2), ("g2", 0, 2))
    ]
    learned = {2: examples, 3: examples[1:]}
    path = store(
        tmp_path / "s",
        {
            "policies": [POLICY],
            "streams": [
                *(stream(source, "example", "example", captured=False) for source in ("g1", "g2")),
                stream("training", "intent-model", "model"),
            ],
            "events": [
                *examples,
                *(
                    event("training", "intent-model", number, **{**tagged(), "kind": "model"})
                    for number in (2, 3)
                ),
            ],
            "edges": [
                edge(
                    ("training", "intent-model", number),
                    (one["source"], "example", one["first"]),
                    operator="training",
                )
                for number, some in learned.items()
                for one in some
            ],
            "models": [
                row("models", **MODEL, version=number, examples=len(some), wearers=2, **spoken_tag())
                for number, some in learned.items()
            ],
        },
    )
    writer = Writer.open(path, fold="inline")
    writer.erase(
        [erasure(T0_NS + 3 * day_ns, wearer="w1", since_ns=T0_NS + day_ns)], mark, T0_NS + 4 * day_ns
    )
    writer.settle(T0_NS + 4 * day_ns)
    writer.close()
    with Store.open(path, Role("privacy-officer")) as opened:
        told = [(each.id, each.learned_from) for each in reach(opened, "w1").models]
        assert told == [(ID, 1)], "version 3 learned from what was erased alone"
        parents = "SELECT parent_id FROM edge_records WHERE child_id = '{}' ORDER BY ALL"
        assert opened.sql(parents.format(ID)).rows == [("g1/example/0",), ("g2/example/0",)]
        assert card(opened, ID).id == ID
        assert opened.sql("SELECT version, examples FROM models ORDER BY ALL").rows == [(2, 3), (3, 2)]


def spoken_tag() -> dict[str, Any]:
    """Zone, label and policy of what is said to the assistant."""
    return {name: value for name, value in tagged("voice_query", "voice-assistant").items() if name != "kind"}
