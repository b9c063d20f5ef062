"""`sightline.toml`: one file for what every command may be told.

At its top stand the names of the variables SIGHTLINE_* in small letters (`store = "lineage-store"`). The
table `[kafka]` says how Kafka is reached. Each other table has the name of a command and holds its options as
they are written after `--`; the commands of `device-sim` stand in `[device-sim.run]` and its like. Paths at
the top and in `[kafka]` are meant from the directory of the file.

Precedence: an option, then a variable, then the file, then the default.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from streams.errors import InputError, reason

KAFKA_TABLE = "kafka"


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """What a file says; where it cannot be read, `fault` says why, and nothing else is in it."""

    path: Path
    values: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""

    @classmethod
    def read(cls, path: Path, *, required: bool) -> SettingsFile:
        """Read it; one that is absent, and not `required`, says nothing."""
        try:
            text = path.read_bytes().decode()
        except FileNotFoundError:
            return cls(path, fault=f"{path}: there is no such file of settings" if required else "")
        except (OSError, UnicodeDecodeError) as error:
            return cls(path, fault=f"{path}: cannot be read as settings ({reason(error)})")
        try:
            return cls(path, tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            # Its message names the place and no word of the text.
            return cls(path, fault=f"{path}: is no TOML: {error}")

    def value(self, name: str) -> Any:
        """What stands at the top of the file under a name; None where nothing does."""
        return self.values.get(name)

    def table(self, name: str) -> Mapping[str, Any]:
        """A table; empty where there is none. InputError where something else has its name."""
        table = self.values.get(name, {})
        if not isinstance(table, Mapping):
            raise InputError(f"{self.path}: {name}: found a value, expected a table [{name}]")
        return table

    def beside(self, text: str) -> Path:
        """A path that is meant from the directory of the file."""
        return self.path.parent / text


def options_of(
    file: SettingsFile, context: click.Context, table: str, shared: Iterable[str], others: Iterable[str] = ()
) -> None:
    """Let the commands of a group take their options from a table of the file; empty: from its top.

    `shared` are the names that may stand at the top of the file, `others` the tables of other programs.
    InputError for a name that no option or setting has.
    """
    if file.fault:
        raise InputError(file.fault)
    group = context.command
    if not isinstance(group, click.Group):
        return
    commands = group.list_commands(context)
    known = [*shared, KAFKA_TABLE, *others, *([] if table else commands)]
    for name in file.values:
        if name not in known and (not table or not isinstance(file.values[name], Mapping)):
            raise InputError(f"{file.path}: {unknown(name, known)}")
    tables = (
        file.table(table) if table else {name: file.table(name) for name in commands if name in file.values}
    )
    context.default_map = _defaults(file.path, group, context, tables)


def unknown(name: str, known: Iterable[str]) -> str:
    """Say that there is no such setting, and which is the nearest."""
    (nearest,) = difflib.get_close_matches(name, known, 1, cutoff=0.0)
    return f"there is no setting {name!a}; the nearest is {nearest}"


def _defaults(
    path: Path, group: click.Group, context: click.Context, tables: Mapping[str, Any]
) -> dict[str, Any]:
    """Options by command, as click takes them: by the name of the parameter, not always the option's."""
    defaults: dict[str, Any] = {}
    for name, values in tables.items():
        command = group.get_command(context, name)
        if command is None:
            raise InputError(f"{path}: {unknown(name, group.list_commands(context))}")
        if not isinstance(values, Mapping):
            raise InputError(f"{path}: {name}: found a value, expected a table of options")
        if isinstance(command, click.Group):
            defaults[name] = _defaults(path, command, context, values)
        else:
            defaults[name] = _of_command(f"{path}: [{name}]", command, values)
    return defaults


def _of_command(place: str, command: click.Command, values: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {
        option.removeprefix("--").replace("-", "_"): parameter.name
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
        if option.startswith("--")
    }
    named = {name.replace("-", "_"): value for name, value in values.items()}
    for name, value in named.items():
        if name not in parameters:
            raise InputError(f"{place}: {unknown(name, parameters)}")
        if isinstance(value, Mapping):
            raise InputError(f"{place}: {name}: found a table, expected the value of an option")
    return {parameters[name] or name: value for name, value in named.items()}
