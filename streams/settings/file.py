"""`sightline.toml`: one file for the settings of all commands.

Its top level holds the names of the variables SIGHTLINE_* in small letters (`store = "lineage-store"`). The
table `[kafka]` holds the settings of the connection. `[sightline.worker]`, `[device-sim.run]` and their like
hold the options of a command, named as after `--`. Paths at the top level and in `[kafka]` are relative to
the directory of the file.

Precedence: an option, then a variable, then the file, then the default.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from streams.errors import InputError, reason

KAFKA_TABLE = "kafka"
PROGRAMS = ("sightline", "device-sim")


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """Content of a settings file; if it cannot be read, `fault` says why and there are no values."""

    path: Path
    values: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""

    @classmethod
    def read(cls, path: Path, *, required: bool) -> SettingsFile:
        """Read the file; an absent one is empty, or a fault if it is `required`."""
        try:
            text = path.read_bytes().decode()
        except FileNotFoundError:
            return cls(path, fault=f"{path}: there is no such file of settings" if required else "")
        except (OSError, UnicodeDecodeError) as error:
            return cls(path, fault=f"{path}: cannot be read as settings ({reason(error)})")
        try:
            return cls(path, tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            # The error's message has a line and a column and quotes none of the text.
            return cls(path, fault=f"{path}: is no TOML: {error}")

    def value(self, name: str) -> Any:
        """Value of a name at the top of the file; None if there is none."""
        return self.values.get(name)

    def table(self, name: str) -> Mapping[str, Any]:
        """A table, empty if it is absent; InputError if the name has a value that is no table."""
        table = self.values.get(name, {})
        if not isinstance(table, Mapping):
            raise InputError(f"{self.path}: {name}: found a value, expected a table [{name}]")
        return table

    def beside(self, text: str) -> Path:
        """A path relative to the directory of the file."""
        return self.path.parent / text


def options_of(file: SettingsFile, context: click.Context, program: str, shared: Iterable[str]) -> None:
    """Make a program's table of the file the defaults of its commands' options.

    `shared` are the names that may be at the top of the file. InputError for a name that is no setting and no
    option.
    """
    if file.fault:
        raise InputError(file.fault)
    group = context.command
    if not isinstance(group, click.Group):
        return
    known, commands = [*shared, KAFKA_TABLE, *PROGRAMS], group.list_commands(context)
    for name in file.values:
        if name not in known:
            nearest = f"[{program}.{name}]" if name in commands else ""
            raise InputError(f"{file.path}: {unknown(name, known, nearest)}")
    context.default_map = _defaults(f"{file.path}: ", group, context, file.table(program), program)


def unknown(name: str, known: Iterable[str], nearest: str = "") -> str:
    """Return the sentence that there is no such setting, with the most similar name."""
    # Imported here because it takes 4 ms, and only for this error.
    from difflib import get_close_matches  # noqa: PLC0415

    nearest = nearest or get_close_matches(name, known, 1, cutoff=0.0)[0]
    return f"there is no setting {name!a}; the nearest is {nearest}"


def _defaults(
    file: str, group: click.Group, context: click.Context, tables: Mapping[str, Any], path: str
) -> dict[str, Any]:
    """Defaults by command and click's name of the parameter, which may differ from the option's name."""
    defaults: dict[str, Any] = {}
    for name, values in tables.items():
        command, place = group.get_command(context, name), f"{path}.{name}"
        if command is None:
            raise InputError(f"{file}[{path}]: {unknown(name, group.list_commands(context))}")
        if not isinstance(values, Mapping):
            raise InputError(f"{file}{place}: found a value, expected a table of options")
        if isinstance(command, click.Group):
            defaults[name] = _defaults(file, command, context, values, place)
        else:
            defaults[name] = _of_command(f"{file}[{place}]", command, values)
    return defaults


def _of_command(place: str, command: click.Command, values: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {
        option.removeprefix("--").replace("-", "_"): parameter
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
        if parameters[name].multiple and isinstance(value, str):
            # An option that can be given several times; click would take each letter for a value.
            named[name] = [value]
    return {parameters[name].name or name: value for name, value in named.items()}
