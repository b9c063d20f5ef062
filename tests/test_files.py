"""Files are private, a planted name is never followed, and files of dead processes are removed."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from device_sim.files import Journal
from streams import files, metrics
from streams.cli.main import main as sightline
from streams.errors import InputError
from streams.kafka import broker
from streams.metrics import exposition
from streams.queries import audit
from streams.queries.role import Role, RoleFilter
from streams.replay.derived import DerivedLines
from streams.snapshots.writer import Writer
from tests.snapshots import build


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def store(path: Path) -> None:
    """A store with an epoch, made as by a command."""
    with files.owner_only():
        build.store(path, {"events": [build.event("g1", "imu-right", 0, 20)]})
    officer = RoleFilter(Role("privacy-officer"), {}, restricted={"home"})
    audit.record({str(path): 1}, officer, "why")


def broker_directory(path: Path) -> None:
    """The files that a broker makes before Java runs."""
    files.make_directory(path / "log")
    broker._claim(path).close()
    broker.cluster_id(path)


def measured(path: Path) -> None:
    """A file of a worker's metrics."""
    files.make_directory(path)
    exposition.write(path / "worker.prom", metrics.PROCESS)


MAKERS: dict[str, Callable[[Path], object]] = {
    "store": store,
    "journal": lambda path: Journal(path, "g1").close(),
    "replay --out": lambda path: DerivedLines(path).__exit__(None, None, None),
    "broker": broker_directory,
    "metrics": measured,
}


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("maker", MAKERS)
def test_what_is_made_is_its_owners_alone_whatever_the_umask_is(maker: str, tmp_path: Path) -> None:
    root = tmp_path / "deep" / "made"
    MAKERS[maker](root)
    made = [root.parent, root, *root.rglob("*")]
    assert len(made) > 2
    others = {str(path): oct(mode(path)) for path in made if not path.is_symlink() and mode(path) & 0o077}
    assert others == {}


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("planted", ["link", "dangling link", "file", "beside"])
def test_an_export_neither_follows_nor_takes_what_was_planted(planted: str, tmp_path: Path) -> None:
    build.store(tmp_path / "store", {})
    victim, out = tmp_path / "victim", tmp_path / "out.csv"
    victim.write_text("untouched")
    if planted == "link":
        out.symlink_to(victim)
    elif planted == "dangling link":
        out.symlink_to(tmp_path / "nowhere")
    elif planted == "file":
        out.write_text("before")
        out.chmod(0o666)
    else:
        (tmp_path / "out.csv.tmp").symlink_to(victim)
    arguments = ["sql", "SELECT 1 AS one", "--store", str(tmp_path / "store"), "--out", str(out)]
    result = CliRunner().invoke(sightline, arguments)
    assert result.exit_code == 0, result.output
    assert (out.is_symlink(), mode(out), out.read_text().split()) == (False, 0o600, ["one", "1"])
    assert victim.read_text() == "untouched"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("what", ["link", "directory", "second name", "pipe"])
def test_a_planted_journal_is_a_sentence(what: str, tmp_path: Path) -> None:
    path, victim = tmp_path / "g1.jsonl", tmp_path / "victim"
    victim.write_text("untouched")
    plant: dict[str, Callable[[], None]] = {
        "link": lambda: path.symlink_to(victim),
        "directory": path.mkdir,
        "second name": lambda: path.hardlink_to(victim),
        "pipe": lambda: os.mkfifo(path),
    }
    plant[what]()
    with pytest.raises(InputError, match=r"g1\.jsonl: "):
        Journal(tmp_path, "g1")
    assert victim.read_text() == "untouched"


def test_a_journal_that_others_could_read_is_theirs_no_longer(tmp_path: Path) -> None:
    path = tmp_path / "g1.jsonl"
    path.touch()
    path.chmod(0o666)
    Journal(tmp_path, "g1").close()
    assert mode(path) == 0o600


def test_a_file_that_was_replaced_while_it_was_opened_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other, opening = tmp_path / "g1.jsonl", tmp_path / "other", os.open
    path.write_text("before")
    other.write_text("after")

    def open_and_replace(named: Path, flags: int, mode: int) -> int:
        descriptor = opening(named, flags, mode)
        if other.exists():
            other.replace(path)
        return descriptor

    monkeypatch.setattr(os, "open", open_and_replace)
    with files.append(path) as file:
        assert (file.seek(0), file.readall()) == (0, b"after")


def test_another_users_directory_or_file_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "g1.jsonl").touch()
    found = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: found + 1)
    for refused, made in (
        (f"found a directory of user {found}", lambda: files.make_directory(tmp_path)),
        (f"found a directory of user {found}", lambda: Writer.open(tmp_path)),
        (f"found a file of user {found}", lambda: files.append(tmp_path / "g1.jsonl")),
    ):
        with pytest.raises(InputError, match=refused):
            made()


def test_a_planted_hot_file_is_not_opened(tmp_path: Path) -> None:
    Writer.open(tmp_path / "store").close()
    hot = tmp_path / "store" / "hot.duckdb"
    hot.rename(tmp_path / "elsewhere.duckdb")
    hot.symlink_to(tmp_path / "elsewhere.duckdb")
    with pytest.raises(InputError, match="found a link or a device"):
        Writer.open(tmp_path / "store")


def test_a_new_file_is_never_one_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="cannot be written"):
        files.create(path)
    assert not (tmp_path / "nowhere").exists()


def test_a_file_that_could_not_be_finished_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("before")

    def half() -> None:
        with files.written(tmp_path / "x") as file:
            file.write(b"half")
            raise OSError(errno.ENOSPC, "")

    with pytest.raises(InputError, match="No space left"):
        half()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_a_group_reads_what_is_published_and_nothing_else_when_it_is_told_to(tmp_path: Path) -> None:
    path = tmp_path / "store"
    path.mkdir()
    path.chmod(0o2750)
    store(path)
    readable = {
        each.name.partition("-")[0]
        for each in path.rglob("*")
        if mode(each) & 0o040 and not each.is_symlink()
    }
    assert readable == {"catalog", "events", "segments", "zone_runs"}
    assert not any(mode(each) & 0o007 for each in path.rglob("*") if not each.is_symlink())


def test_working_directories_of_the_dead_are_swept_by_their_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead, alive = tmp_path / "sightline-worker-dead", tmp_path / "sightline-worker-alive"
    unknown, other = tmp_path / "sightline-worker-unknown", tmp_path / "sightline-replay-dead"
    for directory in (dead, alive, unknown, other):
        directory.mkdir()
        (directory / "spilled").write_text("words")
        if directory is not unknown:
            (directory / "lock").touch()
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "lock").touch()
    (tmp_path / "sightline-worker-link").symlink_to(tmp_path / "victim")
    os.utime(alive, (0, 0))
    with (alive / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with files.working_directory("worker") as ours:
            assert (mode(ours), ours.name.startswith("sightline-worker-")) == (0o700, True)
            assert {path.name for path in tmp_path.iterdir()} == {
                *(each.name for each in (alive, unknown, other, ours)),
                "victim",
                "sightline-worker-link",
            }
            with files.working_directory("worker"):
                assert ours.exists(), "the lock of one that runs is held"
    assert not ours.exists()
