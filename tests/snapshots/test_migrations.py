"""A store of version 3 is taken over whole, whatever state it was left in and wherever it is interrupted.

`store-v3.tar.xz` was written at 440ac9f through its `Writer`: three epochs, two rows that nobody can work
with, and rows and offsets that no epoch has.
"""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from streams import limits
from streams.cli.main import main
from streams.errors import InputError, UnavailableError
from streams.events.record import StoredRecord
from streams.lineage.tables import ADDED, TABLES
from streams.queries.store import Store
from streams.snapshots.files import chunks, coalesce, output, segments
from streams.snapshots.intake import decode, former
from streams.snapshots.upgrade import migrations
from streams.snapshots.writer import Writer
from tests.snapshots import build

_STORE = Path(__file__).with_name("store-v3.tar.xz")
#: By table: columns that version 3 did not have.
NEW = {
    "events": {"revision", "consent"},
    "edges": {"child_revision", "parent_revision"},
    "rejected": {"outcome"},
}
OUTCOMES = {
    "repeat": "repeated",
    "collision": "collision",
    "clock": "clock",
    "too-late": "late",
    "malformed": "malformed",
    "poisoned": "malformed",
}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    with tarfile.open(_STORE) as packed:
        packed.extractall(tmp_path / "s", filter="data")
    return tmp_path / "s"


def before(store: Path) -> dict[str, Counter[tuple[Any, ...]]]:
    """Rows of a store of version 3 by table, out of its Parquet files, without those nobody can work with."""
    found: dict[str, Counter[tuple[Any, ...]]] = {}
    for path in store.glob("segments/*.parquet"):
        table = path.name.split("-")[0]
        for row in pq.read_table(path).to_pylist():
            bad = (table == "events" and row["zone"] is None) or row.get("child_count", 1) > 1000
            found.setdefault(table, Counter())[_row(table, row)] += 1 - bad
    return {table: +rows for table, rows in found.items()}


def after(store: Path) -> dict[str, Counter[tuple[Any, ...]]]:
    """The same of today's store, of its first three epochs."""
    found = {}
    with Store.open(store) as opened:
        for table in TABLES:
            rows = opened.sql(f"SELECT * FROM files.{table} WHERE epoch <= 3").dicts()
            found[table] = Counter(_row(table, row) for row in rows)
    return {table: rows for table, rows in found.items() if rows}


def _row(table: str, row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in [*TABLES[table], "epoch"] if name not in NEW.get(table, set()))


def change(store: Path, *statements: str) -> None:
    with duckdb.connect(str(store / "hot.duckdb")) as connection:
        connection.execute(f"SET file_search_path = '{store}'")
        for statement in statements:
            connection.execute(statement)


def readable(store: Path) -> list[tuple[int, int]]:
    """What a reader of then sees, in plain DuckDB: epochs, and events that it can work with."""
    with duckdb.connect() as connection:
        connection.execute(f"SET file_search_path = '{store}'")
        connection.execute(f"ATTACH '{(store / 'catalog.duckdb').resolve()}' AS s (READ_ONLY)")
        return connection.execute(
            'SELECT (SELECT max(epoch) FROM s.epochs), (SELECT sum("count") FROM s.events)'
        ).fetchall()


def opened(store: Path) -> None:
    """Open it to write, publish what waits, and close it."""
    writer = Writer.open(store)
    writer.publish(build.T0_NS)
    writer.close()


def ask(store: Path, statement: str) -> list[tuple[Any, ...]]:
    with Store.open(store) as found:
        return found.sql(statement).rows


def test_rows_epochs_and_offsets_come_over_and_new_columns_have_their_values(
    old: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = before(old)
    opened(old)
    assert after(old) == expected
    assert expected.keys() == TABLES.keys() - set(ADDED), "each table of then has rows in the fixture"
    events = 'SELECT stream, "first", epoch, revision, consent FROM events ORDER BY ALL'
    assert ask(old, events) == [
        ("activity", 0, 2, 0, 3),
        ("activity", 20, 2, 0, 0),
        ("activity", 40, 5, 0, 0),
        ("imu", 0, 1, 0, 3),
        ("imu", 20, 1, 0, 4),
        ("imu", 40, 3, 0, 0),
        ("imu", 60, 5, 0, 0),
    ]
    for rule, outcome in ask(old, "SELECT rule, outcome FROM rejected WHERE stage = 'zones'"):
        assert outcome == OUTCOMES.get(rule, "refused")
    assert ask(old, "SELECT DISTINCT child_revision, parent_revision FROM edges") == [(0, 0)]
    assert ask(old, "SELECT epoch, offsets[0], rows, cluster FROM epochs ORDER BY epoch") == [
        (1, 2, 7, ""),
        (2, 4, 19, ""),
        (3, 5, 3, ""),
        (4, 5, 0, ""),
        (5, 7, 5, ""),
    ]
    said = "SELECT reason, outcome FROM rejected WHERE stage = 'snapshots' ORDER BY ALL"
    assert ask(old, said) == [
        ("edges: 1 rows of a former version are left out", "malformed"),
        ("events: 2 rows of a former version are left out", "malformed"),
    ]
    assert "2 rows of events that nobody could work with are left out" in caplog.text
    runs = "SELECT stream, low, high, zone, consent FROM zone_runs WHERE epoch <= 3 ORDER BY ALL"
    assert ask(old, runs) == [
        ("activity", 0, 0, "public", 3),
        ("activity", 20, 20, "private", 0),
        ("imu", 0, 19, "public", 3),
        ("imu", 20, 39, "private", 4),
        ("imu", 40, 59, "public", 0),
    ]
    with duckdb.connect(str(old / "hot.duckdb")) as connection:
        assert connection.execute("SELECT name FROM migrations").fetchall() == [
            (each.name,) for each in migrations.MIGRATIONS
        ]
    opened(old)
    assert ask(old, "SELECT max(epoch) FROM epochs") == [(5,)], "once is enough"


def test_no_zone_run_goes_on_over_an_epoch_that_can_be_asked_about() -> None:
    rows = build.tables({"events": [build.batch("g1", "imu", first, 10) for first in (0, 10, 20)]})
    taken = decode.arrow_of("events", rows["events"]).append_column("epoch", pa.array([1, 2, 3]))
    events = taken.cast(segments.schema_of("events"))
    runs = coalesce.zones_of(events, {}, np.array([0, 0, 1]))
    assert runs.select(["low", "high", "epoch"]).to_pylist() == [
        {"low": 0, "high": 19, "epoch": 2},
        {"low": 20, "high": 29, "epoch": 3},
    ]


def test_killed_at_any_step_it_starts_over_or_goes_on(old: Path) -> None:
    expected, seen = before(old), readable(old)
    for step in migrations.STEPS:

        def die(at: int, step: int = step) -> None:
            if at == step:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            migrations.take_over(old, after_step=die)
        assert readable(old) == seen, f"killed after step {step}, readers of then read on"
    for at in (4, 5, 6):

        def stop(done: int, at: int = at) -> None:
            if done == at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            Writer.open(old, after_step=stop)
    opened(old)
    assert after(old) == expected
    assert not list(old.glob("*.tmp*"))
    known = {file for (file,) in ask(old, "SELECT file FROM segments")}
    with duckdb.connect(str(old / "hot.duckdb")) as connection:
        known |= {file for (file,) in connection.execute("SELECT file FROM segments").fetchall()}
    assert {f"segments/{path.name}" for path in old.glob("segments/*")} <= known, "no attempt left a file"


@pytest.mark.parametrize("state", ["fixed", "recorded"])
def test_an_epoch_that_stands_half_published_comes_over_once(old: Path, state: str) -> None:
    expected = before(old)
    if state == "fixed":
        # As a fold leaves it that does not fit in memory: fixed for ever, its rows still at hand.
        change(old, "INSERT INTO epochs VALUES (4, 'fixed', NULL, MAP {0: 7}, 3)")
    else:
        third = next(old.glob("segments/events-00000003-*.parquet"))
        change(
            old,
            f"INSERT INTO events SELECT * FROM read_parquet('{third}')",
            "UPDATE epochs SET state = 'recorded' WHERE epoch = 3",
        )
        (old / "catalog.duckdb").unlink()
    opened(old)
    assert after(old) == expected
    waited = 'SELECT count(*) FROM events WHERE "first" IN (40, 60) AND epoch > 3'
    assert ask(old, waited) == [(2,)], "what no epoch had is published, once"
    assert ask(old, "SELECT offsets[0] FROM epochs ORDER BY epoch DESC LIMIT 1") == [(7,)]


def test_what_a_killed_writer_left_in_its_log_comes_over(old: Path) -> None:
    change(
        old,
        "PRAGMA disable_checkpoint_on_shutdown",
        "INSERT INTO streams VALUES ('g9', 'gaze', 'gaze', true, 4)",
        "UPDATE offsets SET next_offset = 8",
    )
    assert (old / "hot.duckdb.wal").exists()
    opened(old)
    assert ask(old, "SELECT count(*) FROM streams WHERE source = 'g9'") == [(1,)]
    assert ask(old, "SELECT offsets[0] FROM epochs ORDER BY epoch DESC LIMIT 1") == [(8,)]


def _full(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def settled(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(output, "settled", settled)


def _cut(store: Path, _: pytest.MonkeyPatch) -> None:
    path = next(store.glob("segments/edges-*"))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:100])


def _version(number: int) -> Callable[[Path, pytest.MonkeyPatch], None]:
    return lambda store, _: change(store, f"UPDATE store SET version = {number}")


@pytest.mark.parametrize(
    ("harm", "error", "said"),
    [
        (_full, UnavailableError, "it is as it was. It needs as much room again"),
        (_cut, InputError, "found a file that cannot be read"),
        (_version(2), InputError, "begin a new store"),
        (_version(limits.STORE_VERSION + 1), InputError, "or a newer one"),
    ],
)
def test_what_cannot_be_taken_over_is_said_and_stays_as_it_was(
    old: Path,
    monkeypatch: pytest.MonkeyPatch,
    harm: Callable[[Path, pytest.MonkeyPatch], None],
    error: type[Exception],
    said: str,
) -> None:
    harm(old, monkeypatch)
    present = sorted(path.name for path in old.glob("segments/*"))
    for _ in range(2):
        with pytest.raises(error, match=said):
            Writer.open(old)
    assert set(present) <= {path.name for path in old.glob("segments/*")}
    monkeypatch.undo()
    if harm is _full:
        opened(old)
        assert ask(old, "SELECT count(*) FROM events") == [(7,)]


def test_the_command_takes_over_without_a_broker_and_makes_no_store(old: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["snapshots", "--migrate", "--store", str(old)])
    assert done.exit_code == 0, done.output
    assert f"is a store of version {limits.STORE_VERSION}" in done.stdout
    assert ask(old, "SELECT count(*) FROM events") == [(7,)]
    absent = tmp_path / "absent"
    refused = CliRunner().invoke(main, ["snapshots", "--migrate", "--store", str(absent)])
    assert (refused.exit_code, absent.exists()) == (2, False)
    assert "found no store to take over" in refused.stderr


def test_readers_say_what_to_do_with_another_version(old: Path) -> None:
    with pytest.raises(InputError, match=f"sightline snapshots --migrate --store {old}"):
        Store.open(old)
    opened(old)
    path = (old / "catalog.duckdb").resolve()
    path.chmod(0o600)
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"UPDATE store SET version = {limits.STORE_VERSION + 1}")
    with pytest.raises(InputError, match="a newer sightline wrote it"):
        Store.open(old)


def test_records_of_a_worker_of_then_are_taken_in(tmp_path: Path) -> None:
    rows: dict[str, list[dict[str, Any]]] = {
        "policies": [build.POLICY],
        "streams": [build.stream("g1", "imu"), build.stream("g1", "activity", "activity", captured=False)],
        "events": [build.batch("g1", "imu", 0, 20), build.derived("g1", "activity", 0)],
        "edges": [build.edge(("g1", "activity", 0), ("g1", "imu", 0), parent_width=20, operator="activity")],
    }
    refused = [
        build.row(
            "rejected",
            source="g1",
            stream="imu",
            first=40 + at,
            stage="zones",
            rule=rule,
            topic="glasses.captured",
            policy_version=build.HOUSEHOLD.version,
        )
        for at, rule in enumerate((*OUTCOMES, "pairing"))
    ]
    writer = Writer.open(tmp_path)
    then = [_then(0, rows, {}), _then(1, {"rejected": refused}, {})]
    then.append(_then(2, {"rejected": refused[:1]}, {"rule": "repeat", "first": 90}))
    writer.ingest({0: then}, {0: 3}, build.T0_NS)
    writer.publish(build.T0_NS)
    writer.close()
    assert ask(tmp_path, "SELECT reason FROM rejected WHERE stage = 'snapshots'") == []
    assert ask(tmp_path, 'SELECT stream, "count", revision, consent FROM events ORDER BY ALL') == [
        ("activity", 1, 0, 0),
        ("imu", 20, 0, 0),
    ]
    assert ask(tmp_path, "SELECT child_revision, parent_revision FROM edges") == [(0, 0)]
    told = ask(tmp_path, "SELECT rule, outcome FROM rejected")
    assert len(told) == len(refused) + 1
    assert all(outcome == OUTCOMES.get(rule, "refused") for rule, outcome in told)


def _then(offset: int, rows: Mapping[str, list[dict[str, Any]]], once: dict[str, Any]) -> StoredRecord:
    """A record of version 1: without the new columns; those in `once` are said once of all rows."""
    blocks = {
        table: [
            {
                "all": once,
                "each": {
                    name: [row[name] for row in some]
                    for name in TABLES[table]
                    if name not in NEW.get(table, set()) | once.keys()
                },
            }
        ]
        for table, some in rows.items()
    }
    value = orjson.dumps({"v": former.VERSION, "tables": blocks})
    return StoredRecord(offset, build.T0_NS // 1_000_000, b"glasses/0", value)


_MEMORY = duckdb.connect()
_TYPES = (pa.string(), pa.string(), pa.int64())
_STREAMS = st.dictionaries(
    st.tuples(st.sampled_from("ab'"), st.sampled_from(["s", "s~2", "t"])),
    st.lists(st.integers(0, limits.NUMBER_MAX), min_size=1, max_size=12),
    max_size=6,
)


@settings(max_examples=40)
@given(streams=_STREAMS, most=st.integers(1, 8))
def test_ranges_have_each_row_once_and_no_stream_apart_that_fits(
    streams: dict[tuple[str, str], list[int]], most: int
) -> None:
    rows = [(source, stream, first) for (source, stream), some in streams.items() for first in some]
    columns = [[row[at] for row in rows] for at in range(3)]
    arrays = [pa.array(some, kind) for some, kind in zip(columns, _TYPES, strict=True)]
    _MEMORY.register("runs", pa.Table.from_arrays(arrays, names=["source", "stream", "first"]))
    parts = [
        _MEMORY.execute(f"SELECT * FROM runs WHERE {part}").fetchall()
        for part in chunks.ranges(_MEMORY, "events", "runs", most)
    ]
    assert Counter(row for part in parts for row in part) == Counter(rows)
    for stream, some in streams.items():
        holding = [part for part in parts if any(row[:2] == stream for row in part)]
        assert len(holding) == 1 or len(some) > most
    assert all(len(part) <= most or len({row[:2] for row in part}) == 1 for part in parts)
