"""How a store stands: rates against SQL over the epochs of the last minute, for each role."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import UNSET

from streams.queries.asking import open_store, unfiltered
from tests.snapshots.build import batch, derived, row, stream, tagged
from tests.watching.growing import Time, growing_store


def test_rates_are_of_the_epochs_of_the_last_minute_that_the_role_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = Time(monkeypatch)
    with growing_store(tmp_path / "s", time) as growing:
        growing.publish(events=[batch("g1", "imu-right", 0, 1000)], streams=[stream("g1", "imu-right")])
        growing.publish(60.0, events=[batch("g1", "imu-right", 1000, 20)])
        hidden = [
            batch("g1", "gaze", number, 7, zone="health", label="ff", wearer="w2")
            for number in range(0, 84, 7)
        ]
        growing.publish(events=[*hidden, derived("g1", "activity", 0)], streams=[stream("g1", "gaze")])
        path = growing.path
    with unfiltered(path) as store:
        rates = {rate.topic: (rate.batches, rate.events) for rate in store.current().rates}
        summed = store.sql(
            """SELECT topic, count(*) AS batches, sum("count")::BIGINT AS events FROM events
            WHERE epoch IN (3, 4) GROUP BY topic"""
        ).to_dicts()
        assert rates == {each["topic"]: (each["batches"], each["events"]) for each in summed}
        # The quiet device adds a batch an epoch.
        assert rates["glasses.captured"] == (15, 106)
    with open_store(path, role="analyst") as store:
        shown = {rate.topic: (rate.batches, rate.events) for rate in store.current().rates}
        assert shown["glasses.captured"] == (3, 22)
        # As many as there are, not as there are classes.
        assert store.hidden["events"] == "10-99"
    with open_store(path, role="analyst", as_of="2") as store:
        past = store.current()
        assert (past.epoch, past.rates[0].events) == (2, 1002)


def test_the_generation_is_the_newest_version_that_the_role_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = {name: value for name, value in tagged().items() if name != "kind"}
    versions = [
        row("models", source="training", stream="intent", version=1, accuracy=0.5, examples=10, **public),
        row("models", source="training", stream="intent", version=2, accuracy=0.75, examples=20, **public),
        row("models", source="training", stream="intent", version=3, **public | {"zone": "h", "label": "ff"}),
    ]
    with growing_store(tmp_path / "s", Time(monkeypatch)) as growing:
        with open_store(growing.path, role="analyst") as store:
            assert store.current().generation is UNSET
        growing.publish(models=versions)
        with open_store(growing.path, role="analyst") as store:
            generation = store.current().generation
            assert generation is not UNSET
            assert (generation.id, generation.accuracy, generation.examples) == (
                "training/intent/2",
                0.75,
                20,
            )
        with unfiltered(growing.path) as store:
            newest = store.current().generation
            assert newest is not UNSET
            assert newest.id == "training/intent/3"
