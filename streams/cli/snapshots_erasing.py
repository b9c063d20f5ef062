"""Which erasures `sightline snapshots` applies: those on `glasses.consents`, before anything is taken in."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path

from streams.consent.erased import Erasure, Mark
from streams.consent.record import learn_consent
from streams.consent.view import Consents
from streams.errors import InputError, UnavailableError
from streams.events.record import Received
from streams.queries.erased import erasures_left
from streams.sealing.key_store import KeyStore
from streams.settings.kafka import Broker
from streams.topology import CONSENTS
from streams.worker.follower import TableFollower

log = logging.getLogger(__name__)


class StatedErasures:
    """Reads the topic completely, then follows it; use it in `async with`, in the loop that stores.

    Delivery: each erasure at least once per process; an erasure that is applied twice changes nothing.
    """

    def __init__(self, broker: Broker, keys: Path) -> None:
        self._keys = keys
        self._follower = TableFollower(broker, CONSENTS, self._learn)
        self._fresh = list[Erasure]()
        self._store: KeyStore | None = None

    async def __aenter__(self) -> StatedErasures:
        """Read the topic to its end.

        Raises
        ------
        UnavailableError
            The broker or the topic is absent.
        """
        await self._follower.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._follower.stop()
        if self._store is not None:
            self._store.close()

    def _learn(self, record: Received) -> None:
        # Each record alone: this process needs no word, and would keep them all.
        consents = Consents()
        learn_consent(consents, record)
        self._fresh += consents.erasures()

    async def taken(self) -> tuple[Sequence[Erasure], Mark] | None:
        """Erasures since the last call, and what tells whose they are; None if there are none.

        Raises
        ------
        InputError
            There is no key store, or the erasures were made with another one.
        """
        if not self._fresh:
            return None
        if self._store is None:
            self._store = await asyncio.to_thread(self._opened)
        fresh, self._fresh = self._fresh, []
        return fresh, self._store.mark_of

    def _opened(self) -> KeyStore:
        if not KeyStore.is_in(self._keys):
            raise InputError(
                f"{CONSENTS} has {len(self._fresh)} erasures, and {self._keys} has no key store, expected "
                "the worker's: without it nothing tells whose rows must leave the store, and whose must not "
                "get in. Nothing was taken in; name it with --keys, or bring it back from where it is kept"
            )
        with contextlib.ExitStack() as stack:
            store = stack.enter_context(contextlib.closing(KeyStore(self._keys)))
            store.refuse_foreign(self._fresh)
            # Read here, once: what marks a name later touches no file.
            store.mark_of("")
            stack.pop_all()
        return store


def warn_of_left(store: Path) -> None:
    """Say which erasures a writer that ends leaves unfinished: nobody else deletes what it would have."""
    # A writer that took nothing in leaves no epoch.
    with contextlib.suppress(UnavailableError):
        for number in erasures_left(store):
            log.warning(
                "%s: erasure %d is applied, and the files that it replaced are still there, for readers of"
                " older epochs; the next `sightline snapshots` on this store deletes them",
                store,
                number,
            )
