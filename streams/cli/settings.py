"""`sightline settings`: the values that apply if no option is given, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import click
from msgspec import Struct

from streams import settings
from streams.cli.output import emit_json, emit_table, json_option
from streams.printing import say
from streams.settings.kafka import KafkaSettings

MASKED = "********"
DEFAULT = "default"
_COLUMNS = ("setting", "value", "said_by")


class _Setting(Struct, frozen=True):
    """One setting; `value` is masked if it is a secret, and None if it is not set."""

    setting: str
    value: str | int | bool | None
    said_by: str


@click.command("settings")
@json_option
@click.pass_context
def command(context: click.Context, *, as_json: bool) -> None:
    """Tell what holds for every command that is given no option, and which file or variable says so.

    An option goes before a variable SIGHTLINE_*, a variable before the file (sightline.toml in this
    directory, or what SIGHTLINE_SETTINGS names), and the file before the default.
    """
    told = [*_shared(), *_kafka(), *_options(context)]
    if as_json:
        emit_json({"settings": [{name: getattr(setting, name) for name in _COLUMNS} for setting in told]})
        return
    emit_table(_COLUMNS, [[row.setting, "" if row.value is None else row.value, row.said_by] for row in told])
    say()
    say("options go before all of it; `sightline COMMAND --help` names them")


def _shared() -> Iterator[_Setting]:
    in_force = {
        "broker": settings.BROKER,
        "store": str(settings.STORE),
        "policy": settings.POLICY,
        "pair": " ".join(settings.PAIRS) or None,
        "extend": " ".join(settings.EXTEND) or None,
        "group_prefix": settings.GROUP_PREFIX or None,
        "role": settings.ROLE,
        "roles": str(settings.ROLES) if settings.ROLES is not None else None,
        "time_zone": settings.TIME_ZONE,
    }
    for name, value in in_force.items():
        yield _Setting(name, value, settings.said_by(name) or DEFAULT)


def _kafka() -> Iterator[_Setting]:
    made, given = settings.kafka(settings.BROKER), settings.kafka_given()
    for field in fields(KafkaSettings):
        if field.name != "brokers":
            value = getattr(made, field.name)
            place = given[field.name][1] if field.name in given else DEFAULT
            plain = value if value is None or isinstance(value, int) else str(value) or None
            yield _Setting(f"kafka.{field.name}", plain, place)
    if settings.kafka_password() is not None:
        yield _Setting("kafka.password", MASKED, f"{settings.KAFKA_VARIABLES}PASSWORD")


def _options(context: click.Context) -> Iterator[_Setting]:
    """Options of commands that the settings file sets."""

    def within(path: str, table: Any) -> Iterator[_Setting]:
        for name, value in table.items():
            if isinstance(value, dict):
                yield from within(f"{path}{name}.", value)
            else:
                plain = value if isinstance(value, int) else str(value)
                yield _Setting(f"{path}{name}", plain, str(settings.FILE.path))

    yield from within("sightline.", context.find_root().default_map or {})
