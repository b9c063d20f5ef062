"""`sightline topics`: compare the topics on the broker with their declarations."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

import click

from streams import files, topology
from streams.cli.extending import kinds_option
from streams.cli.output import emit_json, emit_table, json_option
from streams.connection.address import broker_option
from streams.consent.words import Word
from streams.errors import InputError
from streams.events.kinds import Kinds
from streams.events.schema import page, schema
from streams.events.shipped import SHIPPED
from streams.kafka.topics import migrate, plan, uneven
from streams.printing import say
from streams.settings.kafka import Broker
from streams.worker.on_topics import consents_of_topic


@click.command("topics")
@click.option("--plan", "planned", is_flag=True, help="Say what differs.  [default]")
@click.option("--migrate", "migrating", is_flag=True, help="Create what is absent, set what differs.")
@broker_option()
@click.option(
    "--partitions", default=topology.PARTITIONS_DEFAULT, show_default=True, help="Of device topics."
)
@click.option(
    "--schemas",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write a page and JSON Schemas of the kinds that --extend adds; needs no broker.",
)
@kinds_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    *,
    planned: bool,
    migrating: bool,
    broker: Broker,
    partitions: int,
    schemas: Path | None,
    kinds: Kinds,
    as_json: bool,
) -> None:
    """Say what differs between the topics as declared and as they are; exit code 1 if anything does.

    Let the worker read what devices have sent before you migrate: what was written before keeps its time.
    Devices that have spoken for somebody and are bound to nobody are listed with the command that binds them;
    that is for an operator to decide.
    """
    if planned and migrating:
        raise click.UsageError("--plan and --migrate exclude each other")
    if schemas is not None:
        _describe(kinds, schemas, as_json=as_json)
        return
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


def _describe(kinds: Kinds, directory: Path, *, as_json: bool) -> None:
    """Write a schema for each kind that is not shipped, and a page of all of them."""
    own = [kind for kind in kinds.values() if kind.name not in SHIPPED and kind.columns]
    if not own:
        raise InputError(
            "--schemas: found no kinds beside those that are shipped, whose schemas are in docs/schemas; "
            "name the package that has yours with --extend"
        )
    files.make_directory(directory)
    texts = {
        f"{kind.name}.json": json.dumps(schema(kind), indent=2, ensure_ascii=False) + "\n" for kind in own
    }
    for name, content in {**texts, "kinds.md": page(own)}.items():
        with files.written(directory / name) as file:
            file.write(content.encode())
    if as_json:
        emit_json({"directory": str(directory), "kinds": [kind.name for kind in own]})
    else:
        say(f"{directory} has kinds.md and the schemas of {', '.join(kind.name for kind in own)}")


def _absent(differing: object) -> bool:
    return isinstance(differing, list) and any(
        each.topic == topology.CONSENTS and not each.actual for each in differing
    )


async def _unbound(broker: Broker) -> list[tuple[str, str]]:
    """(device, wearer) with words on glasses.consents from before pairings existed."""
    consents = await consents_of_topic(broker)
    spoke = {
        (word.device, wearer)
        for _, wearer, word in consents.between(0, consents.offset)
        if isinstance(word, Word) and word.device
    }
    return sorted(pair for pair in spoke if pair not in consents.pairings)
