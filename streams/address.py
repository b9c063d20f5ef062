"""Where a Kafka is: the form of --broker, checked before anything starts."""

from __future__ import annotations

import re

import click

from streams.errors import InputError

PORT_MAX = 65_535
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:,\[\]/@]+):(\d{1,5})")


class Address(click.ParamType):
    """HOST:PORT, or several of one cluster with commas between them."""

    name = "HOST:PORT"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The address as it was given; InputError where it is none."""
        del ctx
        addresses = [_HOST_PORT.fullmatch(part) for part in value.split(",")]
        if not all(address and 0 < int(address[2]) <= PORT_MAX for address in addresses):
            named = param.opts[0] if param is not None else "--broker"
            raise InputError(
                f"{named} {value!r}: found no address of a Kafka, expected HOST:PORT, such as 127.0.0.1:9092"
            )
        return value


ADDRESS = Address()
