"""How labels change round the loop."""

from __future__ import annotations

from pathlib import Path

from streams.queries.creep import creep
from streams.queries.store import Store
from tests.snapshots.build import HOUSEHOLD, POLICY, row, store, stream


def test_an_empty_label_permits_no_purpose(tmp_path: Path) -> None:
    label = HOUSEHOLD.inherited_label("example", ()).hex()
    models = [
        row("models", source="training", stream="intent-model", version=version, label=packed, zone="public")
        for version, packed in ((1, label), (2, ""))
    ]
    path = store(
        tmp_path / "s",
        {"policies": [POLICY], "streams": [stream("training", "intent-model", "model")], "models": models},
    )
    with Store.open(path) as opened:
        rows = creep(opened).creep.rows
    assert [(cell.generation, cell.fewest_purposes > 0) for cell in rows] == [(1, True), (2, False)]
