"""Outside the tables an erasure leaves nothing of her: in the audit log, in logs, metrics and exports."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from streams import limits, metrics
from streams.audit_log import AUDIT_LOG, add_line, change_lines
from streams.cli.snapshots_erasing import warn_of_left
from streams.cli.snapshots_export import _follow
from streams.metrics import exposition
from streams.queries import audit
from streams.queries.export import EXPORTED
from streams.queries.role import Role, RoleFilter
from streams.readiness import Ready
from streams.snapshots.erasing import eraser
from streams.snapshots.writer import Writer
from tests.patience import PATIENCE_S
from tests.snapshots.build import T0_NS
from tests.snapshots.contents import ask, hits
from tests.snapshots.worlds import HER, HERS, SHARED, World, erasure, filled, mark

_LATER_NS = T0_NS + 500_000_000_000
#: Questions that name her, and what is left of each.
NAMING = {
    f"reach {HER}": "reach {mark}",
    f"find --wearer {HER} --kind imu": "find --wearer {mark} --kind imu",
    f"why {HERS}/activity/3": "why {mark}",
    f"SELECT 1 FROM events WHERE source='{HERS}' OR wearer LIKE '{HER}%'": (
        "SELECT 1 FROM events WHERE source='{mark}' OR wearer LIKE '{mark}%'"
    ),
    f"report --out /home/{HER}/{HER}.html": "report --out /home/{mark}/{mark}.html",
}
OTHERS = ("why g1/activity/3", f"missing {SHARED}", "find --wearer w1", f"reach {HER}x", f"reach x-{HER}")


def _read(path: Path, question: str, role: str = "privacy-officer") -> None:
    role_filter = RoleFilter(Role.of(role), {})
    role_filter.restricted.add("health")
    audit.record({str(path): 3}, role_filter, question)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / AUDIT_LOG).read_bytes().splitlines()]


def _number(path: Path, wearer: str) -> int:
    of = f"source = '{SHARED}' AND stream = 'imu-right' AND wearer = '{wearer}'"
    rows = ask(path, f"SELECT min(first) FROM events WHERE {of}")
    return int(rows[0][0])


@pytest.fixture
def world() -> World:
    return World(6, fetches=9, until=9)


@pytest.fixture
def path(tmp_path: Path, world: World) -> Path:
    return filled(tmp_path / "store", world.lineage(with_her=True), every=4)


def _erase(path: Path, at_ns: int, *, number: int = 1) -> None:
    writer = Writer.open(path, fold="inline")
    writer.erase([erasure(at_ns, number)], mark, _LATER_NS)
    writer.settle(_LATER_NS)
    writer.close()


def test_a_writer_that_ends_says_whose_former_files_are_still_there(
    path: Path, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Readers are promised them for a while, and no other process deletes them afterwards."""
    _erase(path, world.at_ns, number=7)
    assert hits(path, [HERS])
    warn_of_left(path)
    assert [record.getMessage().partition(": ")[2][:22] for record in caplog.records] == [
        "erasure 7 is applied, "
    ]
    assert HER not in caplog.text
    caplog.clear()
    monkeypatch.setattr(limits, "ERASED_GRACE_S", 0.0)
    _erase(path, world.at_ns, number=7)
    assert hits(path, [HERS]) == []
    warn_of_left(path)
    warn_of_left(path.with_name("none"))
    assert not caplog.records


@pytest.mark.usefixtures("small")
def test_the_audit_log_keeps_who_read_what_and_names_her_no_more(path: Path, world: World) -> None:
    hers, somebodys = _number(path, HER), _number(path, "w1")
    for question in (*NAMING, *OTHERS):
        _read(path, question)
    _read(path, "wearer", f"wearer:{HER}")
    _read(path, f"why {SHARED}/imu-right/{hers}")
    _read(path, f"why {SHARED}/imu-right/{somebodys}")
    with (path / AUDIT_LOG).open("ab") as log:
        log.write(f"half a line of {HERS}\n".encode())
    before = (path / AUDIT_LOG).read_bytes().splitlines()
    _erase(path, world.at_ns, number=7)
    after = (path / AUDIT_LOG).read_bytes().splitlines()
    assert hits(path, [HERS]) == []
    told = dict(zip([*NAMING, *OTHERS], map(json.loads, after), strict=False))
    for question, left in NAMING.items():
        line, former = told[question], json.loads(before[[*NAMING].index(question)])
        assert line["question"] == left.format(mark=mark(HER))
        assert line["erased"] == [7]
        assert line["sha256"] != former["sha256"]
        assert line["bytes"] == len(line["question"])
        assert {name: line[name] for name in ("t", "role", "user", "zones", "epoch")} == {
            name: former[name] for name in ("t", "role", "user", "zones", "epoch")
        }
    kept = len(NAMING)
    assert after[kept : kept + len(OTHERS)] == before[kept : kept + len(OTHERS)], "to the byte"
    role, event, others, half = after[kept + len(OTHERS) :]
    assert json.loads(role)["role"] == f"wearer:{mark(HER)}"
    assert json.loads(event)["question"] == f"why {mark(HER)}"
    assert others == before[-2]
    assert half == f"half a line of {mark(HER)}".encode()
    # The same again changes nothing.
    _erase(path, world.at_ns, number=7)
    assert (path / AUDIT_LOG).read_bytes().splitlines() == after


@pytest.mark.usefixtures("small")
def test_where_something_of_hers_stays_her_name_does_and_only_erased_ids_go(tmp_path: Path) -> None:
    world = World(6, fetches=12, until=12, since=5)
    path = filled(tmp_path / "store", world.lineage(with_her=True), every=4)
    ids = {
        erased: ask(
            path,
            "SELECT source || '/' || stream || '/' || first FROM events "
            f"WHERE wearer = '{HER}' AND stream = 'imu-right' AND t_first_ns {sign} {world.since_ns} LIMIT 1",
        )[0][0]
        for erased, sign in ((True, ">="), (False, "<"))
    }
    for question in (f"reach {HER}", f"missing {HERS}", f"why {ids[True]}", f"why {ids[False]}"):
        _read(path, question)
    writer = Writer.open(path, fold="inline")
    writer.erase([erasure(world.at_ns, 5, since_ns=world.since_ns)], mark, _LATER_NS)
    writer.settle(_LATER_NS)
    writer.close()
    asked = [(line["question"], line.get("erased", [])) for line in _lines(path)]
    assert asked == [
        (f"reach {HER}", []),
        (f"missing {HERS}", []),
        (f"why {mark(HER)}", [5]),
        (f"why {ids[False]}", []),
    ]


@pytest.mark.usefixtures("small")
def test_what_is_asked_in_a_later_life_stays(path: Path, world: World) -> None:
    _read(path, f"reach {HER}")
    _erase(path, world.at_ns)
    _read(path, f"reach {HER}")
    writer = Writer.open(path, fold="inline")
    writer.erase([erasure(world.at_ns), erasure(world.at_ns, 2, "w1")], mark, _LATER_NS)
    writer.settle(_LATER_NS)
    writer.close()
    assert [line["question"] for line in _lines(path)] == [f"reach {mark(HER)}", f"reach {HER}"]


class KilledError(BaseException):
    """Stands for the death of the process."""


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("step", eraser.STEPS[:2])
def test_a_crash_leaves_the_log_whole_and_the_next_writer_finishes_it(
    path: Path, world: World, step: int
) -> None:
    for question in NAMING:
        _read(path, question)

    def die(done: int) -> None:
        if done == step:
            raise KilledError

    writer = Writer.open(path, fold="inline", after_step=die)
    with pytest.raises(KilledError):
        writer.erase([erasure(world.at_ns)], mark, _LATER_NS)
    # As the death of a process leaves it: nothing is cleaned up.
    writer._hot.close()
    writer._lock.close()
    assert len(_lines(path)) == len(NAMING)
    assert not ask(path, "FROM erasures WHERE absent_ns > 0"), "nothing claims that it is gone"
    _erase(path, world.at_ns)
    assert [line["question"] for line in _lines(path)] == [
        left.format(mark=mark(HER)) for left in NAMING.values()
    ]
    assert len(ask(path, "FROM erasures WHERE absent_ns > 0")) == 1


@pytest.mark.usefixtures("small")
def test_a_store_that_has_nothing_of_her_forgets_who_asked_for_her(tmp_path: Path, world: World) -> None:
    path = filled(tmp_path / "store", world.lineage(with_her=False), every=4)
    _read(path, f"reach {HER}")
    _erase(path, world.at_ns)
    assert [line["question"] for line in _lines(path)] == [f"reach {mark(HER)}"]


def test_no_line_is_lost_while_others_write_the_log(tmp_path: Path) -> None:
    log, enough = tmp_path / AUDIT_LOG, threading.Event()

    def write(name: str) -> int:
        nth = 0
        while not enough.is_set():
            add_line(log, f"{name} {nth}\n".encode())
            nth += 1
        return nth

    def change() -> bool:
        return change_lines(log, lambda line: line.replace(b"a ", b"x ")) > 0

    replaced, deadline_s = 0, time.monotonic() + PATIENCE_S
    with ThreadPoolExecutor(2) as pool:
        writing = [pool.submit(write, name) for name in ("a", "b")]
        while replaced < 20 and time.monotonic() < deadline_s:
            replaced += change()
        enough.set()
    change()
    assert replaced == 20
    assert sorted(log.read_bytes().splitlines()) == sorted(
        f"{name} {nth}".encode()
        for name, each in zip(("x", "b"), writing, strict=True)
        for nth in range(each.result())
    )
    assert [each.name for each in tmp_path.iterdir()] == [AUDIT_LOG]


@pytest.mark.usefixtures("small")
def test_canaries_are_in_no_log_metric_or_export_that_follows(
    path: Path,
    world: World,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(limits, "EXPORT_INTERVAL_S", 0.01)
    shared, stop = tmp_path / "shared", threading.Event()
    shared.mkdir()
    out = shared / EXPORTED
    # Of a process that was killed while it moved the file there.
    (shared / f"{EXPORTED}.0123abcd.tmp").write_text(HER)
    role = Role("privacy-officer", exporting=True)
    following = threading.Thread(
        target=_follow, args=(path, role, out, stop, Ready()), kwargs={"as_json": True}
    )
    following.start()
    try:
        _until(lambda: out.exists() and hits(shared, [HER]) != [])
        former = out.stat().st_ino
        _erase(path, world.at_ns)
        _until(lambda: out.stat().st_ino != former and hits(shared, [HER, HERS]) == [])
    finally:
        stop.set()
        following.join()
    assert [each.name for each in shared.iterdir()] == [EXPORTED]
    assert hits(path, [HER, HERS]) == [], "what leaves is on record, and that does not name her either"
    assert len(_lines(path)) >= 2
    exposition.write(tmp_path / "metrics.txt", metrics.PROCESS)
    told = caplog.text + (tmp_path / "metrics.txt").read_text()
    assert "sightline_" in told
    assert not [name for name in (HER, HERS) if name in told]


def _until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
