"""Where a Kafka is: the form of --broker, checked before anything starts."""

from __future__ import annotations

import re

import click

from streams.errors import InputError

PORT_MAX = 65_535
_ONE = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:,\[\]/@]+):(\d{1,5})")


class Address(click.ParamType):
    """HOST:PORT, or several of one cluster with commas between them."""

    name = "HOST:PORT"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The address as it was given; InputError where it is none."""
        del ctx
        found = [_ONE.fullmatch(one) for one in value.split(",")]
        if not all(one and 0 < int(one[2]) <= PORT_MAX for one in found):
            named = param.opts[0] if param is not None else "--broker"
            raise InputError(
                f"{named} {value!r}: found no address of a Kafka, expected HOST:PORT, such as 127.0.0.1:9092"
            )
        return value


ADDRESS = Address()
