"""The options `--broker` and `--topic-prefix` of a command, checked before anything starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from streams import settings
from streams.settings.kafka import KafkaSettings, check_addresses

Command = TypeVar("Command", bound=Callable[..., Any])
_GIVEN = "streams.connection.address.topic_prefix"


class Address(click.ParamType):
    """HOST:PORT, or several addresses of one cluster separated by commas.

    The value is a KafkaSettings: the given address, and all else from the settings file and
    SIGHTLINE_KAFKA_*.
    """

    name = "HOST:PORT"

    def convert(
        self, value: str | KafkaSettings, param: click.Parameter | None, ctx: click.Context | None
    ) -> KafkaSettings:
        """Return the Kafka at an address; InputError for a bad address or contradictory settings."""
        del ctx
        if isinstance(value, KafkaSettings):
            return value
        check_addresses(value, param.opts[0] if param is not None else "--broker")
        return settings.kafka(value, **_differing())


def broker_option(
    shown: str = "HOST:PORT of the Kafka.", default: str | None = settings.BROKER
) -> Callable[[Command], Command]:
    """Return the option `--broker`; its value is a KafkaSettings (None if not given and without `default`).

    The option `--topic-prefix` is added with it and becomes part of that value.
    """

    def decorate(command: Command) -> Command:
        for option in (
            click.option(
                "--topic-prefix",
                metavar="TEXT",
                expose_value=False,
                # The prefix becomes part of the value of `--broker`, so it must be parsed first.
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
    """Prefix of the names of topics, for a command that starts a Kafka of its own.

    InputError if the settings of Kafka contradict each other.
    """
    return settings.kafka(settings.BROKER, **_differing()).topic_prefix


def _note(context: click.Context, _parameter: click.Parameter, prefix: str | None) -> None:
    if prefix is not None:
        context.meta[_GIVEN] = prefix


def _differing() -> dict[str, str]:
    """Settings of Kafka that the command's options override."""
    context = click.get_current_context(silent=True)
    given = None if context is None else context.meta.get(_GIVEN)
    return {} if given is None else {"topic_prefix": given}
