"""`sightline rights bystander`: erase what was captured somewhere and then, for who was near."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path

import click

from streams.cli.extending import kinds_option
from streams.cli.output import (
    Stores,
    emit_json,
    emit_left_out,
    emit_rows,
    json_option,
    keys_option,
    role_option,
    stores_option,
)
from streams.cli.rights.erase import (
    key_store_at,
    no_store_option,
    place_of,
    receipts_option,
    refuse_part,
    say_erased,
    telling,
)
from streams.cli.rights.scope import Near, place_scope
from streams.connection.address import broker_option
from streams.consent.erased import Scope
from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.events.kinds import Kinds
from streams.extras import require
from streams.limits import TIME_NS_MAX
from streams.moving import moving
from streams.printing import say
from streams.queries.role import Role
from streams.queries.stays import may_look_for_all
from streams.sealing.key_store import KeyStore
from streams.settings.kafka import Broker
from streams.worker.erasure import erase_wearer, planned
from streams.worker.erasure_models import Place

#: What such an erasure is, and is not.
MEANING = (
    "a bystander has no id: nobody was looked for in what was captured, and nobody was found",
    "all goes that these wearers captured there and then, whoever it is about, and what was made of it",
    "what glasses captured there that named another place, or that nothing has arrived of, is not in it",
)


@click.command()
@click.option("--place", required=True, metavar="PLACE", help="Kind of place at which somebody was near.")
@click.option("--from", "since", required=True, metavar="TIME", help="From when; RFC 3339, else UTC.")
@click.option("--until", required=True, metavar="TIME", help="Until when.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and change nothing.")
@stores_option
@role_option
@no_store_option
@receipts_option
@broker_option()
@keys_option
@kinds_option
@json_option
def bystander(
    *,
    place: str,
    since: str,
    until: str,
    dry_run: bool,
    stores: Stores,
    role: Role,
    no_store: bool,
    receipts: Path,
    broker: Broker,
    keys: Path,
    kinds: Kinds,
    as_json: bool,
) -> None:
    """Erase what every wearer who was at a place in a time captured there and then, for who was near.

    A bystander has no id, so nothing tells what is about whom: the request is by place and time, and takes
    all of it, by the steps of `sightline rights erase --scope "place PLACE from TIME until TIME"`, one wearer
    after another, each with a receipt. If it is interrupted, the same command goes on. It cannot be undone.
    The privacy officer alone may ask, and it is on record.
    """
    require("worker")
    scope = place_scope("--place", place, since, until)
    may_look_for_all(role)
    if not no_store:
        refuse_part(stores)
    where = place_of(broker, keys, kinds, () if no_store else stores, receipts=receipts)
    question = {"--place": place, "--from": since, "--until": until, "--dry-run": dry_run}
    with contextlib.closing(asyncio.run(key_store_at(broker, keys))) as store:
        near = Near(stores, role, scope, question)
        emit_left_out(near.left_out)
        wanted = {**near.scopes, **_interrupted(store, scope)}
        if not wanted:
            raise InputError(
                f"place {place}: found no wearer who was there then, expected one; nothing was changed"
            )
        if dry_run:
            _say_plan(asyncio.run(_planned(where, store, wanted)), near.rows, as_json=as_json)
            return
        for wearer, each in wanted.items():
            with moving() as progress:
                erased = asyncio.run(erase_wearer(where, store, wearer, telling(progress), scope=each))
            say_erased(erased, as_json=as_json)
    if not as_json:
        say()
        for line in MEANING:
            say(line)


def _interrupted(keys: KeyStore, scope: Scope) -> dict[str, Scope]:
    """Scopes of erasures of this place and time that are not finished, by wearer."""
    return {each.wearer: each.scope for each in keys.erasures.all() if each.wearer and each.scope.same(scope)}


async def _planned(where: Place, keys: KeyStore, wanted: Mapping[str, Scope]) -> list[dict[str, object]]:
    """A row of each wearer: when, how many keys, examples and model versions."""
    rows = list[dict[str, object]]()
    for wearer, scope in wanted.items():
        plan = await planned(where, keys, wearer, scope)
        first, last = scope.spans[0].since_ns, scope.spans[-1].until_ns
        rows.append(
            {
                "wearer": wearer,
                "stays": len(scope.spans),
                "from": rfc3339(first),
                "until": rfc3339(min(last, scope.until_ns or TIME_NS_MAX)),
                "keys": plan.keys,
                "examples": len(plan.made.examples),
                "values beside": plan.made.beside,
                "versions": len(plan.versions),
            }
        )
    return rows


def _say_plan(rows: list[dict[str, object]], of_store: Mapping[str, int], *, as_json: bool) -> None:
    shown = [{**row, "rows": of_store.get(str(row["wearer"]), 0)} for row in rows]
    if as_json:
        emit_json({"wearers": shown, "is": MEANING})
        return
    emit_rows(shown)
    say()
    for line in (*MEANING, "nothing was changed"):
        say(line)
