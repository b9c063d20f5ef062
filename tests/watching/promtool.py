"""Prometheus's own tool, which judges the rules for it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from streams import metrics
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "observability" / "alerts.yml"
CASES = Path(__file__).with_name("alerts_test.yml")
#: Prometheus adds these to the name of a histogram.
_PARTS = ("_bucket", "_count", "_sum")
#: Where `make promtool` unpacks it.
_UNPACKED = ROOT / ".venv" / "prometheus" / "usr" / "bin"


def program(name: str) -> str:
    """Path of a program of Prometheus; skips the test without it, which in a pipeline is a failure."""
    path = shutil.which(name) or (str(_UNPACKED / name) if (_UNPACKED / name).exists() else "")
    if not path:
        sentence = f"found no {name}, expected Prometheus's (`make promtool` gets Debian's)"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(sentence)
    return path


def declares(name: str) -> bool:
    """Whether a metric of ours has the name, without our prefix, or is the histogram that it is a part of."""
    return not metrics.DECLARED.keys().isdisjoint({name, *(name.removesuffix(part) for part in _PARTS)})


def promtool(*words: str, directory: Path) -> str:
    """Run it and return what it says; as for any `program`, the test is skipped without it."""
    ended = subprocess.run(
        [program("promtool"), *words],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
