"""`sightline rights requests`: what wearers asked for on their glasses, and to do it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import click

from streams.cli.extending import kinds_option
from streams.cli.output import Stores, emit_json, emit_rows, json_option, keys_option, stores_option
from streams.cli.rights.erase import (
    key_store_at,
    no_store_option,
    place_of,
    receipts_option,
    refuse_part,
    say_erased,
    telling,
)
from streams.cli.staying import stays
from streams.connection.address import broker_option
from streams.consent.erased import Scope
from streams.consent.view import Consents
from streams.errors import UnavailableError
from streams.events.headers import rfc3339
from streams.events.kinds import Kinds
from streams.extras import require
from streams.limits import ERASURE_REQUESTS_LOOK_S
from streams.moving import moving
from streams.printing import say
from streams.queries.newest import newest_catalog
from streams.queries.requested import ErasureRequest, erasure_requests
from streams.readiness import Ready
from streams.sealing.key_store import KeyStore
from streams.settings.kafka import Broker
from streams.worker.by_hand import wanted
from streams.worker.erasure import erase_wearer
from streams.worker.erasure_models import Place
from streams.worker.erasure_receipt import text_of
from streams.worker.on_topics import consents_of_topic

log = logging.getLogger(__name__)


@click.command()
@click.option("--erase", "erasing", is_flag=True, help="Carry out what is open.")
@click.option("--follow", is_flag=True, help="Carry out what is open and what comes, until Ctrl-C.")
@stores_option
@no_store_option
@receipts_option
@broker_option()
@keys_option
@kinds_option
@stays
@json_option
def requests(
    *,
    erasing: bool,
    follow: bool,
    stores: Stores,
    no_store: bool,
    receipts: Path,
    broker: Broker,
    keys: Path,
    kinds: Kinds,
    ready_fd: int | None,
    ready_file: Path | None,
    as_json: bool,
) -> None:
    """List what wearers asked for on their glasses: which requests to erase are open, and which were refused.

    A request counts if it came from a device that was paired with the wearer then; any other is refused when
    it comes, with the rule. With --erase or --follow each wearer with an open request is erased, by the steps
    of `sightline rights erase`, and once, however often the wearer asked: all, or since the day that the
    request names. Any other span of time is left to whoever answers for it.
    """
    require("worker")
    refuse_part(stores)
    place = place_of(broker, keys, kinds, () if no_store else stores, receipts=receipts)
    stop = threading.Event()
    with (
        Ready(ready_fd, ready_file) as ready,
        contextlib.closing(asyncio.run(key_store_at(broker, keys))) as store,
    ):
        of = Open(place, stores, store)
        asked = of.read()
        if not follow:
            _say(asked, as_json=as_json)
            if erasing:
                of.carry_out(asked, as_json=as_json)
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        ready.say()
        of.follow(stop, as_json=as_json)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and what becomes of it; what was captured before `since_ns` stays (0: nothing does)."""

    request: ErasureRequest
    state: str
    since_ns: int = 0


class Due(NamedTuple):
    """An erasure to be carried out: when it was asked for first (ns), and its scope.

    Without a scope it is as the one that was interrupted has it.
    """

    asked_ns: int
    scope: Scope | None


@dataclass(frozen=True, slots=True)
class Open:
    """The requests in stores, beside the erasures on the topic and in the key store."""

    place: Place
    stores: Sequence[Path]
    keys: KeyStore

    def read(self) -> list[Asked]:
        """All requests; InputError if the key store is not that of the topics."""
        return asyncio.run(self._read(erasure_requests(self.stores)))

    async def _read(self, asked: Sequence[ErasureRequest]) -> list[Asked]:
        consents = await consents_of_topic(self.place.broker)
        judged = self.judged(asked, consents)
        return [await self._wanted(each, consents) if each.state == "open" else each for each in judged]

    async def _wanted(self, asked: Asked, consents: Consents) -> Asked:
        """An open request with what it is about, which only its record says."""
        request = asked.request
        since_ns, by_hand = await wanted(self.place.broker, self.place.codec, request)
        # It is erased if one of them has all that was asked for, up to the request. One of a place has not.
        times = consents.erased(request.wearer, consents.offset).words
        if since_ns and any(
            each.since_ns <= since_ns and not request.is_open(each.until_ns) for each in times
        ):
            return Asked(request, "erased", since_ns)
        return Asked(request, by_hand or "open", since_ns)

    def judged(self, asked: Sequence[ErasureRequest], consents: Consents) -> list[Asked]:
        """Requests beside what is on `glasses.consents`; errors as of `read`."""
        self.keys.refuse_foreign(consents.erasures())
        consents.mark = self.keys.mark_of
        return [Asked(each, self._state(each, consents)) for each in asked]

    def _state(self, request: ErasureRequest, consents: Consents) -> str:
        if request.rule:
            return f"refused: {request.rule}"
        # One that left something is not what was asked for.
        erased = consents.erased(request.wearer, consents.offset)
        return "open" if request.is_open(erased.wholly_ns) else "erased"

    def wearers(self, asked: Sequence[Asked]) -> dict[str, Due]:
        """Who is to be erased: open requests, each wearer once for all of them, and what was interrupted."""
        under_way = {each.wearer: each for each in self.keys.erasures.all() if each.wearer}
        begun = {
            wearer: Due(each.steps["requested"].at_ns, None)
            for wearer, each in under_way.items()
            if each.origin == "device"
        }
        first = dict[str, tuple[int, int]]()
        for each in asked:
            if each.state == "open":
                wearer, asked_ns, since_ns = each.request.wearer, each.request.asked_ns, each.since_ns
                before = first.get(wearer, (asked_ns, since_ns))
                first[wearer] = (min(before[0], asked_ns), min(before[1], since_ns))
        # An operator's that was interrupted is finished under its own scope first.
        later = {
            wearer: Due(asked_ns, None if wearer in under_way else Scope(since_ns))
            for wearer, (asked_ns, since_ns) in first.items()
        }
        return {**later, **begun}

    def carry_out(self, asked: Sequence[Asked], *, as_json: bool) -> None:
        """Erase who is to be erased, one after another; each is printed when it is done."""
        for wearer, due in self.wearers(asked).items():
            with moving() as progress:
                erased = asyncio.run(
                    erase_wearer(
                        self.place,
                        self.keys,
                        wearer,
                        telling(progress),
                        origin="device",
                        asked_ns=due.asked_ns,
                        scope=due.scope,
                    )
                )
            say_erased(erased, as_json=as_json)

    def follow(self, stop: threading.Event, *, as_json: bool) -> None:
        """Carry out what is open, at each newer epoch, until `stop` is set.

        What fails because something is away is said once and tried again.
        """
        looked_at, complaint = list[Path](), ""
        while not stop.is_set():
            try:
                newest = [newest_catalog(store.resolve()) for store in self.stores]
                if complaint or newest != looked_at:
                    self.carry_out(self.read(), as_json=as_json)
                    looked_at, complaint = newest, ""
            except UnavailableError as error:
                if str(error) != complaint:
                    complaint = str(error)
                    log.warning("%s; tried again", complaint)
            stop.wait(ERASURE_REQUESTS_LOOK_S)


def _say(asked: Sequence[Asked], *, as_json: bool) -> None:
    rows = list(_rows(asked))
    if as_json:
        emit_json({"requests": rows})
    elif rows:
        emit_rows(rows)
    else:
        say("nobody asked to be erased")


def _rows(asked: Sequence[Asked]) -> Iterator[dict[str, object]]:
    for each in asked:
        request = each.request
        yield {
            "request": request.id,
            "wearer": request.wearer,
            "asked": rfc3339(request.asked_ns),
            "scope": text_of(Scope(each.since_ns)) if each.state == "open" else "",
            "state": each.state,
        }
