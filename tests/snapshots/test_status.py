"""The line that `sightline snapshots` writes into a log."""

from __future__ import annotations

from pathlib import Path

from streams.cli.snapshots import told
from streams.queries.status import Status
from tests.snapshots.build import event, row, store


def test_a_line_tells_of_all_epochs_and_no_line_of_none(tmp_path: Path) -> None:
    captured = {"topic": "glasses.captured"}
    path = store(
        tmp_path / "s",
        {"events": [event("g1", "imu", 0, 1200, **captured), event("g1", "answer", 0, 2, kind="answer")]},
    )
    status = Status(path)
    assert told(status) == "epoch 1  1,200 events  0 rejected  2 answers  0 examples  model 0"
    assert told(status) is None
    store(
        path,
        {
            "events": [
                event("g1", "imu", 1200, 20, **captured),
                event("g1", "example", 0, kind="example", topic="glasses.examples"),
            ],
            "rejected": [
                row("rejected", stage="zones", count=7, rule="zones"),
                row("rejected", stage="zones", rule="repeat"),
            ],
        },
        {
            "events": [event("training", "intent-model", 1, kind="model")],
            "models": [row("models", source="training", stream="intent-model", version=1, accuracy=0.5)],
        },
    )
    assert told(status) == "epoch 3  1,220 events  7 rejected  2 answers  1 examples  model 1"
    assert told(Status(path)) == "epoch 3  1,220 events  7 rejected  2 answers  1 examples  model 1"
