"""The Kafka of a command: `--broker` and `--topic-prefix`, checked before anything starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from streams import settings
from streams.connection.settings import KafkaSettings, check_addresses

Command = TypeVar("Command", bound=Callable[..., Any])
_GIVEN = "streams.connection.address.topic_prefix"


class Address(click.ParamType):
    """HOST:PORT, or several of one cluster with commas between them.

    It becomes the Kafka there, reached as the settings file and SIGHTLINE_KAFKA_* say.
    """

    name = "HOST:PORT"

    def convert(
        self, value: str | KafkaSettings, param: click.Parameter | None, ctx: click.Context | None
    ) -> KafkaSettings:
        """The Kafka at an address; InputError where it is none, or the settings do not go together."""
        del ctx
        if isinstance(value, KafkaSettings):
            return value
        check_addresses(value, param.opts[0] if param is not None else "--broker")
        return settings.kafka(value, **_differing())


def broker_option(
    shown: str = "HOST:PORT of the Kafka.", default: str | None = settings.BROKER
) -> Callable[[Command], Command]:
    """`--broker`, whose value is a KafkaSettings (None where it is not given and has no `default`).

    `--topic-prefix` comes with it, and is part of that value.
    """

    def decorate(command: Command) -> Command:
        for option in (
            click.option(
                "--topic-prefix",
                metavar="TEXT",
                expose_value=False,
                # The address is made into a Kafka with it, so it must be known by then.
                is_eager=True,
                callback=_note,
                help="What the names of its topics begin with.  [default: topic_prefix of the settings]",
            ),
            click.option(
                "--broker", type=Address(), default=default, show_default=default is not None, help=shown
            ),
        ):
            command = option(command)
        return command

    return decorate


def topic_prefix() -> str:
    """What the names of topics begin with, for a command that starts a Kafka of its own.

    InputError where the settings of Kafka do not go together.
    """
    return settings.kafka(settings.BROKER, **_differing()).topic_prefix


def _note(context: click.Context, _parameter: click.Parameter, prefix: str | None) -> None:
    if prefix is not None:
        context.meta[_GIVEN] = prefix


def _differing() -> dict[str, str]:
    """What options say of the Kafka in place of the settings."""
    context = click.get_current_context(silent=True)
    given = None if context is None else context.meta.get(_GIVEN)
    return {} if given is None else {"topic_prefix": given}
