"""What a process seals and opens with. A key is asked for again before it is 2 s old.

So a reader that has a key holds it for less than 2 s beyond its destruction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from msgspec.structs import replace

from streams import clock, limits, metrics
from streams.errors import MalformedError, SightlineError, UnavailableError
from streams.events.digest import keyed_digest
from streams.events.headers import ENCODING
from streams.events.record import Outgoing, Received, StoredRecord
from streams.sealing.key_rows import KeyFor
from streams.sealing.key_store import Kept, Key, KeyStore, day_of
from streams.sealing.release import NotReleasedError
from streams.sealing.sealed import BROKEN, KeyName, is_sealed, key_of, seal, unopened, unseal

_Name = TypeVar("_Name")
_Known = TypeVar("_Known")


class FetchDigests:
    """Digests of the values of one fetch, under keys that do not change while it is computed.

    `missing` has the wearers whose keys were not given; what was computed then must be computed again.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = keys
        self.missing: set[str] = set()

    def digest(self, wearer: str, value: bytes) -> str:
        """Digest of a value of a wearer, under a key that is destroyed with all others of the wearer."""
        key = self._keys.get(wearer)
        if key is None:
            self.missing.add(wearer)
            return ""
        return keyed_digest(key, value)


class _Held(NamedTuple, Generic[_Known]):
    known: _Known
    since_s: float

    def fresh(self, for_s: float) -> bool:
        return clock.monotonic_s() - self.since_s < for_s


class _Memory(Generic[_Name, _Known]):
    """What a store answered a moment ago; `ask` answers for several names."""

    def __init__(self, ask: Callable[[Collection[_Name]], Mapping[_Name, _Known]]) -> None:
        self._ask = ask
        self.held: dict[_Name, _Held[_Known]] = {}

    async def of(self, names: Collection[_Name]) -> dict[_Name, _Known]:
        """What the store knows of `names`, at most KEY_HELD_S / 2 old, because it is still to be used."""
        fresh = {
            name: held.known
            for name in names
            if (held := self.held.get(name)) is not None and held.fresh(limits.KEY_HELD_S / 2)
        }
        absent = [name for name in names if name not in fresh]
        if absent:
            since_s = clock.monotonic_s()
            try:
                # It may wait for a disk or for a lock.
                asked = await asyncio.to_thread(self._ask, absent)
            except NotReleasedError:
                raise
            except SightlineError as error:
                # Whatever is wrong with the key store, no record is to blame.
                raise UnavailableError(str(error)) from None
            if len(self.held) + len(asked) > limits.KEYS_HELD_MAX:
                self.held.clear()
            self.held |= {name: _Held(known, since_s) for name, known in asked.items()}
            # Not only unused, but gone, also if nothing is asked for any more.
            asyncio.get_running_loop().call_later(limits.KEY_HELD_S, self._let_go)
            fresh |= asked
        return fresh

    def _let_go(self) -> None:
        self.held = {name: held for name, held in self.held.items() if held.fresh(limits.KEY_HELD_S)}


#: Asks a key store, or a service in front of it, what is known of some keys.
Find = Callable[[Collection[KeyName]], Mapping[KeyName, Kept]]


class Opening:
    """Opens what is sealed, with keys that are each held for a moment.

    UnavailableError if `find` cannot say what is known of a key: then nothing is opened, and no record is at
    fault. NotReleasedError if it refuses to say it.
    """

    def __init__(self, find: Find) -> None:
        self._opening = _Memory[KeyName, Kept](find)

    async def opened(self, topic: str, records: Sequence[Received]) -> list[Received]:
        """The same records, with the values of those that are sealed as they were before.

        A record that cannot be opened has no value, and its header `content-encoding` says why: its key is
        `expired` or `erased`, or it is `broken`, because it was not sealed for this place.
        """
        names = [_name_of(record) for record in records]
        kept = await self._opening.of({name for name in names if name is not None})
        opened = list[Received]()
        for record, name in zip(records, names, strict=True):
            if not is_sealed(record.headers):
                opened.append(record)
                continue
            opened.append(_opened(topic, record, None if name is None else kept[name]))
            metrics.count("opened_total", outcome=unopened(opened[-1].headers) or "opened")
        return opened


class Keys(Opening):
    """Keys of a store, each held for a moment.

    The methods that wait raise UnavailableError if the store, its key-encryption key, or a key in it is not
    there or is not the right one: then nothing is sealed and nothing is opened, and no record is at fault.
    """

    def __init__(self, store: KeyStore) -> None:
        super().__init__(store.find)
        self._sealing = _Memory[KeyFor, Key](store.ensure)
        self._digests = _Memory[str, bytes](store.digest_keys)
        self._digests_there = _Memory[str, bytes](store.digest_keys_there)
        #: See `KeyStore.digest_key`; of the store, as it is now.
        self.digest_key = store.digest_key

    async def digest_keys(self, wearers: Collection[str]) -> Mapping[str, bytes]:
        """Keys of the wearers' digests; those that are absent are made."""
        return await self._digests.of(wearers) if wearers else {}

    async def digest_keys_there(self, wearers: Collection[str]) -> Mapping[str, bytes]:
        """Those of these keys that are there: whoever was erased is not to get one again by a guess."""
        return await self._digests_there.of(wearers) if wearers else {}

    async def sealed(self, outputs: Sequence[Outgoing]) -> Sequence[Outgoing]:
        """The same records, with those sealed that ask for it (`Outgoing.seal`)."""
        wanted = [
            None
            if output.seal is None
            else KeyFor(output.seal.wearer, output.seal.days, day_of(output.timestamp_ms * 1_000_000))
            for output in outputs
        ]
        named = {each for each in wanted if each is not None}
        if not named:
            return outputs
        keys = await self._sealing.of(named)
        metrics.count("sealed_total", sum(each is not None for each in wanted))
        return [
            output if each is None else _sealed(output, keys[each])
            for output, each in zip(outputs, wanted, strict=True)
        ]


def _name_of(record: Received) -> KeyName | None:
    """Name of the key of a record; None if it is not sealed, or has not the form of a sealed one."""
    try:
        return key_of(record.value) if is_sealed(record.headers) else None
    except MalformedError:
        return None


def _sealed(output: Outgoing, key: Key) -> Outgoing:
    headers, value = seal(key.name, key.key, output.topic, output.headers, output.value or b"")
    return replace(output, headers=headers, value=value, seal=None)


def _opened(topic: str, record: Received, kept: Kept | None) -> Received:
    """The record as it was before it was sealed, or without a value and with the reason."""
    wire, state = record.value or b"", BROKEN if kept is None else kept.state
    if kept is not None and kept.state == "present":
        try:
            headers, value = unseal(kept.key, topic, record.headers, wire)
        except MalformedError:
            state = BROKEN
        else:
            return StoredRecord(record.offset, record.timestamp, record.key, value, headers, wire)
    headers = [(name, state.encode() if name == ENCODING else of) for name, of in record.headers]
    return StoredRecord(record.offset, record.timestamp, record.key, None, headers, wire)
