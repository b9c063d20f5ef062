"""What lies on the topics, read committed; of a record only a few bytes of its headers are kept."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streams import limits, topology
from streams.kafka.reader import Follower
from streams.ledger.journal import column
from streams.ledger.runs import ByStream, Ints, spread

#: What agents derive; each record of these is an event of the store, and each such event of the store one
#: record.
DERIVED = (topology.DERIVED, topology.ANSWERS, topology.EXAMPLES)


@dataclass(slots=True)
class Records:
    """Records of one topic that name their events, in the order of each partition.

    `unreadable` do not name them.
    """

    keys: list[str] = field(default_factory=list)
    key: array[int] = field(default_factory=lambda: array("q"))
    first: array[int] = field(default_factory=lambda: array("q"))
    step: array[int] = field(default_factory=lambda: array("q"))
    count: array[int] = field(default_factory=lambda: array("q"))
    records: int = 0
    unreadable: int = 0
    _index: dict[str, int] = field(default_factory=dict)

    def add(self, key: str, first: int, step: int, count: int) -> None:
        """Take in one record."""
        index = self._index.setdefault(key, len(self.keys))
        if index == len(self.keys):
            self.keys.append(key)
        for place, number in ((self.key, index), (self.first, first), (self.step, step), (self.count, count)):
            place.append(number)

    def __len__(self) -> int:
        return len(self.key)

    def runs(self) -> Iterator[tuple[str, int, int]]:
        """(stream, first, count) of every record, in order."""
        return (
            (self.keys[key], first, count)
            for key, first, count in zip(self.key, self.first, self.count, strict=True)
        )

    def firsts(self) -> dict[str, Ints]:
        """First numbers by stream, in the order of the topic."""
        return {name: rows[0] for name, rows in self._grouped().items()}

    def by_stream(self) -> ByStream:
        """Numbers by stream."""
        return {
            name: spread(first, step, count, np.ones(len(first), np.int64))
            for name, (first, step, count) in self._grouped().items()
        }

    def _grouped(self) -> dict[str, list[Ints]]:
        keys = column(self.key)
        order = np.argsort(keys, kind="stable")
        cuts = np.searchsorted(keys[order], np.arange(1, len(self.keys)))
        parts = [np.split(column(numbers)[order], cuts) for numbers in (self.first, self.step, self.count)]
        return {name: [part[i] for part in parts] for i, name in enumerate(self.keys)}


@dataclass(slots=True)
class Topics:
    """What was found, by topic.

    `order_faults`: records of glasses.zoned that stand before one captured earlier.

    `repeated` and `late`: batches of glasses.captured that came again, or behind later ones of their stream.
    `lineage_ends`: where glasses.lineage ends, by partition.
    """

    zoned: Records = field(default_factory=Records)
    rejected: Records = field(default_factory=Records)
    refused: Records = field(default_factory=Records)
    """Of glasses.rejected what was refused further on in the pipeline, or could not be read.

    None of these is a batch of a device.
    """
    derived: dict[str, Records] = field(default_factory=dict)
    captured_count: int = 0
    order_faults: int = 0
    repeated: int = 0
    late: int = 0
    lineage_records: int = 0
    lineage_ends: dict[int, int] = field(default_factory=dict)


def read_topics(broker: str) -> Topics:
    """Read every topic of the event path to its end."""
    return asyncio.run(_read_topics(broker))


async def _read_topics(broker: str) -> Topics:
    topics = Topics()
    captured = await _read(broker, topology.CAPTURED, Records())
    topics.captured_count = len(captured)
    await _read(broker, topology.ZONED, topics.zoned)
    topics.repeated, topics.late = link_faults(captured.runs())
    topics.order_faults = order_faults(captured.runs(), topics.zoned.runs())
    await _read(broker, topology.REJECTED, topics.rejected, topics.refused)
    topics.derived = {topic: await _read(broker, topic, Records()) for topic in DERIVED}
    async with Follower(broker, topology.LINEAGE) as follower:
        topics.lineage_ends = await follower.end_offsets()
        async for records in _polled(follower, topics.lineage_ends):
            topics.lineage_records += len(records)
    return topics


async def _polled(follower: Follower, ends: dict[int, int]) -> AsyncIterator[list[Any]]:
    while any(position < ends[partition] for partition, position in (await follower.positions()).items()):
        for records in (await follower.poll(200, limits.FETCH_RECORDS_MAX)).values():
            yield records


async def _read(broker: str, topic: str, found: Records, others: Records | None = None) -> Records:
    """Read a topic into `found`; what no zones stage wrote goes to `others` where they are given."""
    async with Follower(broker, topic) as follower:
        async for records in _polled(follower, await follower.end_offsets()):
            for record in records:
                headers = dict(record.headers)
                into = found
                if others is not None and (
                    headers.get("sightline-stage") != b"zones" or "ce_id" not in headers
                ):
                    into = others
                into.records += 1
                try:
                    first, step, count = (int(number) for number in headers["sightline-run"].split())
                    into.add(headers["ce_id"].decode().rpartition("/")[0], first, step, count)
                except (KeyError, ValueError):
                    into.unreadable += 1
    return found


def link_faults(captured: Iterable[tuple[str, int, int]]) -> tuple[int, int]:
    """(repeated, late): how many batches (stream, first, count) came again, or behind later ones.

    Repeated: the first number came before. Late: it came after a higher one of its stream.
    """
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
    """Count the records of `zoned` that stand after one of their device that was captured later.

    Records are (stream, first, count). A number's place is that of the first record that held it: repeats are
    to be dropped.
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
    """By stream: where records begin or end, and the place of the first record from each number on.

    These are numbers of the stream; the place is -1 where no record is.
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
