"""Replay of a small journal against a lineage that a reviewer can read.

In goes journal/g1.jsonl, out comes expected.txt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streams.events.record import Outgoing
from streams.replay import Replay
from tests import build

HERE = Path(__file__).parent
EXAMPLES_PER_RUN = 2


def rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Lineage rows of a replay, by table."""
    written: list[Outgoing] = []
    build.run(Replay(build.policy(), written.extend, EXAMPLES_PER_RUN).run(path))
    return build.lineage(written)


def numbers(first: int, step: int, count: int) -> str:
    return (
        str(first)
        if count == 1
        else f"{first}..{first + step * (count - 1)}" + (f" by {step}" if step > 1 else "")
    )


def shown(row: dict[str, Any]) -> str:
    return f"{row['source']}/{row['stream']}/{numbers(row['first'], row['step'], row['count'])}"


def lines(tables: dict[str, list[dict[str, Any]]]) -> list[str]:
    """One line a row.

    Without digests of models and without accuracies, which belong to a version of scikit-learn.
    """
    found = [f"stream   {row['source']}/{row['stream']} ({row['kind']})" for row in tables["streams"]]
    found += [
        f"event    {shown(row)} in {row['zone']}, by {row['rule']}" + (", split" if row["split_from"] else "")
        for row in tables["events"]
    ]
    for row in tables["edges"]:
        child = numbers(row["child_first"], row["child_step"], row["child_count"])
        last = row["parent_first"] + row["parent_step"] * (row["child_count"] - 1) + row["parent_width"] - 1
        parents = numbers(row["parent_first"], 1, last - row["parent_first"] + 1)
        found.append(
            f"edge     {row['child_source']}/{row['child_stream']}/{child} "
            f"from {row['parent_source']}/{row['parent_stream']}/{parents} by {row['operator']}"
            + (f", {row['directness']}" if row["directness"] == "indirect" else "")
            + (f", declassified by {row['declassifier']}" if row["declassifier"] else "")
        )
    found += [
        f"decision {row['verdict']} {shown(row)} to {row['sink']}: {row['rule']}"
        for row in tables["decisions"]
        if row["verdict"] != "allow" or row["sink"] == "training-run"
    ]
    found += [
        f"rejected {shown({**row, 'step': 1})} by {row['stage']}: {row['reason']}"
        for row in tables["rejected"]
    ]
    found += [
        f"model    {row['version']}: {row['examples']} examples of {row['wearers']} wearers, {row['zone']}"
        for row in tables["models"]
    ]
    found += [
        f"run      {row['version']}: {row['admitted']} admitted, {row['refused']} refused, "
        f"after {row['trigger']}"
        for row in tables["training_runs"]
    ]
    return found + [f"input    {row['kind']} from {row['topic']} {row['offset']}" for row in tables["inputs"]]


def test_replay_gives_the_expected_lineage() -> None:
    expected = (HERE / "expected.txt").read_text(encoding="utf-8").splitlines()
    assert lines(rows(HERE / "journal")) == expected


def test_a_replay_is_the_same_twice() -> None:
    assert rows(HERE / "journal") == rows(HERE / "journal")
