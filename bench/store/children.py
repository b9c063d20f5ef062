"""Runs parts of the bench as processes of their own, each of which prints one JSON object."""

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
    """What `python -m bench.store.MODULE` prints; packages in `path` come before the environment's own.

    RuntimeError with the last lines of its error output when it fails.
    """
    command = [sys.executable, "-m", f"bench.store.{module}", *map(str, arguments)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment(path))
    if found.returncode:
        last = "\n".join(found.stderr.strip().splitlines()[-8:])
        raise RuntimeError(f"{' '.join(command[2:])}: ended with code {found.returncode}: {last}")
    return json.loads(found.stdout)


def wall_ms(command: list[str]) -> float:
    """Milliseconds that a Python process takes from its start to its end."""
    began_s = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True, env=_environment(None))
    return (time.perf_counter() - began_s) * 1000


def other_duckdb(version: str, directory: Path) -> str:
    """Install one package of another version into a directory; return why that failed, or nothing."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--target", str(directory), f"duckdb=={version}"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    return (made.stderr.strip().splitlines() or ["no message"])[-1] if made.returncode else ""


def _environment(path: Path | None) -> dict[str, str]:
    # What is installed has its bytecode: nobody waits for every module to be compiled again.
    ours = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**ours, "PYTHONPATH": os.pathsep.join(map(str, filter(None, (path, ROOT))))}
