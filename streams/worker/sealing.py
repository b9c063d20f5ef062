"""The key store of a worker: which one belongs to the topics, and when it destroys keys."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

from streams import clock, metrics
from streams.errors import MalformedError, SightlineError, reason
from streams.events.record import Received
from streams.kafka.reader import log_bounds, read_all
from streams.limits import CLOCKS_APART_S_MAX, KEYS_EXPIRE_S
from streams.policy.policy import Policy
from streams.sealing.brokers_time import BrokersTime
from streams.sealing.key_store import KeyStore
from streams.sealing.keys import Keys
from streams.sealing.release import release
from streams.sealing.sealed import KeyName, is_sealed, key_of, unopened
from streams.settings.kafka import Broker
from streams.topology import EXAMPLES, TRAINING_RUN

log = logging.getLogger(__name__)

#: Offsets at the end of the topic that are looked through for a sealed record.
_LOOKED_AT = 1000


async def key_store_of(broker: Broker, directory: Path) -> KeyStore:
    """The key store of the topics on a broker; it is made if the topics have nothing that is sealed.

    Raises
    ------
    InputError
        The topics have sealed records and there is no key store.
    DamagedError
        The key store is another one than that of the topics, or older, or cannot be read.
    UnavailableError
        The broker is absent, or the key-encryption key is.
    """
    newest = await _newest_key(broker)
    store = await asyncio.to_thread(KeyStore.made if newest is None else KeyStore, directory)
    try:
        if newest is not None:
            await asyncio.to_thread(store.find, [newest])
        await asyncio.to_thread(store.settle)
    except BaseException:
        store.close()
        raise
    return store


async def examples_of(broker: Broker, directory: Path, policy: Policy, principal: str) -> list[Received]:
    """Records of `glasses.examples`, opened with the keys in a directory for the purpose of training.

    What was destroyed is left out. The directory need not be there if nothing is sealed. Errors are those of
    `key_store_of` and `release`.
    """
    records: list[Received] = list(await read_all(broker, EXAMPLES))
    if not any(is_sealed(record.headers) for record in records):
        return records
    with contextlib.closing(KeyStore(directory)) as store:
        await asyncio.to_thread(release, store, policy, TRAINING_RUN, principal, clock.now_ns())
        opened = await Keys(store).opened(EXAMPLES, records)
    return [record for record in opened if not unopened(record.headers)]


async def _newest_key(broker: Broker) -> KeyName | None:
    """Name of the key of the newest sealed record; None if there is none near the end of the topic."""
    begin, end = (await log_bounds(broker, EXAMPLES))[0]
    newest = None
    for record in await read_all(broker, EXAMPLES, 0, from_offsets={0: max(begin, end - _LOOKED_AT)}):
        if is_sealed(record.headers):
            try:
                newest = key_of(record.value)
            except MalformedError:
                continue
    return newest


async def expire_keys(store: KeyStore, time: BrokersTime) -> None:
    """Destroy the keys of days whose retention is over, again and again until cancelled.

    What counts is the broker's time. If the clock of this machine disagrees with it, one of them is wrong and
    nothing is destroyed, because a key that is gone does not come back.
    """
    while True:
        await asyncio.sleep(KEYS_EXPIRE_S)
        now_ns = time.now_ns(clock.monotonic_ns())
        if not now_ns:
            continue
        apart_s = (clock.now_ns() - now_ns) / 1e9
        if abs(apart_s) > CLOCKS_APART_S_MAX:
            log.error(
                "No key is destroyed: this machine's clock is %.0f s %s the broker's, expected at most %d s",
                abs(apart_s),
                "ahead of" if apart_s > 0 else "behind",
                CLOCKS_APART_S_MAX,
            )
            continue
        try:
            await asyncio.to_thread(expire, store, now_ns)
        except (SightlineError, OSError) as error:
            log.warning("Keys whose retention is over are not destroyed yet, tried again: %s", reason(error))


def expire(store: KeyStore, now_ns: int) -> int:
    """Destroy the keys whose retention is over at a time of the broker, and the key that wrapped them."""
    count = store.expire(now_ns)
    if count:
        store.renew()
        metrics.count("keys_destroyed_total", count, reason="expired")
        log.info("Retention destroyed %d keys: what they sealed cannot be read any more", count)
    return count
