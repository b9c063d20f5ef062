"""The load that the store's writer is measured with is lineage that it takes in whole."""

from __future__ import annotations

from pathlib import Path

from bench import ingest
from streams.snapshots.writer import Writer


def test_copies_of_a_scenario_are_taken_in_whole(tmp_path: Path) -> None:
    records = [*ingest.renamed(ingest.lineage(tmp_path, 20), 2)]
    writer = Writer.open(tmp_path / "store")
    taken = sum(writer.ingest({0: some}, {}, 0) for some in ingest.polls(iter(records)))
    # Of what is left out a row of `rejected` would say so.
    assert taken == ingest.rows_of(records) > 3000
    writer.close()
