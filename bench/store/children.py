"""Runs parts of the bench as child processes, each of which prints one JSON object."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def said(module: str, *arguments: object, path: Path | None = None) -> Any:
    """Output of `python -m bench.store.MODULE`; packages in `path` override those of the environment.

    RuntimeError with the last lines of its error output if it fails.
    """
    command = [sys.executable, "-m", f"bench.store.{module}", *map(str, arguments)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment(path))
    if found.returncode:
        last = "\n".join(found.stderr.strip().splitlines()[-8:])
        raise RuntimeError(f"{' '.join(command[2:])}: ended with code {found.returncode}: {last}")
    return json.loads(found.stdout)


def wall_ms(command: list[str]) -> float:
    """Milliseconds from the start to the end of a Python process."""
    began_s = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True, env=_environment(None))
    return (time.perf_counter() - began_s) * 1000


def other_duckdb(version: str, directory: Path) -> str:
    """Install another version of a package to a directory; return why that failed, or an empty text."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--target", str(directory), f"duckdb=={version}"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    return (made.stderr.strip().splitlines() or ["no message"])[-1] if made.returncode else ""


def _environment(path: Path | None) -> dict[str, str]:
    # Installed packages have bytecode; allowing it here avoids compiling every module again.
    ours = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**ours, "PYTHONPATH": os.pathsep.join(map(str, filter(None, (path, ROOT))))}
