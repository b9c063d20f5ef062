"""`sightline rights export`: what is held of a person, or what she provided, as files for that person."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import click
import orjson
import xxhash
from msgspec import to_builtins

from streams import clock, files
from streams.cli.consent import wearer_option
from streams.cli.extending import kinds_option
from streams.cli.names import name
from streams.cli.output import (
    Stores,
    emit_facts,
    emit_hidden,
    emit_json,
    emit_left_out,
    emit_rows,
    json_option,
    keys_option,
    role_option,
    stores_option,
)
from streams.cli.rights.handing import Handing, LeftOut
from streams.connection.address import broker_option
from streams.errors import InputError, UnavailableError
from streams.events.codec import codec_of
from streams.events.headers import rfc3339
from streams.events.kinds import Kinds
from streams.extras import require
from streams.lineage.selection import up_to
from streams.moving import moving
from streams.printing import say
from streams.queries.audit import asked_as
from streams.queries.own import ACCESS, Own, may_ask, told
from streams.queries.own_rows import OwnRows
from streams.queries.role import Role
from streams.queries.store import Store
from streams.queries.wearer import nothing_of
from streams.sealing.erasures import Requested
from streams.sealing.key_store import KeyStore
from streams.settings.kafka import Broker
from streams.topology import CAPTURED, LINEAGE, REJECTED, STATE, TO_WEARER, ZONED, topic
from streams.worker.own_values import OTHERS_CONTEXT, OwnValues, Topics

Form = Literal["access", "portability"]
_FORMS: dict[Form, tuple[str, str]] = {
    "access": ("sightline-access-1", ACCESS),
    "portability": ("sightline-portability-1", "GDPR, Article 20: portability"),
}
#: What neither kind of export has, and why.
_NEVER = (
    LeftOut(
        of=CAPTURED,
        reason=f"as sent, for {topic(CAPTURED).kept}: what passed is on {ZONED}, and what was refused is "
        "used by nobody",
    ),
    LeftOut(of=REJECTED, reason="it has no values of a known person"),
    LeftOut(of=f"{STATE}, {LINEAGE}", reason="they are what the store is made from, and windows not done"),
)
_GONE = f"no longer on {ZONED}, which keeps {topic(ZONED).kept}; the store has no values"
_MADE = "made of what was provided, not provided"
#: What a person did not provide (Article 20 (1)).
_NOT_PROVIDED = (
    LeftOut(
        of="lineage, decisions, policies and who received it",
        reason="not provided by the wearer; --as access has them",
    ),
    LeftOut(of=f"context: {', '.join(OTHERS_CONTEXT)}", reason="they are about others"),
    LeftOut(of="examples", reason="made of what was provided; the words in them are in utterances.jsonl"),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Who asks for which export of whom."""

    wearer: str
    form: Form
    role: Role
    kinds: Kinds
    topics: Topics | None
    erased: Sequence[Requested]


@click.command("export")
@wearer_option
@click.option(
    "--as",
    "form",
    type=click.Choice(get_args(Form)),
    required=True,
    help="access: everything that is held; portability: what the wearer provided, without anybody else.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="New directory, which its owner alone can read.",
)
@stores_option
@role_option
@broker_option("HOST:PORT of the Kafka whose topics hold values; the store has none.", default=None)
@keys_option
@kinds_option
@json_option
def export(
    *,
    wearer: str,
    form: Form,
    out: Path,
    stores: Stores,
    role: Role,
    broker: Broker | None,
    keys: Path,
    kinds: Kinds,
    as_json: bool,
) -> None:
    """Write what is held of a wearer, or what the wearer provided, into a new directory, to hand it over.

    access (GDPR, Article 15) has everything that an erasure would take out of the store, whom it went to,
    how long it may be used and which models learned from it, as a page and as JSON; with --broker also the
    values that topics still hold. portability (Article 20) has what the wearer provided, as JSON Lines, a
    file for each kind, and needs --broker. The policies decide what may be handed out (the sink ask:wearer);
    others are masked. Only the privacy officer and the wearer may ask, and it is on record.
    """
    if form == "access":
        require("page")
    wearer = name("wearer", wearer)
    may_ask(role, wearer)
    if form == "portability" and broker is None:
        raise InputError(
            "--as portability: found no --broker, expected the Kafka whose topics hold what the wearer "
            "provided; the store has no values"
        )
    with moving("reading what was said") as show:
        topics = None if broker is None else asyncio.run(Topics.read(broker, keys))
        wanted = Wanted(
            wearer, form, replace(role, exporting=True, into=TO_WEARER), kinds, topics, erased(keys, wearer)
        )
        with Store.open(stores, wanted.role) as store:
            facts = _write(store, wanted, out, show)
            hidden, left_out = store.hidden, store.left_out
    emit_left_out(left_out)
    if as_json:
        emit_json({**facts, "role": str(role), "hidden": hidden})
        return
    emit_hidden(str(role), hidden)
    emit_facts({key: value for key, value in facts.items() if key != "erased"})
    if wanted.erased:
        say()
        say("erased: everything until then; the receipt of that number says what was done")
        emit_rows([*map(_plain, wanted.erased)])


def erased(keys: Path, wearer: str) -> list[Requested]:
    """Erasures of a wearer, oldest first; without a key store nothing tells whose an erasure is."""
    if not KeyStore.is_in(keys):
        return []
    with contextlib.closing(KeyStore(keys)) as store:
        mark = store.mark_of(wearer)
        return [each for each in store.erasures.all() if each.mark == mark]


class _NothingHeldError(Exception):
    """Neither the store nor the topics have anything of the wearer."""


def _write(store: Store, wanted: Wanted, out: Path, show: Callable[[str], None]) -> dict[str, object]:
    """Write an export and record it; returns what is to be said of it."""
    provided = wanted.form == "portability"
    answer: dict[str, object] = {"wearer": wanted.wearer, "erased": [_plain(each) for each in wanted.erased]}
    try:
        with (
            files.added_directory(out) as made,
            Handing(made, wanted.kinds, without_others=provided) as handing,
        ):
            show("reading the store")
            rows = OwnRows(store, wanted.wearer)
            _refuse_unfinished(store, wanted)
            values = _values(wanted, rows, handing, show)
            _require_something(rows, values)
            held = told(store, wanted.wearer, rows)
            over = sum(rows.over.values())
            left_out = [*_not_there(store), *_over(over), *_left_out(held, values)]
            show("writing")
            about = {
                "form": _FORMS[wanted.form][0],
                "law": _FORMS[wanted.form][1],
                "wearer": wanted.wearer,
                "epochs": [*store.epochs.values()],
                "policy": held.policy,
                "controller": held.controller,
                "made": rfc3339(clock.now_ns()),
                "role": str(wanted.role),
                "expired_rows": over,
                "left_out": to_builtins(left_out),
            }
            if not provided:
                _write_access(store, wanted.role, handing, about, held, rows, values)
            manifest = handing.finish(about, {} if values is None else values.events)
            store.record(
                asked_as(
                    f"rights export --wearer {wanted.wearer} --as {wanted.form} --out {out}",
                    {"--broker": wanted.topics is not None and str(wanted.topics.broker)},
                ),
                xxhash.xxh3_128_hexdigest(manifest),
            )
    except _NothingHeldError:
        if wanted.erased:
            return answer
        raise InputError(f"{nothing_of(store, wanted.wearer)}{_hint(wanted)}") from None
    return {
        **answer,
        "as": wanted.form,
        "directory": str(out),
        "epoch": store.epoch,
        "rows": 0 if provided else sum(map(len, rows.shown.values())),
        "events with values": 0 if values is None else values.events.total(),
        "rows left out as expired": over,
        "events left out": sum(each.events for each in left_out),
    }


def _require_something(rows: OwnRows, values: OwnValues | None) -> None:
    if not rows and not (values and values.events):
        raise _NothingHeldError


def _hint(wanted: Wanted) -> str:
    told = "" if wanted.topics is None else "; nor has any topic"
    return f"{told}; whether an erasure was of this wearer is told by the key store alone (--keys)"


def _plain(each: Requested) -> dict[str, object]:
    return {"erasure": each.number, "at": rfc3339(_until_ns(each))}


def _until_ns(each: Requested) -> int:
    """Time (ns) up to which an erasure reaches, as far as it is known."""
    return each.steps.get("stopped", each.steps["requested"]).at_ns


def _refuse_unfinished(store: Store, wanted: Wanted) -> None:
    """UnavailableError if an erasure of the wearer is not finished, here or as a whole."""
    for each in wanted.erased:
        applied = store.query("erased", {"number": each.number}).rows
        if each.next_step or (not applied and OwnRows(store, wanted.wearer, up_to(_until_ns(each)))):
            raise UnavailableError(
                f"{store.named}: found erasure {each.number} of this wearer before its end, expected a store "
                "that has applied it; ask again when it is finished (`sightline rights show`)"
            )


def _values(wanted: Wanted, rows: OwnRows, handing: Handing, show: Callable[[str], None]) -> OwnValues | None:
    """Write the values that topics hold; None without topics."""
    topics = wanted.topics
    if topics is None:
        return None
    values = OwnValues(
        wanted.wearer,
        wanted.role,
        codec_of(wanted.kinds),
        topics.stored,
        wanted.form == "portability",
        topics.erased(wanted.wearer),
    )
    show("reading the topics")
    devices = {*topics.devices(wanted.wearer), *rows.taken["streams"].column("source").to_pylist()}
    asyncio.run(topics.tell(values, devices, handing.put))
    return values


def _not_there(store: Store) -> Iterator[LeftOut]:
    """What is in a store that was not opened, or cannot be judged."""
    for sentence in store.left_out:
        yield LeftOut(of="the store", reason=sentence)


def _over(rows: int) -> Iterator[LeftOut]:
    """What is over and still in the files of the store."""
    if rows:
        yield LeftOut(
            of=f"{rows:,} rows of the store", reason="their retention is over; they leave it within a day"
        )


def _left_out(held: Own, values: OwnValues | None) -> Iterator[LeftOut]:
    """What an export does not have, and why."""
    for each in held.withheld:
        yield LeftOut(of=f"lineage of zone {each.zone}", reason=each.rule, events=each.events)
    if values is None:
        yield LeftOut(of="values", reason="no --broker was named, and the store has none")
        return
    for (kind, reason), count in sorted(values.left_out.items()):
        yield LeftOut(of=kind, reason=reason, events=count)
    yield from _NEVER
    if not values.provided:
        return
    yield from _NOT_PROVIDED
    seen = Counter(values.events)
    for (kind, _), count in values.left_out.items():
        seen[kind] += count
    stored = Counter[tuple[str, bool]]()
    for stream in held.streams:
        stored[stream.kind, stream.captured] += stream.events
    for (kind, captured), count in sorted(stored.items()):
        # What is told above with a reason of its own is not counted again.
        if count > seen[kind]:
            yield LeftOut(of=kind, reason=_GONE if captured else _MADE, events=count - seen[kind])


def _write_access(
    store: Store,
    role: Role,
    handing: Handing,
    about: dict[str, object],
    held: Own,
    rows: OwnRows,
    values: OwnValues | None,
) -> None:
    """Write access.json, with every row, and access.html, which people read."""
    # Only this command and `page` need templates.
    from streams.page.handed import handed_page  # noqa: PLC0415

    words = [] if values is None else values.words
    plain: dict[str, Any] = {
        **about,
        **{key: value for key, value in held.to_dict().items() if key not in (*about, "epoch")},
        "words": words,
        "rows": {
            table: {
                "columns": some.column_names,
                "rows": list(zip(*(column.to_pylist() for column in some.columns), strict=True)),
            }
            for table, some in rows.shown.items()
        },
    }
    handing.whole("access.json", "everything", orjson.dumps(plain, option=orjson.OPT_APPEND_NEWLINE))
    handing.whole("access.html", "the same to be read", handed_page(store, role, about, held, words))
