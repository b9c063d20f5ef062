"""`sightline pair`: which wearers are paired with which devices."""

from __future__ import annotations

import asyncio

import click

from streams.cli.names import pair
from streams.cli.output import emit_json, emit_table, json_option
from streams.connection.address import broker_option
from streams.consent.record import pairing_record
from streams.errors import InputError
from streams.kafka.publish import publish_now
from streams.printing import say
from streams.settings.kafka import Broker
from streams.worker.on_topics import consents_of_topic


@click.command("pair")
@click.option("--device", help="Name of the device.")
@click.option("--wearer", help="Pseudonym of the wearer.")
@click.option(
    "--end", is_flag=True, help="End the pairing: from here on the device may not speak for the wearer."
)
@click.option("--list", "listing", is_flag=True, help="List all pairings.")
@broker_option()
@json_option
def command(
    *, device: str | None, wearer: str | None, end: bool, listing: bool, broker: Broker, as_json: bool
) -> None:
    """Bind a device to a wearer. No event of a device does: only what an operator says here or configures.

    A device may be bound to several wearers, and a wearer to several devices. It is written to
    glasses.consents, and workers take it up at once.
    """
    known = asyncio.run(consents_of_topic(broker)).pairings
    if listing:
        rows = [(*named, bound) for named, bound in known.items()]
        if as_json:
            emit_json([dict(zip(("device", "wearer", "bound"), row, strict=True)) for row in rows])
        else:
            emit_table(("device", "wearer", "bound"), rows)
        return
    named = pair(device or "", wearer or "")
    if end and not known.get(named):
        raise InputError(
            f"{named[0]} and {named[1]}: found no pairing, expected one that can be ended; see --list"
        )
    changed = known.get(named, False) is end
    if changed:
        asyncio.run(publish_now(broker, [pairing_record(*named, bound=not end)]))
    if as_json:
        emit_json({"device": named[0], "wearer": named[1], "bound": not end, "changed": changed})
    elif end:
        say(f"{named[0]} is not bound to {named[1]} any more")
    else:
        say(f"{named[0]} is bound to {named[1]}{'' if changed else ' already'}")
