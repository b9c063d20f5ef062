"""roles.toml: who may take which role, and whose word that file is."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streams import settings
from streams.cli.main import main
from streams.errors import InputError
from streams.queries import grants
from streams.queries.role import Role
from streams.queries.store import Store
from tests.snapshots.build import POLICY, event, store, stream, tagged

ME = pwd.getpwuid(os.getuid()).pw_name
ASKED = (
    ("ask", "why", "g1/imu/0"),
    ("ask", "missing"),
    ("sql", "FROM streams"),
    ("policy", "recheck"),
    ("policy", "shadow"),
    ("policy", "explain", "g1/imu/0"),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = {
        "streams": [stream("g1", "imu")],
        "policies": [POLICY],
        "events": [event("g1", "imu", 0, 9, **tagged(wearer="w1"))],
    }
    return store(tmp_path_factory.mktemp("grants") / "s", rows)


@pytest.fixture
def path(made: Path) -> Iterator[Path]:
    yield made
    (made / grants.ROLES).unlink(missing_ok=True)


def granted(path: Path, text: str, mode: int = 0o600) -> Path:
    file = path / grants.ROLES
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    return file


def ask(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--store", str(path)])


def test_without_the_file_roles_are_anybodys_and_it_is_said(path: Path) -> None:
    assert ask(path, "sql", "FROM streams", "--role", "privacy-officer").exit_code == 0
    assert grants.described(path) == "no roles.toml: whoever can read the store's files takes any role"


@pytest.mark.parametrize("asked", ASKED)
def test_a_role_that_is_not_granted_is_refused(path: Path, asked: tuple[str, ...]) -> None:
    granted(path, f'[roles]\nanalyst = ["{ME}"]\nprivacy-officer = ["somebody-else"]\n')
    refused = ask(path, *asked, "--role", "privacy-officer")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert f"found no grant of the role privacy-officer for the user {ME}" in refused.stderr
    assert ask(path, *asked, "--role", "wearer:w1").exit_code == 2
    # Whatever the answer is: the role is not why.
    assert "no grant" not in ask(path, *asked, "--role", "analyst").stderr


def test_diff_over_a_store_asks_for_a_role_too(path: Path) -> None:
    granted(path, f'[roles]\nanalyst = ["{ME}"]\n')
    over = ["policy", "diff", "household", "household", "--over", str(path)]
    assert CliRunner().invoke(main, [*over, "--role", "privacy-officer"]).exit_code == 2
    assert CliRunner().invoke(main, over).exit_code == 0


def test_programs_that_judge_the_store_take_no_role(path: Path) -> None:
    granted(path, "[roles]\n")
    with Store.open(path) as opened:
        assert opened.sql("FROM events").rows


def test_a_second_file_only_restricts(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    granted(path, f'[roles]\nanalyst = ["{ME}"]\n')
    elsewhere = granted(tmp_path, f'[roles]\nprivacy-officer = ["{ME}"]\nanalyst = []\n')
    monkeypatch.setattr(settings, "ROLES", elsewhere)
    for role in ("analyst", "privacy-officer"):
        with pytest.raises(InputError, match=f"no grant of the role {role}"):
            grants.require(path, Role.of(role))
    assert "1 roles are granted to 1 users" in grants.described(path)


@pytest.mark.parametrize(
    ("text", "mode", "found"),
    [
        ("[roles", 0o600, "found no TOML"),
        ('[role]\nanalyst = ["a"]', 0o600, "found other tables"),
        ('analyst = ["a"]', 0o600, "found other tables"),
        ('[roles]\nanalyst = "a"', 0o600, "found something else under analyst"),
        ("[roles]\nanalyst = [1]", 0o600, "found something else under analyst"),
        ("[roles]\nroot = []", 0o600, "expected analyst, privacy-officer or wearer:ID"),
        (f'[roles]\nanalyst = ["{ME}"]', 0o620, "found a file of mode 0620"),
        (f'[roles]\nanalyst = ["{ME}"]', 0o602, "found a file of mode 0602"),
        (f"[roles]\n#{'x' * 70_000}", 0o600, "found more than 65,536 bytes"),
    ],
)
def test_a_file_that_is_none_grants_nothing(path: Path, text: str, mode: int, found: str) -> None:
    granted(path, text, mode)
    refused = ask(path, "sql", "FROM streams", "--role", "analyst")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert found in refused.stderr


def test_a_link_is_not_taken(path: Path, tmp_path: Path) -> None:
    elsewhere = granted(tmp_path, f'[roles]\nanalyst = ["{ME}"]\n')
    for target in (elsewhere, tmp_path / "nowhere"):
        (path / grants.ROLES).unlink(missing_ok=True)
        (path / grants.ROLES).symlink_to(target)
        assert ask(path, "sql", "FROM streams").exit_code == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_another_users_file_is_not_believed(path: Path) -> None:
    file = granted(path, f'[roles]\nanalyst = ["{ME}"]\n')
    os.chown(file, 12345, -1)
    refused = ask(path, "sql", "FROM streams")
    assert (refused.exit_code, "found a file of user 12345" in refused.stderr) == (2, True)
