"""Read the committed records of the topics; only a few bytes are kept of each."""

from __future__ import annotations

import asyncio
import re
from array import array
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streams import limits, topology
from streams.kafka.reader import Follower, log_bounds
from streams.ledger.accounts import COLLISION, EARLY
from streams.ledger.records import Records, is_sealed
from streams.ledger.runs import Ints, column, groups
from streams.ledger.sealed import Sealed
from streams.settings.kafka import Broker

#: Topics of derived events: records on them and events in the store must correspond one to one.
DERIVED = (topology.DERIVED, topology.ANSWERS, topology.EXAMPLES)

_UNREAD = (b"malformed", b"poisoned", b"limits")
_DIGEST = re.compile(rb"[0-9a-f]{32}")


@dataclass(slots=True)
class Topics:
    """Content of the topics.

    glasses.rejected is divided into four parts: `early` (batches rejected before repeats are detected),
    `collided` (batches whose numbers belong to other data), `rejected` (other batches of devices), and
    `refused` (unreadable records, and rejections of later stages).

    `order_faults` counts records of glasses.zoned that are before one that was captured earlier. `repeated`
    and `late` count batches of glasses.captured that arrived again, or after later ones of their stream;
    `other_data` counts batches whose numbers an earlier batch had with another value (`other_named` has the
    first of them). `lineage_ends` are the end offsets of glasses.lineage, by partition.
    """

    zoned: Records = field(default_factory=lambda: Records(whole=True))
    rejected: Records = field(default_factory=lambda: Records(whole=True))
    early: Records = field(default_factory=lambda: Records(whole=True))
    collided: Records = field(default_factory=lambda: Records(whole=True))
    refused: Records = field(default_factory=Records)
    unread: bytearray = field(default_factory=bytearray)
    """Digests of the batches of devices that could not be read, 16 bytes each: they only claim events."""
    derived: dict[str, Records] = field(default_factory=dict)
    captured_count: int = 0
    order_faults: int = 0
    repeated: int = 0
    late: int = 0
    other_data: int = 0
    other_named: str = ""
    lineage_records: int = 0
    lineage_ends: dict[int, int] = field(default_factory=dict)
    begin_later: list[str] = field(default_factory=list)
    """Topics of which retention has removed something."""

    def refusals(self) -> tuple[Records, ...]:
        """All parts of glasses.rejected."""
        return self.rejected, self.early, self.collided, self.refused

    def refusal(self, headers: Mapping[str, bytes | None]) -> Records:
        """Return the part for a record of glasses.rejected; note its digest if it is unreadable."""
        if headers.get("sightline-stage") != b"zones":
            return self.refused
        if "ce_id" not in headers or headers.get("sightline-rule") in _UNREAD:
            digest = _DIGEST.fullmatch(headers.get("sightline-digest") or b"")
            self.unread += bytes.fromhex(digest[0].decode()) if digest else b""
            return self.refused
        rule = (headers.get("sightline-rule") or b"").decode(errors="replace")
        return self.early if rule in EARLY else self.collided if rule == COLLISION else self.rejected


def read_topics(broker: Broker, erased: frozenset[str] = frozenset(), sealed: Sealed | None = None) -> Topics:
    """Read every topic of the event path up to its end, but for the records of erased devices.

    `sealed` opens what is sealed, if it has the keys, and counts it.
    """
    return asyncio.run(_read_topics(broker, frozenset(device.encode() for device in erased), sealed))


async def _read_topics(broker: Broker, erased: frozenset[bytes], sealed: Sealed | None) -> Topics:
    topics = Topics(zoned=Records(whole=True, sealed=sealed))
    for topic in (topology.CAPTURED, topology.ZONED, topology.REJECTED, *DERIVED, topology.LINEAGE):
        if any(begin for begin, _ in (await log_bounds(broker, topic)).values()):
            topics.begin_later.append(topic)
    captured = await _read(broker, topology.CAPTURED, Records(whole=True), erased)
    topics.captured_count = len(captured)
    await _read(broker, topology.ZONED, topics.zoned, erased)
    others = other_data(captured)
    topics.other_data, topics.other_named = others.size, captured.named(others)
    repeated, topics.late = link_faults(captured.runs())
    topics.repeated = repeated - others.size
    topics.order_faults = order_faults(captured.runs(), topics.zoned.runs())
    async for record in _records(broker, topology.REJECTED, erased):
        headers = dict(record.headers)
        topics.refusal(headers).take(headers, record.value, record.partition, record.offset)
    topics.derived = {
        topic: await _read(
            broker, topic, Records(sealed=sealed if topic in topology.SEALABLE else None), erased
        )
        for topic in DERIVED
    }
    async with Follower(broker, topology.LINEAGE) as follower:
        topics.lineage_ends = await follower.end_offsets()
        async for records in _polled(follower, topics.lineage_ends):
            topics.lineage_records += len(records)
    return topics


async def _polled(follower: Follower, ends: dict[int, int]) -> AsyncIterator[list[Any]]:
    while any(position < ends[partition] for partition, position in (await follower.positions()).items()):
        for records in (await follower.poll(200, limits.FETCH_RECORDS_MAX)).values():
            yield records


async def _records(broker: Broker, topic: str, erased: frozenset[bytes]) -> AsyncIterator[Any]:
    """Records of a topic, whose keys are devices, but for those of erased ones."""
    async with Follower(broker, topic) as follower:
        async for records in _polled(follower, await follower.end_offsets()):
            for record in records:
                if record.key not in erased:
                    yield record


async def _read(broker: Broker, topic: str, records: Records, erased: frozenset[bytes]) -> Records:
    keyring = None if records.sealed is None else records.sealed.keyring
    async for record in _records(broker, topic, erased):
        headers, opened = dict(record.headers), None
        if keyring is not None and is_sealed(headers):
            [opened] = await keyring.opened(topic, [record])
        records.take(headers, record.value, record.partition, record.offset, opened)
    return records


def other_data(captured: Records) -> Ints:
    """Records whose first number an earlier record of the stream had with another value; one per value."""
    values = captured.values()
    number, first_of_number = groups([column(captured.key), column(captured.first)])
    value, _ = groups([number, values[:, 0], values[:, 1]])
    _, first_of_value = np.unique(value, return_index=True)
    earliest = np.full(first_of_number.size, len(captured), np.int64)
    np.minimum.at(earliest, number, np.arange(len(captured)))
    return np.sort(first_of_value[earliest[number[first_of_value]] != first_of_value])


def link_faults(captured: Iterable[tuple[str, int, int]]) -> tuple[int, int]:
    """(repeated, late): number of batches whose first number arrived before, or after a higher one."""
    seen: dict[str, set[int]] = {}
    highest: dict[str, int] = {}
    repeated = late = 0
    for key, first, _ in captured:
        firsts = seen.setdefault(key, set())
        repeated += first in firsts
        late += first not in firsts and first < highest.get(key, -1)
        firsts.add(first)
        highest[key] = max(highest.get(key, -1), first)
    return repeated, late


def order_faults(captured: Iterable[tuple[str, int, int]], zoned: Iterable[tuple[str, int, int]]) -> int:
    """Count the records of `zoned` that are after a record of their device that was captured later.

    Records are (stream, first, count). The position of a number is that of the first record with it, because
    repeats must be dropped.
    """
    places = _places(captured)
    faults = 0
    reached: dict[str, tuple[int, int]] = {}
    for key, first, _ in zoned:
        if key not in places:
            continue
        bounds, place_of = places[key]
        index = int(bounds.searchsorted(first, "right")) - 1
        place = int(place_of[index]) if index >= 0 else -1
        source = key.partition("/")[0]
        here = (place, first)
        before = reached.get(source, (-1, -1))
        faults += place >= 0 and here < before
        reached[source] = max(before, here)
    return faults


def _places(captured: Iterable[tuple[str, int, int]]) -> dict[str, tuple[Ints, Ints]]:
    """By stream: numbers at which a record begins or ends, and the position of the first record from each on.

    The position is -1 if no record has the numbers from there on.
    """
    grouped: dict[str, tuple[array[int], array[int], array[int]]] = {}
    for place, (key, first, count) in enumerate(captured):
        runs = grouped.setdefault(key, (array("q"), array("q"), array("q")))
        for numbers, number in zip(runs, (first, first + count, place), strict=True):
            numbers.append(number)
    places: dict[str, tuple[Ints, Ints]] = {}
    for key, (begin, end, place_numbers) in grouped.items():
        bounds = np.unique(np.concatenate((column(begin), column(end))))
        place_of = np.full(bounds.size, -1, np.int64)
        cuts = zip(
            bounds.searchsorted(column(begin)).tolist(),
            bounds.searchsorted(column(end)).tolist(),
            place_numbers,
            strict=True,
        )
        for low, high, place in reversed(list(cuts)):
            place_of[low:high] = place
        places[key] = bounds, place_of
    return places
