"""Records that were deleted before they were read, from the recorded inputs about accepted losses."""

from __future__ import annotations

from streams.ledger.result import LostRecords
from streams.ledger.sources import StoreReader

_LOST = (
    "SELECT topic, \"partition\", split_part(value, '-', 1)::BIGINT, "
    "nullif(split_part(value, '-', 2), '')::BIGINT FROM inputs WHERE kind = 'lost-records' ORDER BY ALL"
)


def lost(store: StoreReader, findings: list[str]) -> LostRecords:
    """Count lost records and report them as a finding. `topics_remade` are the topics that were recreated."""
    rows = store.rows(_LOST)
    known = [(topic, partition, first, last) for topic, partition, first, last in rows if last is not None]
    remade = [(topic, partition, first) for topic, partition, first, last in rows if last is None]
    records = sum(last - first + 1 for _, _, first, last in known)
    if known:
        places = ", ".join(
            f"{topic} partition {partition} offsets {first}-{last}" for topic, partition, first, last in known
        )
        findings.append(f"{records:,} records were removed before they were read: {places}")
    if remade:
        places = ", ".join(
            f"{topic} partition {partition} from {first}" for topic, partition, first in remade
        )
        findings.append(f"a topic was made again, and nobody knows what it held by then: {places}")
    applied = store.of_each("erasures", "number, rows")
    return {
        "records_lost": records,
        "topics_remade": sorted({topic for topic, *_ in remade}),
        "erasures": len({number for number, _ in applied}),
        "rows_erased": sum(rows for _, rows in applied),
    }
