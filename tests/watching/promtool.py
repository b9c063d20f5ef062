"""Prometheus's own tool, which judges the rules for it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "observability" / "alerts.yml"
CASES = Path(__file__).with_name("alerts_test.yml")
#: Where `make promtool` unpacks it.
_UNPACKED = ROOT / ".venv" / "prometheus" / "usr" / "bin"


def unpacked(name: str) -> str:
    """Path of a program of Debian's package; empty if it was not unpacked."""
    return str(_UNPACKED / name) if (_UNPACKED / name).exists() else ""


def promtool(*words: str, directory: Path) -> str:
    """Run it and return what it says; skips the test without one, which in a pipeline is a failure."""
    path = shutil.which("promtool") or unpacked("promtool")
    if not path:
        sentence = "found no promtool, expected Prometheus's (`make promtool` gets Debian's)"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(sentence)
    ended = subprocess.run(
        [path, *words], cwd=directory, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
