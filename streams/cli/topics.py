"""`sightline topics`: the topics as declared against the topics as they are."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import click

from streams import settings, topology
from streams.cli.output import emit_json, emit_table, json_option
from streams.connection.address import ADDRESS
from streams.connection.settings import Broker
from streams.consent.words import Word
from streams.kafka.topics import migrate, plan, uneven
from streams.printing import say
from streams.worker.bootstrap import consents_of_topic


@click.command("topics")
@click.option("--plan", "planned", is_flag=True, help="Say what differs.  [default]")
@click.option("--migrate", "migrating", is_flag=True, help="Create what is absent, set what differs.")
@click.option(
    "--broker", type=ADDRESS, default=settings.BROKER, show_default=True, help="HOST:PORT of the Kafka."
)
@click.option(
    "--partitions", default=topology.PARTITIONS_DEFAULT, show_default=True, help="Of device topics."
)
@json_option
@click.pass_context
def command(
    context: click.Context, *, planned: bool, migrating: bool, broker: Broker, partitions: int, as_json: bool
) -> None:
    """Say what differs between the topics as declared and as they are; exit code 1 if anything does.

    Let the worker read what devices have sent before you migrate: what was written before keeps its time.
    Devices that have spoken for somebody and are bound to nobody are listed with the command that binds them;
    that is for an operator to decide.
    """
    if planned and migrating:
        raise click.UsageError("--plan and --migrate exclude each other")
    differing = asyncio.run(migrate(broker, partitions) if migrating else plan(broker, partitions))
    unbound = asyncio.run(_unbound(broker)) if migrating or not _absent(differing) else []
    if as_json:
        pairs = [{"device": device, "wearer": wearer} for device, wearer in unbound]
        emit_json({"differs": [asdict(each) for each in differing], "changed": migrating, "unbound": pairs})
    else:
        if differing:
            rows = [(each.topic, each.setting, each.actual or "absent", each.wanted) for each in differing]
            emit_table(("topic", "setting", "found", "changed to" if migrating else "expected"), rows)
            if wrong := asyncio.run(uneven(broker, partitions)):
                say(wrong)
        else:
            say("every topic is as declared")
        for device, wearer in unbound:
            say(f"{device} has spoken for {wearer}: sightline pair --device {device} --wearer {wearer}")
    context.exit(1 if differing and not migrating else 0)


def _absent(differing: object) -> bool:
    return isinstance(differing, list) and any(
        each.topic == topology.CONSENTS and not each.actual for each in differing
    )


async def _unbound(broker: Broker) -> list[tuple[str, str]]:
    """(device, wearer) that stand on glasses.consents from before devices were bound."""
    consents = await consents_of_topic(broker)
    spoke = {
        (word.device, wearer)
        for _, wearer, word in consents.between(0, consents.offset)
        if isinstance(word, Word) and word.device
    }
    return sorted(pair for pair in spoke if pair not in consents.pairings)
