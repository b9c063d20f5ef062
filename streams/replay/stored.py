"""A store with the lineage of a run of the pipeline, without a broker."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from streams import clock
from streams.events.kinds import Kinds
from streams.events.record import Outgoing, Received, StoredRecord
from streams.events.shipped import SHIPPED
from streams.snapshots.intake import decode
from streams.snapshots.writer import Writer
from streams.topology import LINEAGE

#: Bounds of one transaction of the store, whichever is reached first. A transaction costs as much as hundreds
#: of small records, but decoded rows take many times the memory of their JSON.
_INGEST_RECORDS, _INGEST_BYTES = 200, 8 * 1024 * 1024
#: Maximal number of rows that wait to be published, because publishing sorts them.
_PUBLISH_ROWS = 500_000


@contextlib.contextmanager
def stored(store: Path, kinds: Kinds = SHIPPED) -> Iterator[Sink]:
    """Open the store in a directory for writing; what was received is flushed and published by its user."""
    writer = Writer.open(store)
    try:
        yield Sink(writer, kinds)
    finally:
        writer.close()


class Sink:
    """Receives the records that would be written to Kafka; stores lineage, many records per transaction."""

    def __init__(self, writer: Writer, kinds: Kinds) -> None:
        self.writer, self._kinds = writer, kinds
        self.written = self._count = self._rows = self._bytes = 0
        self._offsets: dict[int, int] = {}
        self._waiting: dict[int, list[Received]] = {}

    def write(self, records: Sequence[Outgoing]) -> None:
        """Receive records; only those of `glasses.lineage` are kept."""
        self.written += len(records)
        for record in records:
            if record.topic == LINEAGE:
                offset = self._offsets.get(record.partition, 0)
                self._waiting.setdefault(record.partition, []).append(
                    StoredRecord(offset, record.timestamp_ms, record.key, record.value, record.headers)
                )
                self._offsets[record.partition] = offset + 1
                self._count += 1
                self._bytes += len(record.value or b"")
        if self._count >= _INGEST_RECORDS or self._bytes >= _INGEST_BYTES:
            self.flush()

    def flush(self) -> None:
        """Take in what waits; publish if that is much."""
        if self._waiting:
            poll = decode.read(self._waiting, self._kinds)
            self._rows += self.writer.take_in(poll, self._offsets, clock.monotonic_ns())
            self._waiting, self._count, self._bytes = {}, 0, 0
        if self._rows >= _PUBLISH_ROWS:
            self._rows = 0
            self.writer.publish(clock.now_ns())
