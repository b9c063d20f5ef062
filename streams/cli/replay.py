"""`sightline replay`: the pipeline over journals, into a store of its own; no broker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click
import orjson

from streams import clock, settings
from streams.errors import InputError
from streams.events.record import Outgoing, Received, StoredRecord
from streams.policy.load import load
from streams.replay import Replay
from streams.snapshots.writer import Writer
from streams.topology import LINEAGE

_INGEST_RECORDS = 200


@click.command("replay")
@click.argument("journal", type=click.Path(exists=True, path_type=Path))
@click.option("--store", default=settings.STORE, show_default=True, type=click.Path(file_okay=False, path_type=Path),
              help="Directory of the store to make; must be empty or absent.")
@click.option("--policy", default=settings.POLICY, show_default=True, help="Policy name or TOML file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(journal: Path, store: Path, policy: str, as_json: bool) -> None:
    """Process what devices once sent (JOURNAL: a file or a directory of them) again, into a new store."""
    if store.exists() and any(store.iterdir()):
        raise InputError(f"{store}: found a directory that is not empty, expected a new one: a replay must not mix with another store's "
                         "rows; name another with --store")
    in_force = load(policy)
    writer = Writer.open(store)
    try:
        sink = _Sink(writer)
        fetches = asyncio.run(Replay(in_force, sink.write).run(journal))
        sink.flush()
        epoch = writer.publish(clock.now_ns())
    finally:
        writer.close()
    result = {"fetches": fetches, "records": sink.written, "epoch": epoch, "store": str(store)}
    click.echo(orjson.dumps(result).decode() if as_json else
               f"{fetches} fetches became {sink.written} records; their lineage is epoch {epoch} of {store}")


class _Sink:
    """Takes what would have gone to Kafka; lineage goes into the store, many records a transaction."""

    def __init__(self, writer: Writer) -> None:
        self.writer, self.written, self._offset = writer, 0, 0
        self._waiting: list[Received] = []

    def write(self, records: Sequence[Outgoing]) -> None:
        self.written += len(records)
        for record in records:
            if record.topic == LINEAGE:
                self._waiting.append(StoredRecord(self._offset, record.timestamp_ms, record.key, record.value, record.headers))
                self._offset += 1
        if len(self._waiting) >= _INGEST_RECORDS:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self.writer.ingest({0: self._waiting}, {0: self._offset}, clock.now_ns())
            self._waiting = []
