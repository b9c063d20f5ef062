"""What is held of a wearer, against the journal of the device; whose examples a model learned from."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.cli.main import main
from streams.queries.models import whose
from streams.queries.role import Role
from streams.queries.store import Store
from tests.queries.golden import asked, imu_batches, sent
from tests.snapshots.build import POLICY, edge, event, row, store, stream, tagged

MODEL = ("training", "intent-model")


def test_all_that_a_wearer_sent_is_held_or_was_refused(spoilt: Path) -> None:
    answer = asked(spoilt, "ask", "wearer", "w1")
    captured = {row["stream"]: row["events"] for row in answer["streams"] if row["kind"] not in DERIVED}
    numbers: dict[str, set[int]] = defaultdict(set)
    for one in sent():
        if (one["stream"], one["first"], one["n"]) not in imu_batches():
            numbers[one["stream"]] |= set(range(one["first"], one["first"] + one["n"]))
    refused = sum(row["events"] for row in answer["refusals"] if row["stage"] == "zones")
    assert sum(captured.values()) + refused == sum(map(len, numbers.values()))
    assert {name: count for name, count in captured.items() if count > len(numbers[name])} == {}
    assert answer["events"] == sum(row["events"] for row in answer["streams"])
    assert answer["events"] == sum(row["events"] for row in answer["zones"])
    assert answer["answers_given"] == sum(row["answers"] for row in answer["answers"]) == 4
    assert {row["sink"] for row in answer["sinks"]} >= {"glasses.zoned", "store", "training-run"}


DERIVED = ("activity", "fixation", "speech", "place", "situation", "answer", "example", "model")


def test_a_wearer_is_told_of_herself_alone(spoilt: Path) -> None:
    own = asked(spoilt, "ask", "wearer", "w1", role="wearer:w1")
    assert own["events"]
    said = []
    for name, role in (("w1", "wearer:w2"), ("w7", "wearer:w2"), ("w7", "analyst"), ("w7", "wearer:w1")):
        result = CliRunner().invoke(main, ["ask", "wearer", name, "--store", str(spoilt), "--role", role])
        assert (result.exit_code, result.stdout) == (2, "")
        said.append(result.stderr.replace(str(spoilt), "").replace(name, "WEARER").replace(role, "ROLE"))
    assert len(set(said)) == 1


@pytest.mark.parametrize("name", ["W1", "w1' OR 'a' = 'a", "", "w" * 64])
def test_what_is_no_pseudonym_is_a_sentence(spoilt: Path, name: str) -> None:
    result = CliRunner().invoke(main, ["ask", "wearer", name, "--store", str(spoilt)])
    assert result.exit_code == 2
    assert "expected a pseudonym such as w1" in result.stderr
    assert not name or name not in result.stderr


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of examples of w1 and w2, of which those of w2 are in a zone that analysts are not shown."""
    examples = [
        event("g1", "example", 0, 3, **tagged("voice_query", "voice-assistant", wearer="w1")),
        event("g2", "example", 0, 3, **tagged("voice_query", "health", wearer="w2")),
        event("g3", "example", 9, **tagged("voice_query", "voice-assistant", wearer="w3")),
    ]
    model = tagged("voice_query", "voice-assistant") | {"kind": "model", "wearer": ""}
    return store(
        tmp_path_factory.mktemp("whose") / "s",
        {
            "events": [*(one | {"kind": "example"} for one in examples), event(*MODEL, 1, 2, **model)],
            "streams": [
                *(stream(f"g{n}", "example", "example", captured=False) for n in (1, 2, 3)),
                stream(*MODEL, "model", captured=False),
            ],
            "edges": [
                edge((*MODEL, 1), ("g1", "example", 0), parent_width=2, operator="training"),
                edge((*MODEL, 2), ("g1", "example", 0), parent_width=3, operator="training"),
                edge((*MODEL, 2), ("g2", "example", 0), parent_width=3, operator="training"),
            ],
            "models": [
                row("models", source=MODEL[0], stream=MODEL[1], version=version, wearers=version)
                | {name: model[name] for name in ("zone", "label", "policy_version")}
                for version in (1, 2)
            ],
            "policies": [POLICY],
        },
    )


def test_whose_examples_a_model_learned_from_is_told_to_who_may_see_them(learned: Path) -> None:
    found = {}
    for role in ("privacy-officer", "analyst", "wearer:w2"):
        with Store.open(learned, Role.of(role)) as opened:
            names = whose(opened, [(MODEL, 1), (MODEL, 2)])
            assert opened.hidden == {}
        found[role] = [names[MODEL, version] for version in (1, 2)]
    assert found == {
        "privacy-officer": [("w1",), ("w1", "w2")],
        "analyst": [("w1",), ("w1",)],
        "wearer:w2": [(), ("w2",)],
    }
    generations = asked(learned, "ask", "loop", "training/intent-model/1")["generations"]
    assert [(one["wearers"], one["whose"]) for one in generations] == [(1, ["w1"]), (2, ["w1", "w2"])]
