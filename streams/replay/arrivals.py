"""The records of `glasses.captured` by partition and in order, from journals or from Kafka.

Values are not kept in memory: journals are read twice, first for the positions of the batches (from the
acknowledgements) and then batch by batch.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import orjson
import xxhash
from numpy.typing import NDArray

from streams.errors import InputError
from streams.events import journal
from streams.events.record import Headers, Received, StoredRecord
from streams.kafka.reader import Follower, end_offsets, read_all
from streams.sealing.keys import Keys
from streams.sealing.sealed import is_sealed
from streams.settings.kafka import Broker
from streams.topology import CAPTURED, EXAMPLES

READ_RECORDS_MAX = 1000
_POLL_MS = 500
Appended = Mapping[int, tuple[NDArray[np.int64], NDArray[np.int64]]]


class Arrivals(Protocol):
    """Source of the records of a replay."""

    @property
    def partitions(self) -> Sequence[int]:
        """Partitions that have records."""

    async def read(self, partition: int) -> Sequence[Received]:
        """Return the next records of a partition, at most READ_RECORDS_MAX, in order of offsets.

        Empty at its end.
        """

    async def examples(self, begin: int, end: int | None) -> Sequence[Received]:
        """Records of `glasses.examples` from offset `begin` up to `end` (exclusive); empty if unknown."""


@dataclass(frozen=True, slots=True)
class _Places:
    """Positions of the batches of one partition, in order of offsets.

    For each: number of the file, first byte of the line, and append time of that copy.
    """

    offsets: NDArray[np.int64]
    files: NDArray[np.int64]
    lines: NDArray[np.int64]
    appended_ns: NDArray[np.int64]


class JournalArrivals:
    """Batches of journals at the offsets of their acknowledgements, including each copy of a repeated one.

    Batches without an acknowledgement (`unplaced` counts them) are left out, although Kafka may have them. If
    a broker failed during the recording, read from Kafka instead.

    Parameters
    ----------
    path
        A journal, or a directory of them.
    appended
        Offsets and append times that a store recorded, by partition; for other offsets the append time of the
        acknowledgement is used.

    Raises
    ------
    InputError
        There is no journal, one cannot be read, or the offsets are from several Kafka clusters.
    """

    def __init__(self, path: Path, appended: Appended | None = None) -> None:
        self._files, self._appended = journal.files(path), appended or {}
        self.unplaced = 0
        scanned = [self._scan(number, file) for number, file in enumerate(self._files)]
        partitions, offsets, files, lines, appended_ns = (
            np.concatenate(columns) for columns in zip(*scanned, strict=True)
        )
        self._places = {
            int(partition): self._ordered(
                int(partition), _Places(offsets[here], files[here], lines[here], appended_ns[here])
            )
            for partition in np.unique(partitions)
            for here in [partitions == partition]
        }
        self._read = dict.fromkeys(self._places, 0)

    @property
    def partitions(self) -> Sequence[int]:
        """Partitions with an acknowledged batch."""
        return sorted(self._places)

    async def read(self, partition: int) -> Sequence[Received]:
        """Read the next batches of a partition from the journals' lines."""
        places, begin = self._places[partition], self._read[partition]
        here = slice(begin, begin + READ_RECORDS_MAX)
        self._read[partition] = begin + READ_RECORDS_MAX
        offsets, files, lines = places.offsets[here], places.files[here], places.lines[here]
        records: dict[int, Received] = {}
        for number in np.unique(files):
            with self._files[number].open("rb") as file:
                for at in np.flatnonzero(files == number):
                    file.seek(int(lines[at]))
                    records[int(at)] = _record(
                        int(offsets[at]), int(places.appended_ns[begin + at]), orjson.loads(file.readline())
                    )
        return [records[at] for at in range(len(offsets))]

    async def examples(self, begin: int, end: int | None) -> Sequence[Received]:
        """Nothing: a journal has no records of that topic."""
        del begin, end
        return ()

    def _scan(self, number: int, path: Path) -> tuple[NDArray[np.int64], ...]:
        """(partition, offset, file, line, append time) of every acknowledged copy in one file."""
        ids, places = array("q"), array("q")
        acked, where = array("q"), array("q")
        for place, fields in journal.lines_by_place(path):
            if fields["line"] == "sent":
                ids.append(_signed(fields["id"].encode()))
                places.append(place)
            elif fields["line"] == "ack":
                acked.append(_signed(fields["id"].encode()))
                appended_ns = fields.get("appended_ns", fields["acked_ns"])
                where.extend((fields["partition"], fields["offset"], appended_ns))
        known, lines = np.array(ids, np.int64), np.array(places, np.int64)
        order = np.argsort(known, kind="stable")
        known, lines, wanted = known[order], lines[order], np.array(acked, np.int64)
        # If a number was used twice the later line counts, because the earlier batch was never sent.
        at = np.searchsorted(known, wanted, "right") - 1
        if wanted.size and (not known.size or (known[np.maximum(at, 0)] != wanted).any()):
            raise InputError(
                f"{path}: found an acknowledgement of a batch that the file does not have, expected every "
                "batch in front of its acknowledgement; is the journal whole?"
            )
        self.unplaced += int(np.setdiff1d(known, wanted).size)
        partitions, offsets, appended = np.array(where, np.int64).reshape(-1, 3).T
        return partitions, offsets, np.full(wanted.size, number), lines[at], appended

    def _ordered(self, partition: int, places: _Places) -> _Places:
        offsets = places.offsets
        order = np.argsort(offsets, kind="stable")
        twice = offsets[order][1:][np.diff(offsets[order]) == 0]
        if twice.size:
            raise InputError(
                f"Partition {partition}, offset {int(twice[0])}: found two batches at this place, expected "
                "one; these journals were played into files or into several brokers, so they have no common "
                "order. Replay them without --inputs, or each with its own store."
            )
        appended_ns = places.appended_ns[order]
        if partition in self._appended:
            known, times = self._appended[partition]
            at = np.minimum(np.searchsorted(known, offsets[order]), known.size - 1)
            appended_ns = np.where(known[at] == offsets[order], times[at], appended_ns)
        return _Places(offsets[order], places.files[order], places.lines[order], appended_ns)


class BrokerArrivals:
    """The records of `glasses.captured` that are on a broker now, whoever sent them; use it in `async with`.

    `foreign` counts records that were read and that no journal has in exactly this form. `keys` open what is
    sealed.

    Raises
    ------
    InputError
        There is no journal, the log no longer begins at offset 0, or something is sealed and `keys` is None.
    UnavailableError
        The broker or a topic is absent.
    """

    def __init__(self, path: Path, broker: Broker, keys: Keys | None = None) -> None:
        self._broker, self._keys = broker, keys
        self._known = np.unique(np.fromiter(_fingerprints(path), np.uint64))
        self._ends: dict[int, int] = {}
        self._followers: dict[int, Follower] = {}
        self._stack = AsyncExitStack()
        self._examples: list[Received] | None = None
        self.foreign = 0

    async def __aenter__(self) -> BrokerArrivals:
        ends = await end_offsets(self._broker, [CAPTURED])
        self._ends = {partition: end for (_, partition), end in ends.items() if end}
        for partition in self._ends:
            follower = Follower(self._broker, CAPTURED, {partition: 0}, partitions=[partition])
            self._followers[partition] = await self._stack.enter_async_context(follower)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def partitions(self) -> Sequence[int]:
        """Partitions that are not empty."""
        return sorted(self._ends)

    async def read(self, partition: int) -> Sequence[Received]:
        """Read the next records of a partition, up to its end at the start of the replay."""
        follower, end = self._followers[partition], self._ends[partition]
        while (await follower.positions())[partition] < end:
            polled = (await follower.poll(_POLL_MS, READ_RECORDS_MAX)).get(partition, [])
            records = [record for record in polled if record.offset < end]
            if records:
                prints = np.array(
                    [_fingerprint(record.key, record.value, record.headers) for record in records], np.uint64
                )
                self.foreign += len(prints) - int(self._knows(prints).sum())
                return records
        return ()

    def _knows(self, prints: NDArray[np.uint64]) -> NDArray[np.bool_]:
        if not self._known.size:
            return np.zeros(prints.size, np.bool_)
        at = np.minimum(np.searchsorted(self._known, prints), self._known.size - 1)
        known: NDArray[np.bool_] = self._known[at] == prints
        return known

    async def examples(self, begin: int, end: int | None) -> Sequence[Received]:
        """Committed records of `glasses.examples`; the topic is read completely on the first call."""
        if self._examples is None:
            examples = await read_all(self._broker, EXAMPLES, 0)
            if self._keys is None and any(is_sealed(record.headers) for record in examples):
                raise InputError(
                    f"{EXAMPLES} on {self._broker}: found sealed records, expected a key store to open them; "
                    "name it with --keys"
                )
            self._examples = examples if self._keys is None else await self._keys.opened(EXAMPLES, examples)
        return [
            record
            for record in self._examples
            if begin <= record.offset and (end is None or record.offset < end)
        ]


def _record(offset: int, appended_ns: int, fields: Mapping[str, Any]) -> StoredRecord:
    headers = tuple((name, value.encode()) for name, value in fields["headers"].items())
    return StoredRecord(
        offset, appended_ns // 1_000_000, fields["key"].encode(), journal.value_of(fields), headers
    )


def _fingerprints(path: Path) -> Iterator[int]:
    for file in journal.files(path):
        for sent in journal.sent(file):
            yield _fingerprint(sent.key, sent.value, sent.headers)


def _fingerprint(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    parts = [
        key or b"",
        value or b"",
        *(part for name, content in headers for part in (name.encode(), content or b"")),
    ]
    return int(xxhash.xxh3_64_intdigest(b"".join(len(part).to_bytes(4, "little") + part for part in parts)))


def _signed(text: bytes) -> int:
    return int(xxhash.xxh3_64_intdigest(text)) - 2**63
