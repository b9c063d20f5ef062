"""The key store of a worker: which one belongs to the topics, and when it destroys keys."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from streams import clock, metrics
from streams.consent.view import Consents
from streams.errors import InputError, MalformedError, SightlineError, reason
from streams.events.brokers_time import BrokersTime
from streams.events.record import Received
from streams.kafka.reader import log_bounds, read_all, read_through
from streams.limits import CLOCKS_APART_S_MAX, KEYS_EXPIRE_S
from streams.policy.policy import Policy
from streams.sealing.erasures import Done
from streams.sealing.key_store import KeyStore, day_of
from streams.sealing.keys import Keys
from streams.sealing.release import release
from streams.sealing.sealed import KeyName, is_sealed, key_of, unopened
from streams.settings.kafka import Broker
from streams.topology import EXAMPLES, POLICIES, SEALABLE, SEALED, SEALED_OBLIGATION, TRAINING_RUN

log = logging.getLogger(__name__)

#: Offsets at the end of each partition that are looked through for a sealed record.
_LOOKED_AT = 1000


async def key_store_of(broker: Broker, directory: Path) -> KeyStore:
    """The key store of the topics on a broker; it is made if the topics have nothing that is sealed.

    Raises
    ------
    InputError
        The topics have sealed records and there is no key store, or it is another one than theirs.
    DamagedError
        The key store is older than the topics, or cannot be read.
    UnavailableError
        The broker is absent, or the key-encryption key is.
    """
    absent = not await asyncio.to_thread(KeyStore.is_in, directory)
    # All of the topics once, where there is no key store: a first start is not to be mistaken.
    names = await _names(broker, None if absent else _LOOKED_AT)
    store = await asyncio.to_thread(KeyStore.made if absent and not names else KeyStore, directory)
    try:
        if names and not _own(store, names):
            # Somebody else's may fill the ends of the topics.
            names = await _names(broker, None)
        refuse_other(store, names)
        await asyncio.to_thread(store.find, _own(store, names))
        await asyncio.to_thread(store.settle)
    except BaseException:
        store.close()
        raise
    return store


def _own(store: KeyStore, names: Collection[KeyName]) -> list[KeyName]:
    return [name for name in names if name.store == store.id]


def refuse_other(store: KeyStore, names: Sequence[KeyName]) -> None:
    """InputError if the names are of other key stores; a few among those of this one are somebody's noise."""
    if names and not _own(store, names):
        raise InputError(
            f"{store.path}: found key store {store.id.hex()}, expected {names[-1].store.hex()}, under whose "
            f"keys the topics are sealed; nothing is erased by that, name the right one with --keys"
        )


def recognise(consents: Consents, directory: Path, wearer: str) -> None:
    """Let the key store tell which erasures are the wearer's, if there are any and it is at hand.

    InputError if it is another one than the topics'.
    """
    stated = consents.erasures()
    if stated and KeyStore.is_in(directory):
        with contextlib.closing(KeyStore(directory)) as store:
            store.refuse_foreign(stated)
            consents.mark = {wearer: store.mark_of(wearer)}.__getitem__


def erase_again(keys: KeyStore, consents: Consents, now_ns: int) -> int:
    """Destroy what a key store that was restored has of erased wearers; returns the number of keys.

    The topics name erasures that such a key store does not know. What was sealed on later days than the
    erasure is under later consent.
    """
    stated = consents.erasures()
    keys.refuse_foreign(stated)
    done = {each.number for each in keys.erasures.all() if "unreadable" in each.steps}
    lacking = [erasure for erasure in stated if erasure.number not in done]
    if not lacking:
        return 0
    total, by_mark = 0, {keys.mark_of(wearer): wearer for wearer in keys.wearers()}
    for erasure in lacking:
        count = 0
        if (wearer := by_mark.get(erasure.mark)) is not None:
            if erasure.scope is None:
                days = {"from_day": day_of(erasure.since_ns), "until_day": day_of(erasure.at_ns)}
                count = keys.erase(wearer, now_ns, **days)
            else:
                count = keys.erase_numbers(wearer, erasure.scope.keys, now_ns)
        # Once: a key of that day that is made from now on is under later consent.
        keys.erasures.adopt(erasure.number, erasure.mark, Done(erasure.at_ns, 0), Done(now_ns, count))
        total += count
    if total:
        keys.settle()
    return total


async def examples_of(broker: Broker, directory: Path, policy: Policy, principal: str) -> list[Received]:
    """Records of `glasses.examples`, opened with the keys in a directory for the purpose of training.

    What was destroyed is left out. The directory need not be there if nothing is sealed. Errors are those of
    `key_store_of` and `release`.
    """
    records = await examples_by_key(broker, directory, policy, principal)
    return [record for record, _ in records if not unopened(record.headers)]


async def examples_by_key(
    broker: Broker, directory: Path, policy: Policy, principal: str
) -> list[tuple[Received, int]]:
    """The same with the number of the key of each (0: not sealed), and with what could not be opened."""
    records: list[Received] = list(await read_all(broker, EXAMPLES))
    if not any(is_sealed(record.headers) for record in records):
        return [(record, 0) for record in records]
    with contextlib.closing(KeyStore(directory)) as store:
        refuse_other(store, names_in(records))
        await asyncio.to_thread(release, store, policy, TRAINING_RUN, principal, clock.now_ns())
        opened = await Keys(store).opened(EXAMPLES, records)
    return [(each, _number_of(record)) for each, record in zip(opened, records, strict=True)]


async def labelled_by_key(
    broker: Broker, directory: Path, policy: Policy, principal: str, wearer: str
) -> list[tuple[str, Received, int]]:
    """What of a wearer is sealed because its label owes it: topic, opened record, number of its key.

    It is found by the key, so nothing is opened of others who wore the same glasses. What was destroyed is
    left out. It is opened for the purpose of the sink that is its topic. Errors are those of `examples_of`.
    """
    topics = set(await _sealable(broker)) - SEALED
    if not topics:
        return []
    sealed = {topic: list[Received]() for topic in sorted(topics)}
    with contextlib.closing(KeyStore(directory)) as store:
        keys, numbers = Keys(store), await asyncio.to_thread(store.numbers_of, wearer)
        #: One name of each key store, of which a few can be somebody's noise.
        stores = dict[bytes, KeyName]()
        for topic, hers in sealed.items():

            def look(record: Received, hers: list[Received] = hers) -> None:
                for name in names_in([record]):
                    stores[name.store] = name
                    if name.store == store.id and name.number in numbers:
                        hers.append(record)

            await read_through(broker, topic, look)
        refuse_other(store, [*stores.values()])
        by_key = list[tuple[str, Received, int]]()
        for topic, hers in sealed.items():
            if hers:
                await asyncio.to_thread(release, store, policy, topic, principal, clock.now_ns())
            by_key += [
                (topic, each, _number_of(record))
                for each, record in zip(await keys.opened(topic, hers), hers, strict=True)
                if not unopened(each.headers)
            ]
    return by_key


def _number_of(record: Received) -> int:
    """Number of the key of a record; 0: it is not sealed."""
    return next((name.number for name in names_in([record])), 0)


async def _sealable(broker: Broker) -> Collection[str]:
    """Topics with sealed values: where labels decide, nothing is sealed unless a policy ever said so."""
    word = SEALED_OBLIGATION.encode()
    owed = any(word in (record.value or b"") for record in await read_all(broker, POLICIES))
    return SEALABLE if owed else SEALED


async def _names(broker: Broker, at_end: int | None) -> list[KeyName]:
    """Names of keys in some offsets at the ends of topics (None: in all), as their records have them."""
    names = dict[KeyName, None]()

    def look(record: Received) -> None:
        names.update(dict.fromkeys(names_in([record])))

    for topic in await _sealable(broker):
        starts = {
            partition: begin if at_end is None else max(begin, end - at_end)
            for partition, (begin, end) in (await log_bounds(broker, topic)).items()
        }
        await read_through(broker, topic, look, from_offsets=starts)
    return list(names)


def names_in(records: Iterable[Received]) -> list[KeyName]:
    """Names of the keys of sealed records; what has not the form of one is passed over."""
    names = []
    for record in records:
        if is_sealed(record.headers):
            with contextlib.suppress(MalformedError):
                names.append(key_of(record.value))
    return names


async def expire_keys(store: KeyStore, time: BrokersTime) -> None:
    """Destroy the keys of days whose retention is over, again and again until cancelled.

    What counts is the broker's time, as far as it was heard: it is never ahead of the broker, so without
    traffic keys are destroyed later, and not too early. If it is ahead of this machine's clock, one of them
    is wrong and nothing is destroyed, because a key that is gone does not come back.
    """
    while True:
        await asyncio.sleep(KEYS_EXPIRE_S)
        now_ns = time.now_ns(clock.monotonic_ns())
        ahead_s = (now_ns - clock.now_ns()) / 1e9
        if ahead_s > CLOCKS_APART_S_MAX:
            log.error(
                "No key is destroyed: the broker is %.0f s ahead of this machine's clock, more than %d",
                ahead_s,
                CLOCKS_APART_S_MAX,
            )
            continue
        try:
            await asyncio.to_thread(expire, store, now_ns)
        except (SightlineError, OSError) as error:
            log.warning("The expiry of keys is not finished, tried again: %s", reason(error))


def expire(store: KeyStore, now_ns: int) -> int:
    """Destroy the keys whose retention is over at a time of the broker (0: unknown), and what wrapped them.

    It also finishes what was interrupted before.
    """
    count = store.expire(now_ns) if now_ns else 0
    if count:
        metrics.count("keys_destroyed_total", count, reason="expired")
        log.info("Retention destroyed %d keys: what they sealed cannot be read any more", count)
    store.settle()
    return count
