"""Promotions in the store, also in one that was begun before there were any."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from msgspec import structs

from streams.models.pointer import Rollback
from streams.queries.models import declined
from streams.queries.store import Store
from streams.snapshots.writer import Writer
from tests.snapshots import build


def test_a_store_of_before_versions_were_compared_is_written_and_read_on(tmp_path: Path) -> None:
    build.store(tmp_path / "s", {"policies": [build.POLICY]})
    path = (tmp_path / "s" / "catalog.duckdb").resolve()
    path.chmod(0o600)
    with duckdb.connect(str(path)) as connection:
        for view in ("promotions", "files.promotions"):
            connection.execute(f"DROP VIEW {view}")
    with duckdb.connect(str(tmp_path / "s" / "hot.duckdb")) as connection:
        connection.execute("DROP TABLE promotions")
    with Store.open(tmp_path / "s") as then:
        assert declined(then) == {}
    build.store(tmp_path / "s", {"promotions": [build.row("promotions", outcome="declined", reason="worse")]})
    with Store.open(tmp_path / "s") as now:
        assert now.sql("SELECT outcome, reason FROM promotions").rows == [("declined", "worse")]
        assert declined(now) == {0: "worse"}


BACK = Rollback(2, 4, 'it said "off" \\ to all \u2014 no', build.T0_NS)


def taken(value: str) -> build.Row:
    return build.row("inputs", kind="model-rollback", agent="training", topic="glasses.examples", value=value)


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        (BACK.dump(), True),
        (structs.replace(BACK, superseded=True, before=0).dump(), True),
        (structs.replace(BACK, erasure=True).dump(), True),
        (structs.replace(BACK, erasure=True, withdrawn=((3, 5),)).dump(), True),
        (structs.replace(BACK, superseded=True, withdrawn=((3, 5), (7, 7))).dump(), True),
        (structs.replace(BACK, withdrawn=((3, 5),)).dump().replace("5", "x"), False),
        (BACK.dump().replace('"why"', '"who"'), False),
        (BACK.dump() + " ", False),
        ("3", False),
        ("", False),
    ],
)
def test_a_rollback_is_an_input_of_its_own_form(tmp_path: Path, value: str, fits: bool) -> None:
    writer = Writer.open(tmp_path / "s")
    try:
        rows = {"policies": [build.POLICY], "inputs": [taken(value)]}
        writer.ingest({0: [build.record(0, rows, b"training/0")]}, {0: 1}, build.T0_NS)
        writer.publish(build.T0_NS)
    finally:
        writer.close()
    with Store.open(tmp_path / "s") as store:
        assert store.sql("SELECT value FROM inputs").rows == [(value,)] * fits
        assert store.sql("SELECT count(*) FROM rejected").rows == [(0 if fits else 1,)]
        if fits:
            assert Rollback.load(store.sql("SELECT value FROM inputs").rows[0][0]).why == BACK.why
