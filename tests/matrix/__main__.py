"""`make matrix`: a wheel, installed into an empty environment of each Python that is here, gives everything.

All files and commands are there, what needs an extra says so, and with the extras a demo comes out clean. It
takes the versions that a stranger's pip takes today, not those of the lock files. `python -m
tests.matrix 3.12` tries that version alone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from streams.cli.main import COMMANDS
from streams.printing import say

ROOT = Path(__file__).parents[2]
#: Second number of the version: Python 3.11 to 3.14.
MINORS = range(11, 15)
PACKAGES = ("streams", "device_sim")
_PIP_TIMEOUT_S, _TIMEOUT_S = 1800, 300
#: Files of the package as pip recorded them, one a line.
_INSTALLED = "from importlib.metadata import files; print(*files('sightline'), sep='\\n')"
_ASKED = "from streams import open_store; print(len(open_store('store', role='analyst').sql('FROM events')))"


class FailedError(Exception):
    """What an installation lacks, or how a command of it ended."""


def run(*command: str | Path, cwd: Path, timeout_s: int = _TIMEOUT_S, code: int = 0) -> str:
    """Standard output and error of a command that must end with `code`; FailedError where it does not."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, timeout=timeout_s, check=False, env=environment
    )
    if ended.returncode != code:
        last = (ended.stderr.strip() or ended.stdout.strip() or "no message").splitlines()[-1]
        shown = " ".join([Path(command[0]).name, *map(str, command[1:])])
        raise FailedError(f"{shown} ended with {ended.returncode}, expected {code}: {last}")
    return ended.stdout + ended.stderr


def tracked() -> list[str]:
    """Paths of the files of the packages, as git knows them."""
    return run("git", "ls-files", *PACKAGES, cwd=ROOT).splitlines()


def wheel(directory: Path) -> Path:
    """Build a wheel of the files that git knows, as they are now; leftovers of builds stay outside."""
    source = directory / "source"
    for name in [*tracked(), "pyproject.toml", "README.md", "LICENSE"]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    run(*pip, "--wheel-dir", directory, source, cwd=directory, timeout_s=_PIP_TIMEOUT_S)
    return next(directory.glob("*.whl"))


def interpreters(minors: Iterable[int]) -> Iterator[tuple[int, Path | None]]:
    """(minor version, interpreter) of each of these versions; None where it is not here."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in minors:
        named = shutil.which(f"python3.{minor}")
        paths = [*([Path(named)] if named else []), *sorted(pyenv.glob(f"3.{minor}.*/bin/python"))]
        yield minor, next((path for path in paths if answers(path, minor)), None)


def answers(path: Path, minor: int) -> bool:
    """Whether an interpreter runs and is of that version; a name of pyenv's can stand for none."""
    asked = [str(path), "-c", f"import sys; sys.exit(sys.version_info[:2] != (3, {minor}))"]
    return subprocess.run(asked, capture_output=True, timeout=60, check=False).returncode == 0


def packages_mb(environment: Path) -> int:
    """Megabytes of the packages of an environment, pip itself left out."""
    [site] = environment.glob("lib/python3.*/site-packages")
    files = (path for path in site.rglob("*") if path.is_file() and path.relative_to(site).parts[0] != "pip")
    return sum(path.stat().st_size for path in files) // 1_000_000


def tried(python: Path, built: Path, directory: Path) -> str:
    """Install and use the wheel in an empty environment; what there is to say of it, or FailedError."""
    environment, commands = directory / "environment", directory / "environment" / "bin"
    run(str(python), "-m", "venv", environment, cwd=directory)
    pip = [str(commands / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    run(*pip, built, cwd=directory, timeout_s=_PIP_TIMEOUT_S)
    base_mb = packages_mb(environment)
    absent = set(tracked()) - set(run(commands / "python", "-c", _INSTALLED, cwd=directory).splitlines())
    if absent:
        raise FailedError(f"{len(absent)} files are not installed, the first is {min(absent)}")
    for command in COMMANDS:
        run(commands / "sightline", command, "--help", cwd=directory)
    run(commands / "sightline", "policy", "check", "household", cwd=directory)
    smoke = ["--scenario", "smoke", "--to", "file", "--journal", "journal"]
    run(commands / "device-sim", "run", *smoke, cwd=directory)
    refused = run(commands / "sightline", "replay", "journal", cwd=directory, code=3)
    if "sightline[worker]" not in refused:
        raise FailedError(f"replay without its extra says: {refused.strip()}")
    run(*pip, f"{built}[worker,broker]", cwd=directory, timeout_s=_PIP_TIMEOUT_S)
    demo = ["demo", "--scenario", "smoke", "--speed", "10", "--store", "store", "--json"]
    played = run(commands / "sightline", *demo, cwd=directory, timeout_s=_PIP_TIMEOUT_S)
    ledger = json.loads(re.findall(r"^\{.*\}$", played, re.MULTILINE)[-1])
    rows = run(commands / "python", "-W", "ignore", "-c", _ASKED, cwd=directory).strip()
    return (
        f"{len(COMMANDS)} commands, all files; {base_mb} MB of packages, {packages_mb(environment)} with both"
        f" extras; demo {'clean' if ledger['clean'] else 'NOT CLEAN'}, {rows} rows for an analyst"
    )


def main(versions: Sequence[str]) -> int:
    """Try interpreters of these versions, or of all, and print a line of each; 1 where one of them failed."""
    failed, minors = False, [int(version.removeprefix("3.")) for version in versions] or MINORS
    with tempfile.TemporaryDirectory(prefix="sightline-matrix-") as made:
        built = wheel(Path(made))
        for minor, python in interpreters(minors):
            if python is None:
                say(f"3.{minor}  not tried: no python3.{minor} here")
                continue
            with tempfile.TemporaryDirectory(prefix="sightline-matrix-") as directory:
                try:
                    outcome = tried(python, built, Path(directory))
                except (FailedError, subprocess.TimeoutExpired) as error:
                    failed, outcome = True, f"FAILED: {error}"
            say(f"3.{minor}  {outcome}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
