"""`sightline consent`: what wearers have said, and an operator's withdrawal on a wearer's behalf."""

from __future__ import annotations

import asyncio

import click

from streams.cli.names import name
from streams.cli.output import emit_facts, emit_json, emit_table, json_option
from streams.connection.address import broker_option
from streams.consent.record import withdrawal_record
from streams.consent.words import Word
from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.kafka.publish import publish_now
from streams.printing import say
from streams.settings.kafka import Broker
from streams.worker.on_topics import consents_of_topic

_COLUMNS = ("said by", "number", "status", "purposes", "expires", "taken")
wearer_option = click.option("--wearer", required=True, help="Pseudonym of the wearer.")


@click.group("consent")
def command() -> None:
    """Show what a wearer has said about her data, or withdraw on her behalf."""


@command.command()
@wearer_option
@broker_option()
@json_option
def withdraw(*, wearer: str, broker: Broker, as_json: bool) -> None:
    """Withdraw every consent of a wearer who cannot say so on a device of her own.

    It holds for all that was captured before, and for what follows until a device bound to her gives again.
    """
    words = asyncio.run(consents_of_topic(broker)).words_of(name("wearer", wearer))
    if not words:
        raise InputError(f"wearer {wearer}: found nothing that was ever said, expected a consent to withdraw")
    number = sum(not word.device for word in words)
    asyncio.run(publish_now(broker, [withdrawal_record(wearer, number)]))
    if as_json:
        emit_json({"wearer": wearer, "withdrawn": True, "said_by": "operator", "number": number})
    else:
        say(f"withdrawn for {wearer}, on record as the operator's")


@command.command()
@wearer_option
@broker_option()
@json_option
def show(*, wearer: str, broker: Broker, as_json: bool) -> None:
    """List what a wearer has said, in order, and which devices may speak for her."""
    consents = asyncio.run(consents_of_topic(broker))
    devices, rows = consents.devices_of(wearer), [_row(word) for word in consents.words_of(wearer)]
    if as_json:
        words = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
        emit_json({"wearer": wearer, "devices": devices, "said": words})
        return
    emit_facts({"wearer": wearer, "devices": ", ".join(devices) or "none"})
    if rows:
        say()
        emit_table(_COLUMNS, rows)


def _row(word: Word) -> tuple[str, int, str, str, str, str]:
    by = word.device or "operator"
    return (
        f"{by}~{word.incarnation}" if word.incarnation > 1 else by,
        word.number,
        word.status,
        " ".join(word.purposes),
        rfc3339(word.expires_ns) if word.expires_ns else "",
        rfc3339(word.at_ns),
    )
