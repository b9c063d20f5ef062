"""The only place that reads the process environment, and the file of settings beside it."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from streams.connection.settings import KafkaSettings
from streams.errors import InputError
from streams.settings.file import KAFKA_TABLE, SettingsFile, unknown

_VARIABLES = "SIGHTLINE_"
#: What holds where neither an option nor a variable says something. Its `fault` is raised by the command.
FILE = SettingsFile.read(
    Path(os.environ.get("SIGHTLINE_SETTINGS", "sightline.toml")).absolute(),
    required="SIGHTLINE_SETTINGS" in os.environ,
)


def _given(name: str) -> Any:
    """What a variable says, or else the top of the file; None where neither does."""
    variable = os.environ.get(f"{_VARIABLES}{name.upper()}")
    return FILE.value(name) if variable is None else variable


def said_by(name: str) -> str:
    """Who says what stands at the top of the file, or in its variable; empty where nobody does."""
    if f"{_VARIABLES}{name.upper()}" in os.environ:
        return f"{_VARIABLES}{name.upper()}"
    return "" if FILE.value(name) is None else str(FILE.path)


def _text(name: str, default: str) -> str:
    given = _given(name)
    return default if given is None else str(given)


def _path(name: str, default: str) -> Path:
    given = FILE.value(name)
    from_file = _VARIABLES + name.upper() not in os.environ and given is not None
    return FILE.beside(str(given)) if from_file else Path(_text(name, default))


def _pairs() -> list[str]:
    given = _given("pair")
    return [str(pair) for pair in given] if isinstance(given, list) else str(given or "").split()


#: What may stand at the top of the file, and be said by a variable.
SHARED = ("broker", "store", "policy", "pair", "group_prefix", "role", "roles")
#: Where a command looks when `--broker`, `--store` or `--policy` is not given.
BROKER = _text("broker", "127.0.0.1:9092")
STORE = _path("store", "lineage-store")
POLICY = _text("policy", "household")
#: Pairs that a worker binds when `--pair` is not given: DEVICE=WEARER, in a variable separated by spaces.
PAIRS = _pairs()
#: What the names of consumer groups begin with when `--group-prefix` is not given.
GROUP_PREFIX = _text("group_prefix", "")
#: Who asks the store when `--role` is not given: the role that is shown least.
ROLE = _text("role", "analyst")
#: A file of roles besides the one beside the store (`queries/grants.py`); it can only restrict further.
ROLES = _path("roles", "") if _given("roles") else None

#: Whether a log shows the traceback of an error, which may quote what it choked on.
DEBUG = os.environ.get("SIGHTLINE_DEBUG", "") not in ("", "0")
#: Where a service manager waits for READY=1; empty when there is none.
NOTIFY_SOCKET = os.environ.get("NOTIFY_SOCKET", "")

#: Jars of the embedded broker are resolved into and kept in this directory.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sightline"


def child_environment(**extra: str) -> dict[str, str]:
    """Environment for a child process: ours, with `extra` on top."""
    return {**os.environ, **extra}


#: Variables that say how Kafka is reached: this and the name of a setting in capitals.
KAFKA_VARIABLES = f"{_VARIABLES}KAFKA_"
_PASSWORD = f"{KAFKA_VARIABLES}PASSWORD"
#: docker-compose.yml reads the second one.
_NO_SETTINGS = (_PASSWORD, f"{KAFKA_VARIABLES}PORT")


def kafka(brokers: str) -> KafkaSettings:
    """The Kafka at `brokers`, reached as SIGHTLINE_KAFKA_* and the file's table `[kafka]` say.

    InputError where there is no such setting, or it holds what it cannot be.
    """
    return KafkaSettings(brokers, **{name: value for name, (value, _) in kafka_given().items()})


def kafka_given() -> dict[str, tuple[Any, str]]:
    """Settings of Kafka that are given, each with where it stands; InputError as `kafka` raises it."""
    if FILE.fault:
        raise InputError(FILE.fault)
    known = [field.name for field in fields(KafkaSettings) if field.name != "brokers"]
    place = f"{FILE.path}: [{KAFKA_TABLE}]"
    given: dict[str, tuple[Any, str]] = {}
    for name, value in FILE.table(KAFKA_TABLE).items():
        if name not in known:
            raise InputError(f"{place}: {unknown(name, known)}{_HINTS.get(name, '')}")
        made = _kafka_value(f"{place}: {name}", name, str(value))
        given[name] = (FILE.beside(str(made)) if isinstance(made, Path) else made, str(FILE.path))
    for variable, text in sorted(os.environ.items()):
        name = variable.removeprefix(KAFKA_VARIABLES).lower()
        if variable in _NO_SETTINGS or not variable.startswith(KAFKA_VARIABLES):
            continue
        if name not in known:
            raise InputError(f"{variable}: {unknown(name, known)}")
        given[name] = (_kafka_value(variable, name, text), variable)
    return given


def kafka_password() -> str | None:
    """What the variable for the password holds; None without it."""
    return os.environ.get(_PASSWORD)


_HINTS = {
    "password": "; a password stands in a file of its own, or in SIGHTLINE_KAFKA_PASSWORD",
    "token": "; a token stands in a file of its own",
    "brokers": "; the address stands at the top of the file, as broker",
}
_SWITCHES = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _kafka_value(place: str, name: str, text: str) -> Any:
    if name.endswith("_file"):
        return Path(text)
    if name == "tls":
        if text.lower() not in _SWITCHES:
            raise InputError(f"{place}: found neither true nor false, expected one of them")
        return _SWITCHES[text.lower()]
    if name in ("replication_factor", "min_in_sync"):
        if not text.isdecimal():
            raise InputError(f"{place}: expected a whole number")
        return int(text)
    return text
