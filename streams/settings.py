"""The only place that reads the process environment."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from streams.brokers import KafkaSettings
from streams.errors import InputError

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


#: Variables that say how Kafka is reached: SIGHTLINE_KAFKA_ and the name of a setting in capitals.
KAFKA_VARIABLES = "SIGHTLINE_KAFKA_"
_PASSWORD = f"{KAFKA_VARIABLES}PASSWORD"


def kafka(brokers: str) -> KafkaSettings:
    """The Kafka at `brokers`, reached as SIGHTLINE_KAFKA_* say.

    InputError where a variable is none, or holds what its setting cannot be.
    """
    known = {field.name for field in fields(KafkaSettings)} - {"brokers"}
    given: dict[str, Any] = {}
    for variable in sorted(os.environ):
        name = variable.removeprefix(KAFKA_VARIABLES).lower()
        if not variable.startswith(KAFKA_VARIABLES) or variable == _PASSWORD:
            continue
        if name not in known:
            raise InputError(f"{variable}: {unknown(name, known)}")
        given[name] = kafka_value(variable, name, os.environ[variable])
    return KafkaSettings(brokers, **given)


def kafka_password() -> str | None:
    """What the variable for the password holds; None without it."""
    return os.environ.get(_PASSWORD)


def kafka_value(where: str, name: str, text: str) -> Any:
    """A setting of Kafka of its text; InputError, naming `where` it stands, when it is none."""
    if name.endswith("_file"):
        return Path(text)
    if name == "tls":
        if text.lower() not in _SWITCHES:
            raise InputError(f"{where}: found {text!a}, expected true or false")
        return _SWITCHES[text.lower()]
    if name in ("replication_factor", "min_in_sync"):
        if not text.isdecimal():
            raise InputError(f"{where}: found {text!a}, expected a whole number")
        return int(text)
    return text


_SWITCHES = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def unknown(name: str, known: Iterable[str]) -> str:
    """Say that there is no such setting, and which is the nearest."""
    near = difflib.get_close_matches(name, known, 1, cutoff=0.0)
    return f"there is no setting {name!a}; the nearest is {near[0]}"
