"""The README and docs/questions.md show the current output of their commands.

The README names every command and explains every dependency. `python -m tests.test_docs STORE` writes the
current outputs to both.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.cli.main import COMMANDS
from tests.build import T0_NS
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = (README, ROOT / "docs" / "questions.md")
#: These two are what CI runs.
NOT_RUN_HERE = ("make demo", "make test")
_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def shown(page: Path = README) -> dict[str, str]:
    """Output by command, as a page shows it.

    A command continues on lines that begin with `> `, the shell's prompt for them.
    """
    found: dict[str, str] = {}
    for block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        command = ""
        for line in block.splitlines(keepends=True):
            if line.startswith("$ "):
                command = line[2:].strip()
                found[command] = ""
            elif line.startswith("> ") and not found[command]:
                del found[command]
                command += "\n" + line[2:].rstrip()
                found[command] = ""
            else:
                found[command] += line
    return {command: output for command, output in found.items() if command not in NOT_RUN_HERE}


def printed(command: str, directory: Path, *, refused: bool = False) -> str:
    """Output of a README command as a privacy officer in `directory`, which has `lineage-store`.

    `refused`: the sentence by which it is.
    """
    program, *arguments = shlex.split(command)
    programs = {"sightline": ["-m", "streams.cli"], "device-sim": ["-m", "device_sim"], "python": []}
    result = subprocess.run(
        [sys.executable, *programs[program], *arguments],
        capture_output=True,
        text=True,
        cwd=directory,
        timeout=PATIENCE_S,
        check=False,
        env={**os.environ, "SIGHTLINE_ROLE": "privacy-officer"},
    )
    assert result.returncode == (2 if refused else 0), result.stderr
    return result.stderr if refused else result.stdout


#: The log of Kafka that a store follows; a store made by a replay follows none.
_LOG = re.compile(r"\nlog\ncluster .*\ntopic .*\nsince epoch .*\n")


def shape(output: str) -> list[str]:
    """Lines without numbers, digests and widths; equal neighbours are merged."""
    lines: list[str] = []
    for line in _LOG.sub("", output).splitlines():
        plain = re.sub(r"\b[0-9a-f]{16,}\b", "#", line)
        plain = re.sub(r"\d[\d,.:TZ-]*", "#", plain)
        plain = re.sub(r"#(?:\W+#)+", "#", " ".join(plain.split()))
        if plain and plain != (lines[-1] if lines else None):
            lines.append(plain)
    return lines


def replayed(directory: Path) -> Path:
    """Put a store into a folder, as a user has it after the demo; return the folder.

    It is made by a replay, which needs no broker.
    """
    for arguments in (
        [
            "device_sim",
            "run",
            "--scenario",
            "commute",
            "--to",
            "file",
            "--journal",
            "journal",
            "--start-ns",
            f"{T0_NS}",
        ],
        ["streams.cli", "replay", "journal", "--store", "lineage-store"],
    ):
        subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=directory,
            check=True,
            capture_output=True,
            # The replay computes for as long as it takes; beside many other tests that is minutes.
            timeout=10 * PATIENCE_S,
        )
    return directory


@pytest.mark.parametrize(("page", "command"), [(page, command) for page in PAGES for command in shown(page)])
def test_a_page_shows_what_is_printed_today(page: Path, command: str, home: Path) -> None:
    assert shape(shown(page)[command]) == shape(printed(command, home))


def test_every_command_is_in_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"sightline {name}" in text or f"make {name}" in text, (
            f"the README does not mention sightline {name}"
        )
    assert "device-sim run" in text


def test_every_dependency_is_explained() -> None:
    text = README.read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for requirement in [
        *project["dependencies"],
        *(r for extra in project["optional-dependencies"].values() for r in extra),
    ]:
        name = re.split(r"[\[<>=]", requirement)[0]
        assert name in text, f"the README does not say what {name} is for"


def test_ci_runs_the_readme_command() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def rewrite(store: Path, page: Path = README, run: Callable[[str, Path], str] = printed) -> None:
    """Write current outputs to a page, as `run` gives them; `store` must be named lineage-store."""
    text = page.read_text(encoding="utf-8")
    for command in shown(page):
        typed = "\n> ".join(command.split("\n"))
        pattern = re.compile(r"(```console\n\$ " + re.escape(typed) + r"\n).*?(```)", re.DOTALL)
        output = run(command, store.parent)
        text = pattern.sub(lambda match, output=output: match[1] + output + match[2], text)  # type: ignore[misc]
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for shown_on in PAGES:
        rewrite(Path(sys.argv[1]), shown_on)
