"""What the ledger compares: the devices' journals, the topics, and the published store, each read in its own way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import orjson

from streams import limits, topology
from streams.errors import InputError, UnavailableError
from streams.kafka.reader import Follower
from streams.ledger.runs import NONE, ByStream, Intervals, Ints, intervals, spread


@dataclass(slots=True)
class Batch:
    """One batch as a journal knows it. `acked` if any of its sends was; `sent_ns` (since the epoch) is then the first of those."""

    key: str
    first: int
    count: int
    sent_ns: int
    acked: bool = False


@dataclass(slots=True)
class Journal:
    """All journals of a directory: batches by id (the latest send counts), sent numbers, true zones."""

    batches: dict[str, Batch] = field(default_factory=dict)
    sent: dict[str, Intervals] = field(default_factory=dict)
    truth: dict[str, dict[str, Intervals]] = field(default_factory=dict)
    """Zone, then stream, to numbers."""


@dataclass(slots=True)
class Topics:
    """What lies on the topics, read committed. `order_faults`: records of glasses.zoned that stand before one captured earlier.

    `repeated` and `late`: batches of glasses.captured that came again, or behind later ones of their stream.
    """

    zoned: dict[str, Intervals] = field(default_factory=dict)
    rejected: dict[str, Intervals] = field(default_factory=dict)
    order_checked: int = 0
    order_faults: int = 0
    repeated: int = 0
    late: int = 0
    unreadable: int = 0


def read_journal(path: Path) -> Journal:
    """Read a journal file, or all in a directory; InputError when there is none or a line is no JSON.

    A line that a crash cut off is left out: its batch was not sent.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.jsonl"))
    if not files:
        raise InputError(f"{path}: found no journal (*.jsonl); name the directory that device-sim --journal wrote to")
    journal, truths = Journal(), dict[tuple[str, str], list[tuple[int, int]]]()
    for file in files:
        _read_file(file, journal, truths)
    sent: dict[str, list[tuple[int, int]]] = {}
    for batch in journal.batches.values():
        sent.setdefault(batch.key, []).append((batch.first, batch.count))
    journal.sent = {key: intervals(*zip(*runs, strict=True)) for key, runs in sent.items()}
    for (zone, key), runs in truths.items():
        journal.truth.setdefault(zone, {})[key] = intervals(*zip(*runs, strict=True))
    return journal


def _read_file(file: Path, journal: Journal, truths: dict[tuple[str, str], list[tuple[int, int]]]) -> None:
    with file.open("rb") as text:
        for number, line in enumerate(text, 1):
            try:
                fields = orjson.loads(line)
            except orjson.JSONDecodeError:
                if not line.endswith(b"\n"):
                    return
                raise InputError(f"{file}, line {number}: found text that is not JSON; is this a device's journal?") from None
            if fields["line"] == "sent":
                key = str(fields["id"]).rpartition("/")[0]
                former = journal.batches.get(fields["id"])
                journal.batches[fields["id"]] = Batch(key, fields["first"], fields["n"], fields["sent_ns"], former.acked
                                                      if former else False)
            elif fields["line"] == "ack" and fields["id"] in journal.batches:
                batch = journal.batches[fields["id"]]
                batch.sent_ns = min(batch.sent_ns, fields["sent_ns"]) if batch.acked else fields["sent_ns"]
                batch.acked = True
            elif fields["line"] == "truth":
                truths.setdefault((fields["zone"], f"{fields['source']}/{fields['stream']}"), []).append((fields["first"], fields["n"]))


def read_topics(broker: str) -> Topics:
    """Read glasses.captured, .zoned and .rejected to their ends; only headers are kept."""
    return asyncio.run(_read_topics(broker))


async def _read_topics(broker: str) -> Topics:
    topics = Topics()
    captured = [run async for run in _runs(broker, topology.CAPTURED, topics)]
    zoned = [run async for run in _runs(broker, topology.ZONED, topics)]
    rejected = [run async for run in _runs(broker, topology.REJECTED, topics)]
    topics.zoned, topics.rejected = _by_stream(zoned), _by_stream(rejected)
    topics.repeated, topics.late = link_faults([run[1:] for run in captured])
    topics.order_checked = len(zoned)
    topics.order_faults = order_faults([run[1:] for run in captured], [run[1:] for run in zoned])
    return topics


async def _runs(broker: str, topic: str, topics: Topics) -> AsyncIterator[tuple[int, str, int, int]]:
    """(partition, stream, first, count) of every record that names its events, in order within a partition."""
    async with Follower(broker, topic) as follower:
        end = await follower.end_offsets()
        while any(position < end[partition] for partition, position in (await follower.positions()).items()):
            for partition, records in (await follower.poll(200, limits.FETCH_RECORDS_MAX)).items():
                for record in records:
                    headers = dict(record.headers)
                    # What was refused further on in the pipeline, or could not be read, is no batch of a device.
                    if topic == topology.REJECTED and (headers.get("sightline-stage") != b"zones" or "ce_id" not in headers):
                        continue
                    try:
                        key = headers["ce_id"].decode().rpartition("/")[0]
                        first, _, count = (int(number) for number in headers["sightline-run"].split())
                    except (KeyError, ValueError):
                        topics.unreadable += topic == topology.ZONED
                        continue
                    yield partition, key, first, count


def _by_stream(runs: Sequence[tuple[int, str, int, int]]) -> dict[str, Intervals]:
    grouped: dict[str, list[tuple[int, int]]] = {}
    for _, key, first, count in runs:
        grouped.setdefault(key, []).append((first, count))
    return {key: intervals(*zip(*some, strict=True)) for key, some in grouped.items()}


def link_faults(captured: Sequence[tuple[str, int, int]]) -> tuple[int, int]:
    """(repeated, late): batches (stream, first, count) whose first number came before, or after a higher one of its stream."""
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


def order_faults(captured: Sequence[tuple[str, int, int]], zoned: Sequence[tuple[str, int, int]]) -> int:
    """Count the records of `zoned` (stream, first, count) that stand after one of their device that was captured later.

    A number's place is that of the first record that held it: repeats are to be dropped.
    """
    places: dict[str, tuple[Ints, Ints]] = {}
    grouped: dict[str, list[tuple[int, int, int]]] = {}
    for place, (key, first, count) in enumerate(captured):
        grouped.setdefault(key, []).append((first, first + count, place))
    for key, runs in grouped.items():
        bounds = np.unique(np.array([run[:2] for run in runs], np.int64))
        place_of = np.full(bounds.size, -1, np.int64)
        for low, high, place in reversed(runs):
            place_of[np.searchsorted(bounds, low):np.searchsorted(bounds, high)] = place
        places[key] = bounds, place_of
    faults = 0
    reached: dict[str, tuple[int, int]] = {}
    for key, first, _ in zoned:
        if key not in places:
            continue
        bounds, place_of = places[key]
        index = int(np.searchsorted(bounds, first, "right")) - 1
        place = int(place_of[index]) if index >= 0 else -1
        source = key.partition("/")[0]
        faults += place >= 0 and (place, first) < reached.get(source, (-1, -1))
        reached[source] = max(reached.get(source, (-1, -1)), (place, first))
    return faults


class StoreReader:
    """The published store, opened as the README says: ATTACH, USE, SET file_search_path."""

    def __init__(self, directory: Path) -> None:
        directory = directory.resolve()
        catalog = (directory / "catalog.duckdb").resolve()
        if not catalog.exists():
            raise UnavailableError(f"{directory}: no epoch has been published; run `sightline snapshots` first")
        self._connection = duckdb.connect()
        quoted = str(catalog).replace("'", "''"), str(directory).replace("'", "''")
        self._connection.execute(f"ATTACH '{quoted[0]}' AS store (READ_ONLY)")
        self._connection.execute("USE store")
        self._connection.execute(f"SET file_search_path = '{quoted[1]}'")

    def close(self) -> None:
        """Let go of the store."""
        self._connection.close()

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """All rows of a statement."""
        return self._connection.execute(statement).fetchall()

    def one(self, statement: str) -> Any:
        """First column of the first row."""
        return self.rows(statement)[0][0]

    def columns(self, statement: str) -> dict[str, Any]:
        """All rows of a statement as numpy columns; of one without NULL."""
        return {name: np.asarray(column) for name, column in self._connection.execute(statement).fetchnumpy().items()}

    def grouped(self, statement: str) -> dict[str, list[Ints]]:
        """Number columns by the text in the first column, in the statement's order within each."""
        result = self._connection.execute(statement).fetchnumpy()
        columns = [np.asarray(column) for column in result.values()]
        keys, inverse = np.unique(columns[0].astype(str), return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        cuts = np.searchsorted(inverse[order], np.arange(1, len(keys)))
        parts = [np.split(column[order].astype(np.int64), cuts) for column in columns[1:]]
        return {str(key): [part[i] for part in parts] for i, key in enumerate(keys)}

    def spread(self, statement: str) -> ByStream:
        """Intervals by stream of a statement that returns key, first, step, count, width."""
        return {key: spread(*columns) for key, columns in self.grouped(statement).items()} or {"": NONE}
