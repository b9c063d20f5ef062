"""`sightline rights erase` and `sightline rights show`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from streams.cli.consent import wearer_option
from streams.cli.extending import kinds_option
from streams.cli.names import name
from streams.cli.output import (
    Stores,
    emit_facts,
    emit_json,
    emit_left_out,
    emit_rows,
    json_option,
    keys_option,
    role_option,
    stores_option,
)
from streams.cli.rights.planning import say_plan
from streams.cli.rights.scope import FORMS, Looked, asked_scope, begun
from streams.connection.address import broker_option
from streams.errors import InputError
from streams.events.codec import codec_of
from streams.events.headers import rfc3339
from streams.events.kinds import Kinds
from streams.events.partitions import spelled
from streams.extras import require
from streams.limits import ERASURE_LOOKS_S
from streams.moving import Show, moving
from streams.printing import say
from streams.queries.erased import erased_lines, erased_rows
from streams.queries.newest import newest_catalog
from streams.queries.own import may_ask
from streams.queries.parts import Part, listed, not_opened
from streams.queries.role import Role
from streams.queries.store import Store
from streams.sealing.erasures import STEPS, Requested, Step
from streams.sealing.key_store import KeyStore
from streams.settings.kafka import Broker
from streams.topology import LINEAGE
from streams.worker.erasure import Erased, erase_wearer, planned
from streams.worker.erasure_models import Place
from streams.worker.erasure_receipt import NO_STORE, text_of
from streams.worker.sealing import key_store_of

#: Of each step: what it counts, and what goes on until it is done.
_COUNTS: dict[Step, str] = {
    "requested": "",
    "stopped": "",
    "unreadable": "keys destroyed",
    "models": "model versions withdrawn",
    "second": "examples of others made with them",
    "store": "rows taken out",
    "finished": "keys destroyed at the end",
}
_MOVING: dict[Step, str] = {
    "requested": "writing the request down",
    "stopped": "stopping all use",
    "unreadable": "destroying keys",
    "models": "letting a model serve that learned nothing from the wearer",
    "second": "counting examples of others that were made with those models",
    "store": "waiting for the store to be without the wearer, and for its readers to leave the old files",
    "finished": "looking for what was on its way",
}

no_store_option = click.option(
    "--no-store", is_flag=True, help="Wait for no store; those that run apply it nevertheless."
)
receipts_option = click.option(
    "--receipts",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIRECTORY",
    default=Path(),
    help="Where signed receipts are written, as erasure-NUMBER.json.  [default: here]",
)


@click.command()
@wearer_option
@click.option(
    "--scope",
    metavar=FORMS,
    default="all",
    show_default=True,
    help="All that was captured, what was captured from the beginning of that day on (UTC), or what was "
    "captured at a kind of place.",
)
@click.option("--dry-run", is_flag=True, help="Say what would go, and change nothing.")
@stores_option
@role_option
@no_store_option
@click.option(
    "--receipt",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="File for the signed receipt.  [default: erasure-NUMBER.json]",
)
@broker_option()
@keys_option
@kinds_option
@json_option
def erase(
    *,
    wearer: str,
    scope: str,
    dry_run: bool,
    stores: Stores,
    role: Role,
    no_store: bool,
    receipt: Path | None,
    broker: Broker,
    keys: Path,
    kinds: Kinds,
    as_json: bool,
) -> None:
    """Erase what a wearer captured until now, and what was made of it.

    Workers refuse it from then on, whenever it comes; keys are destroyed; no model serves that learned from
    it; the store is written again without it. What the wearer captures later, under a consent that is given
    later, is taken. If it is interrupted, the same command goes on. It cannot be undone.

    place PLACE takes what was captured where the wearer's devices named that kind of place, and withdraws no
    consent: all else is used as before. When that was is read in the store, as the privacy officer or the
    wearer (--role), and is on record.
    """
    require("worker")
    wearer, wanted = name("wearer", wearer), asked_scope(scope)
    if wanted.place:
        may_ask(role, wearer)
    place = place_of(broker, keys, kinds, () if no_store else stores, receipt=receipt)
    if not no_store:
        refuse_part(stores)
    with contextlib.closing(asyncio.run(key_store_at(broker, keys))) as store:
        looked = None
        if (on := begun(store, wearer, wanted)) is not None:
            wanted = on
        elif wanted.place:
            question = {"--wearer": wearer, "--scope": f'"{scope}"', "--dry-run": dry_run}
            looked = Looked(stores, role, wearer, wanted, question)
            emit_left_out(looked.left_out)
            wanted = looked.scope
        if dry_run:
            plan = asyncio.run(planned(place, store, wearer, wanted))
            say_plan(plan, wearer, wanted, looked.rows if looked else {}, as_json=as_json)
            return
        with moving() as progress:
            erased = asyncio.run(erase_wearer(place, store, wearer, telling(progress), scope=wanted))
    say_erased(erased, as_json=as_json)


def place_of(
    broker: Broker,
    keys: Path,
    kinds: Kinds,
    stores: Stores,
    *,
    receipt: Path | None = None,
    receipts: Path = Path(),
) -> Place:
    """Where an erasure acts; it waits for some stores, or for none."""
    waiting = Waiting(stores) if stores else None
    lines = waiting.lines if waiting is not None and len(stores) == 1 else None
    return Place(broker, keys, codec_of(kinds), waiting, receipt, lines, receipts)


def refuse_part(stores: Stores) -> None:
    """InputError unless some stores together hold all that there is; errors are those of `Store.open`.

    What is read or waited for in a part says nothing of the rest: a request that another store holds would be
    answered by nobody, and a receipt would say of rows that are there that they are gone.
    """
    parts = list[Part]()
    for each in stores:
        with Store.open(each) as opened:
            parts += opened.parts
    if absent := not_opened(parts):
        raise InputError(
            f"--store: found {listed(stores)} without what is in partitions {spelled(absent)} of {LINEAGE}, "
            "expected all stores that share it; nothing was changed. Name the others as well"
        )


def telling(progress: Show) -> Callable[[Requested], None]:
    """Shows after each step what goes on until the next one is done."""

    def after_step(of: Requested) -> None:
        if (step := of.next_step) is not None:
            progress(_MOVING[step])

    return after_step


def say_erased(erased: Erased, *, as_json: bool) -> None:
    """Print a finished erasure with its receipt and the salt, which is kept nowhere."""
    shown = {
        **_shown(erased.requested),
        "receipt": str(erased.receipt),
        "salt for the wearer": erased.salt.hex(),
    }
    if as_json:
        emit_json(shown)
    else:
        emit_facts(shown)


@click.command()
@keys_option
@json_option
def show(*, keys: Path, as_json: bool) -> None:
    """List erasures and how far they are, by number. Whose they were is not kept."""
    with contextlib.closing(KeyStore(keys)) as store:
        rows = [_shown(each) for each in store.erasures.all()]
    if as_json:
        emit_json({"erasures": rows})
    elif rows:
        emit_rows(rows)
    else:
        say("nobody was erased")


class Waiting:
    """Waits until stores have applied an erasure."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    async def __call__(self, number: int) -> int:
        """Number of rows that went. A store is opened once for each epoch that it publishes meanwhile."""
        return sum([await self._applied(store, number) for store in self._stores])

    async def _applied(self, store: Path, number: int) -> int:
        looked_at: Path | None = None
        while True:
            newest = await asyncio.to_thread(newest_catalog, store.resolve())
            if newest != looked_at:
                rows = await asyncio.to_thread(erased_rows, store, number)
                if rows is not None:
                    return rows
                looked_at = newest
            await asyncio.sleep(ERASURE_LOOKS_S)

    async def lines(self, number: int) -> int:
        """Number of lines that changed in the audit log of the only store.

        Of several nobody can tell: each has the lines of all, and knows its own devices alone.
        """
        [store] = self._stores
        return await asyncio.to_thread(erased_lines, store, number)


async def key_store_at(broker: Broker, keys: Path) -> KeyStore:
    """The key store in a directory, if it is that of the topics; none is made here."""
    if not await asyncio.to_thread(KeyStore.is_in, keys):
        return KeyStore(keys)
    return await key_store_of(broker, keys)


def _shown(requested: Requested) -> dict[str, object]:
    return dict(_facts(requested))


def state_of(requested: Requested) -> str:
    """How far an erasure is, or what is known of one that was recorded elsewhere."""
    if requested.origin == "topic":
        again = rfc3339(requested.steps["unreadable"].at_ns)
        return f"found on the topic; keys destroyed again here at {again}; the rest was recorded elsewhere"
    return f"before {requested.next_step}" if requested.next_step else "finished"


def _facts(requested: Requested) -> Iterator[tuple[str, object]]:
    yield "erasure", requested.number
    yield "from", requested.origin
    # Of one that is known from the topic alone it is not recorded here.
    yield "scope", "" if requested.origin == "topic" else text_of(requested.scope)
    yield "state", state_of(requested)
    for step in STEPS:
        done = requested.steps.get(step)
        yield step, rfc3339(done.at_ns) if done else ""
        if _COUNTS[step]:
            yield _COUNTS[step], done.things if done and done.things != NO_STORE else ""
