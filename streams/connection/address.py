"""The Kafka of a command: the form of --broker, checked before anything starts."""

from __future__ import annotations

import click

from streams import settings
from streams.connection.settings import KafkaSettings, check_addresses


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
        return settings.kafka(value)


ADDRESS = Address()
