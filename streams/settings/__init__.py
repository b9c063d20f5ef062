"""The only place that reads the process environment and the settings file."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from streams.errors import InputError
from streams.settings.file import KAFKA_TABLE, SettingsFile, unknown
from streams.settings.kafka import KafkaSettings

_VARIABLES = "SIGHTLINE_"
#: The settings file: it applies where no option and no variable is given. Commands raise its `fault`.
FILE = SettingsFile.read(
    Path(os.environ.get("SIGHTLINE_SETTINGS", "sightline.toml")).absolute(),
    required="SIGHTLINE_SETTINGS" in os.environ,
)


def _given(name: str) -> Any:
    """Value of a variable, or else from the top of the file; None if neither has one."""
    variable = os.environ.get(f"{_VARIABLES}{name.upper()}")
    return FILE.value(name) if variable is None else variable


def said_by(name: str) -> str:
    """Name of the variable or path of the file that sets a top-level setting; empty if none does."""
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


def _words(name: str) -> list[str]:
    """A list in the file, or the space-separated words of a variable."""
    given = _given(name)
    return [str(word) for word in given] if isinstance(given, list) else str(given or "").split()


#: Settings that can be at the top of the file or in a variable.
SHARED = ("broker", "store", "keys", "policy", "pair", "extend", "group_prefix", "role", "roles", "time_zone")
#: Defaults of `--broker`, `--store` and `--policy`.
BROKER = _text("broker", "127.0.0.1:9092")
STORE = _path("store", "lineage-store")
#: Default of `--keys`: directory of the key store, under whose keys the topics are sealed.
KEYS = _path("keys", "lineage-keys")
POLICY = _text("policy", "household")
#: Default of `--pair`: pairings DEVICE=WEARER that a worker writes; space-separated in a variable.
PAIRS = _words("pair")
#: Default of `--extend`: names of packages; space-separated in a variable.
EXTEND = _words("extend")
#: Default of `--group-prefix`, the prefix of consumer groups; if empty, the prefix of topics is used.
GROUP_PREFIX = _text("group_prefix", "")
#: Default of `--role`: the role that may see the least.
ROLE = _text("role", "analyst")
#: An additional file of roles (`queries/grants.py`) that can only restrict those of the store further.
ROLES = _path("roles", "") if _given("roles") else None

#: Default of `--time-zone`: the time zone in which people see times.
TIME_ZONE = _text("time_zone", "UTC")

#: Whether logs show the tracebacks of errors, which may quote the value that caused an error.
DEBUG = os.environ.get("SIGHTLINE_DEBUG", "") not in ("", "0")
#: Socket of a service manager that waits for READY=1; empty if there is none.
NOTIFY_SOCKET = os.environ.get("NOTIFY_SOCKET", "")

#: Directory where the embedded broker's jars are kept.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sightline"


def child_environment(**extra: str) -> dict[str, str]:
    """Environment for a child process: that of this process, with `extra` added."""
    return {**os.environ, **extra}


#: Prefix of the variables for Kafka; the name of a setting in capitals follows.
KAFKA_VARIABLES = f"{_VARIABLES}KAFKA_"
_PASSWORD = f"{KAFKA_VARIABLES}PASSWORD"
#: The second one is read by docker-compose.yml.
_NO_SETTINGS = (_PASSWORD, f"{KAFKA_VARIABLES}PORT")


def kafka(brokers: str, **differing: Any) -> KafkaSettings:
    """The Kafka at `brokers`, with the settings of SIGHTLINE_KAFKA_* and of the file's table `[kafka]`.

    `differing` are settings from options, which override these. InputError for an unknown setting or a value
    that it cannot have.
    """
    return KafkaSettings(
        brokers, **{**{name: value for name, (value, _) in kafka_given().items()}, **differing}
    )


def kafka_given() -> dict[str, tuple[Any, str]]:
    """Given settings of Kafka, each with the file or variable that sets it; InputError as in `kafka`."""
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
    """Value of the variable for the password; None if it is not set."""
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
