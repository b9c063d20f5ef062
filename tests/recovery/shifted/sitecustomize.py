"""Python imports this at its start where its directory is on PYTHONPATH: its clock is stepped then."""

from __future__ import annotations

import os
import time

_SHIFT_NS = int(os.environ.get("SHIFTED_S", "0")) * 1_000_000_000
_time_ns, _time = time.time_ns, time.time


def _shifted_ns() -> int:
    return _time_ns() + _SHIFT_NS


def _shifted() -> float:
    return _time() + _SHIFT_NS / 1e9


time.time_ns, time.time = _shifted_ns, _shifted
