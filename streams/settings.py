"""The only place that reads the process environment."""

from __future__ import annotations

import os
from pathlib import Path

#: Where a command looks when `--broker`, `--store` or `--policy` is not given.
BROKER = os.environ.get("SIGHTLINE_BROKER", "127.0.0.1:9092")
STORE = Path(os.environ.get("SIGHTLINE_STORE", "lineage-store"))
POLICY = os.environ.get("SIGHTLINE_POLICY", "household")
#: Pairs that a worker binds when `--pair` is not given: DEVICE=WEARER, separated by spaces.
PAIRS = os.environ.get("SIGHTLINE_PAIR", "").split()
#: What the names of consumer groups begin with when `--group-prefix` is not given.
GROUP_PREFIX = os.environ.get("SIGHTLINE_GROUP_PREFIX", "")
#: Who asks the store when `--role` is not given: the role that is shown least.
ROLE = os.environ.get("SIGHTLINE_ROLE", "analyst")
#: A file of roles besides the one beside the store (`queries/grants.py`); it can only restrict further.
ROLES = Path(os.environ["SIGHTLINE_ROLES"]) if os.environ.get("SIGHTLINE_ROLES") else None

#: Whether a log shows the traceback of an error, which may quote what it choked on.
DEBUG = os.environ.get("SIGHTLINE_DEBUG", "") not in ("", "0")
#: Where a service manager waits for READY=1; empty when there is none.
NOTIFY_SOCKET = os.environ.get("NOTIFY_SOCKET", "")

#: Jars of the embedded broker are resolved into and kept in this directory.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sightline"


def child_environment(**extra: str) -> dict[str, str]:
    """Environment for a child process: ours, with `extra` on top."""
    return {**os.environ, **extra}
