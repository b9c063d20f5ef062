"""An export holds what its role is shown, whole or not at all, and nothing of the rest: not a byte of it."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest
import xxhash
from click.testing import CliRunner, Result

from streams import limits
from streams.audit_log import AUDIT_LOG
from streams.cli import snapshots_export as command
from streams.cli.main import main
from streams.errors import UnavailableError
from streams.files import working_directory
from streams.queries.export import EXPORTED
from streams.queries.role import Role
from streams.queries.store import Store
from streams.readiness import Ready
from streams.snapshots.writer import Writer
from tests.patience import PATIENCE_S
from tests.snapshots.build import (
    HOUSEHOLD,
    POLICY,
    T0_NS,
    Row,
    edge,
    event,
    row,
    store,
    stream,
    tables,
    tagged,
)

ROLES = ("analyst", "privacy-officer", "wearer:w1")
#: Differs from store to store and from run to run.
_OWN = {("store", "id"), ("epochs", "published_ns"), ("epoch_rows", "published_ns"), ("epochs", "published")}


def shown_rows(number: int) -> dict[str, list[Row]]:
    """What every role is shown in an export, of one epoch."""
    at = 100 * number
    events = [
        event("g1", "imu", at, 50, **tagged("imu", "public", wearer="w1", session="session-shown")),
        event("g1", "voice-query", at, **tagged("voice_query", "voice-assistant", wearer="w1")),
        event(
            "g1", "answer", at, **tagged("voice_query", "voice-assistant", wearer="w1") | {"kind": "answer"}
        ),
    ]
    edges = [
        edge(("g1", "answer", at), ("g1", "voice-query", at), operator="answer"),
        edge(("g1", "voice-query", at), ("g1", "imu", at), parent_width=50),
    ]
    return {"events": events, "edges": edges, "streams": [stream("g1", one["stream"]) for one in events]}


def hidden_rows(number: int, name: str) -> dict[str, list[Row]]:
    """Rows that no role is shown in an export; `name` stands in each of them."""
    at, source = 100 * number, f"a-{name}"
    around = {"wearer": f"wearer-{name}", "session": f"session-{name}"}
    events = [
        event("g1", "imu", at + 50, 50, **tagged("imu", "health", **around)),
        event(source, "ppg", at, 20, **tagged("ppg", "health", **around, digest="f" * 32)),
        event(source, "imu", at, 30, **tagged("imu", "bystander-present", **around)),
    ]
    edges = [
        edge((source, "imu", at), ("g1", "imu", at), parent_width=30),
        edge(("g1", "answer", at), (source, "ppg", at), parent_width=20),
    ]
    refused = row("rejected", source=source, stream="ppg", zone="health", policy_version=HOUSEHOLD.version)
    decided = {
        name: events[0][name] for name in ("source", "stream", "first", "zone", "label", "policy_version")
    }
    return {
        "events": events,
        "edges": edges,
        "streams": [stream(source, one) for one in ("imu", "ppg")],
        "rejected": [refused],
        "decisions": [row("decisions", **decided, wearer=f"wearer-{name}", sink="store")],
    }


def both(one: dict[str, list[Row]], other: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """Hidden rows between those that are shown, as a fetch would bring them."""
    return {table: [*other.get(table, ()), *one.get(table, ())] for table in {*one, *other}}


def built(path: Path, hidden: str | None) -> Path:
    epochs = [shown_rows(number) for number in range(2)]
    if hidden is not None:
        epochs = [both(each, hidden_rows(number, hidden)) for number, each in enumerate(epochs)]
    return store(path, {"policies": [POLICY]}, *epochs)


def content(path: Path) -> dict[str, list[Any]]:
    """Every row of every view and table, as it lies there; what is a run's own is left out."""
    found = {}
    with duckdb.connect(str(path), read_only=True) as connection:
        run = connection.execute
        run("SET threads = 1")
        columns = "SELECT schema_name, table_name, column_name FROM duckdb_columns() WHERE NOT internal"
        listed: dict[tuple[str, str], list[str]] = {}
        for schema, table, column in run(f"{columns} ORDER BY ALL").fetchall():
            if (table, column) not in _OWN:
                listed.setdefault((schema, table), []).append(column)
        for (schema, table), names in listed.items():
            named = ", ".join(f'"{name}"' for name in names)
            found[f"{schema}.{table}"] = run(f"SELECT {named} FROM {schema}.{table}").fetchall()
        found["comments"] = run(
            "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE schema_name = 'main'"
            " AND NOT internal ORDER BY ALL"
        ).fetchall()
        found["views"] = run("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal").fetchall()
    return found


def ask(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["snapshots", "export", *arguments])


def exported(path: Path, role: str, out: Path) -> Path:
    result = ask("--store", str(path), "--role", role, "--out", str(out))
    assert result.exit_code == 0, result.stderr
    return out


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Stores that differ in hidden rows alone, by the name that stands in those."""
    directory = tmp_path_factory.mktemp("stores")
    return {"": built(directory / "plain", None), "concealed": built(directory / "hidden", "concealed")}


@pytest.mark.parametrize("role", ROLES)
def test_stores_that_differ_in_hidden_rows_export_the_same(
    stores: dict[str, Path], tmp_path: Path, role: str
) -> None:
    of = {name: exported(path, role, tmp_path / f"{name}.duckdb") for name, path in stores.items()}
    plain = content(of.pop(""))
    assert sum(len(plain[f"main.{view}"]) for view in ("events", "edges", "event_records")) > 100
    assert all(comment for _, comment in plain["views"])
    assert all(comment for *_, comment in plain["comments"])
    for name, path in of.items():
        assert content(path) == plain
        written = path.read_bytes()
        assert b"session-shown" in written, "texts do not lie there as they are: this looks in vain"
        assert name.encode() not in written
        assert b"f" * 32 not in written


def test_what_may_leave_is_judged_by_the_export_sink_and_recorded_before(tmp_path: Path) -> None:
    events = [
        event("g1", "imu", 0, 5, **tagged("imu", "home-private", wearer="w1")),
        event("g1", "imu", 5, 5, **tagged("imu", "public", wearer="w1")),
    ]
    ours = store(tmp_path / "s", {"policies": [POLICY], "events": events})
    with Store.open(ours, Role("analyst")) as opened:
        assert opened.sql("SELECT sum(count) FROM events").rows == [(10,)]
    out = exported(ours, "analyst", tmp_path / "x.duckdb")
    assert {
        row[0] for row in duckdb.connect(str(out), read_only=True).sql("SELECT zone FROM events").fetchall()
    } == {"public"}
    assert stat.S_IMODE(out.stat().st_mode) == 0o400
    (line,) = map(orjson.loads, (ours / AUDIT_LOG).read_bytes().splitlines())
    assert (line["question"], line["zones"], line["exported"]) == (f"snapshots export --out {out}", [], True)
    assert (line["epoch"], line["wrote"]) == (1, xxhash.xxh3_128(out.read_bytes()).hexdigest())


def test_a_read_that_cannot_be_recorded_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, out = built(tmp_path / "s", "hidden"), tmp_path / "x.duckdb"
    asked: list[str] = []

    def refuse(_self: Store, question: str, _wrote: str = "") -> None:
        asked.append(question)
        assert not out.exists(), "shown before it was recorded"
        raise UnavailableError("reads.jsonl: cannot be written")

    monkeypatch.setattr(Store, "record", refuse)
    result = ask("--store", str(ours), "--role", "analyst", "--out", str(out))
    assert (result.exit_code, asked) == (3, [f"snapshots export --out {out}"])
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, out = built(tmp_path / "s", None), tmp_path / "x.duckdb"
    exported(ours, "analyst", out)
    before = content(out)

    def full(_source: object, _target: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("shutil.copyfileobj", full)
        result = ask("--store", str(ours), "--role", "wearer:w9", "--out", str(out))
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr
    assert content(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s", "x.duckdb"]
    for segment in (ours / "segments").glob("events-*"):
        segment.unlink()
    result = ask("--store", str(ours), "--role", "analyst", "--out", str(tmp_path / "y.duckdb"))
    assert result.exit_code == 3
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s", "x.duckdb"]
    with working_directory("export") as left:
        assert [path.name for path in left.parent.glob("sightline-export-*")] == [left.name]


def test_a_directory_follows_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EXPORT_INTERVAL_S", 0.02)
    monkeypatch.setattr(limits, "EXPORT_REST", 0)
    ours, path = built(tmp_path / "s", None), tmp_path / "x.duckdb"
    stop, ready = threading.Event(), tmp_path / "ready"
    arguments = (ours, Role("analyst", exporting=True), path, stop, Ready(None, ready))
    follower = threading.Thread(target=command._follow, args=arguments, kwargs={"as_json": True})
    follower.start()
    try:
        assert _waited(lambda: ready.exists() and path.exists())
        first = path.stat().st_ino
        reading = duckdb.connect(str(path), read_only=True)
        writer = Writer.open(ours)
        writer.ingest_tables(tables(shown_rows(9)), T0_NS)
        epoch = writer.publish(T0_NS)
        writer.close()
        assert _waited(lambda: path.stat().st_ino != first)
        with duckdb.connect() as connection:
            connection.execute(f"ATTACH '{path}' AS newer (READ_ONLY)")
            assert connection.sql("SELECT max(epoch) FROM newer.events").fetchall() == [(epoch,)]
        assert reading.sql("SELECT max(epoch) FROM events").fetchall() == [(3,)], "who has it open keeps it"
    finally:
        stop.set()
        follower.join()


def test_ctrl_c_ends_following_cleanly(tmp_path: Path) -> None:
    ours, out = built(tmp_path / "s", None), tmp_path / "out"
    reading, writing = os.pipe()
    arguments = [
        "snapshots",
        "export",
        "--store",
        str(ours),
        "--role",
        "analyst",
        "--out",
        str(out),
        "--follow",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "streams.cli", *arguments, "--json", "--ready-fd", str(writing)],
        pass_fds=(writing,),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    with os.fdopen(reading, "rb") as ready:
        assert ready.read() == b"READY=1\n"
    process.send_signal(signal.SIGINT)
    said, complained = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, complained
    assert json.loads(said)["file"] == str(out / EXPORTED)
    assert [path.name for path in out.iterdir()] == [EXPORTED]


def test_what_cannot_be_exported_is_said_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(limits, "EXPORT_INTERVAL_S", 0.0)
    monkeypatch.setattr(limits, "EXPORT_REST", 0)
    ours, path = tmp_path / "s", tmp_path / "x.duckdb"
    stop, tries = threading.Event(), list[Path]()

    def away(store: Path, *_arguments: object, **_named: object) -> None:
        tries.append(store)
        if len(tries) < 5:
            raise UnavailableError(f"{store}: there is no store")
        stop.set()

    monkeypatch.setattr(command, "_export", away)
    command._follow(ours, Role("analyst", exporting=True), path, stop, Ready(), as_json=False)
    assert capsys.readouterr().err == f"{ours}: there is no store; trying again\n"
    assert tries == [ours] * 5


def _waited(done: Any, seconds: float = 20) -> bool:
    waiting = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if done():
            return True
        waiting.wait(0.02)
    return False
