"""Every command that reads a store says which of its files is not what the writer wrote."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result

from streams import limits
from streams.cli.main import main
from streams.errors import DamagedError
from streams.ledger.sources import StoreReader
from streams.replay.inputs import read_inputs
from tests.queries.folded import fold
from tests.snapshots.build import POLICY, batch, derived, edge, row, store, stream, tagged

ID = "g1/activity/0"
COMMANDS: dict[str, tuple[str, ...]] = {
    "ask ancestors": ("ask", "ancestors", ID),
    "ask why": ("ask", "why", ID),
    "ask genuine": ("ask", "genuine", ID, "0" * 32),
    "ask loop": ("ask", "loop", ID),
    "ask missing": ("ask", "missing"),
    "ask creep": ("ask", "creep"),
    "ask superseded": ("ask", "superseded"),
    "ask usage": ("ask", "usage"),
    "sql": ("sql", "SELECT count(*) FROM event_records"),
    "policy explain": ("policy", "explain", ID),
    "policy recheck": ("policy", "recheck"),
    "policy shadow": ("policy", "shadow"),
}


def made(path: Path, wearer: str) -> Path:
    """A store of two epochs, the first folded into an index."""
    decided = {name: value for name, value in tagged().items() if name != "kind"} | {"wearer": wearer}
    first = {
        "policies": [POLICY],
        "streams": [stream("g1", "imu"), stream("g1", "activity", "activity", captured=False)],
        "events": [batch("g1", "imu", 0, 100, wearer=wearer), derived("g1", "activity", 0, wearer=wearer)],
        "edges": [edge(("g1", "activity", 0), ("g1", "imu", 0), parent_width=100)],
        "decisions": [row("decisions", source="g1", stream="activity", sink="assistant", **decided)],
        "shadow": [row("shadow", source="g1", stream="activity", sink="assistant", zone="public")],
        "inputs": [row("inputs", kind="policy", agent="glasses", value=POLICY["version"])],
    }
    return fold(store(path, first, {"events": [batch("g1", "imu", 100, 20, wearer=wearer)]}), (1,))


def altered(path: Path) -> None:
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    # Behind what a file begins with, in each of its blocks.
    for place in range(100, len(content), 4096):
        content[place] ^= 0x55
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.chmod(0o600)
    os.truncate(path, path.stat().st_size // 2)


def catalog(path: Path) -> Iterable[Path]:
    return [(path / "catalog.duckdb").resolve()]


def parts(path: Path) -> Iterable[Path]:
    return list((path / "segments").iterdir())


def swapped(one: Path, other: Path) -> None:
    """Under each name what another store has of that sort."""
    sort = one.name.partition("-")[0]
    found = sorted(other.rglob(f"{sort}-*"))[-1]
    one.unlink()
    shutil.copy(found, one)


def linked(one: Path, other: Path) -> None:
    found = next(other.rglob(one.name.partition("-")[0] + "-*"))
    one.unlink()
    one.symlink_to(found)


ONE_FILE: dict[str, Callable[[Path, Path], object]] = {
    "missing": lambda one, _: one.unlink(),
    "cut": lambda one, _: cut(one),
    "altered": lambda one, _: altered(one),
    "swapped": swapped,
    "linked": linked,
}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("damage")
    return made(directory / "one", "w-seven"), made(directory / "other", "w-eight")


def run(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--store", str(path), "--role", "privacy-officer"])


@pytest.mark.parametrize("damage", ONE_FILE)
@pytest.mark.parametrize("which", [catalog, parts], ids=["catalog", "segments and indexes"])
def test_damage_is_a_sentence_in_every_command(
    stores: tuple[Path, Path], tmp_path: Path, which: Callable[[Path], Iterable[Path]], damage: str
) -> None:
    path = tmp_path / "s"
    shutil.copytree(stores[0], path, symlinks=True)
    for file in which(path):
        ONE_FILE[damage](file, stores[1])
    for name, arguments in COMMANDS.items():
        found = run(path, *arguments)
        assert found.exit_code == 3, (name, found.output)
        assert "; the store is damaged. To go on, bring the store back from a copy" in found.output, name
        assert str(path) in found.output
        assert "w-seven" not in found.output
    with pytest.raises(DamagedError, match="the store is damaged"):
        read_inputs(path)
    # It has eyes of its own, and no digests: what DuckDB cannot read.
    if damage == "cut":
        with pytest.raises(DamagedError, match="DuckDB cannot read"):
            StoreReader(path).rows("SELECT count(*) FROM event_records")


def test_what_is_whole_is_answered(stores: tuple[Path, Path]) -> None:
    for name, arguments in COMMANDS.items():
        found = run(stores[0], *arguments)
        assert found.exit_code in (0, 1), (name, found.output)
        assert "damaged" not in found.output
    read_inputs(stores[0])


def test_a_newer_version_is_a_sentence(stores: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "s"
    shutil.copytree(stores[0], path, symlinks=True)
    (newest,) = catalog(path)
    newest.chmod(0o600)
    with duckdb.connect(str(newest)) as connection:
        connection.execute("UPDATE store SET version = version + 1")
    for arguments in COMMANDS.values():
        found = run(path, *arguments)
        assert found.exit_code == 2
        assert f"found a store of version {limits.STORE_VERSION + 1}" in found.output
