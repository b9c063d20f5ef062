"""Whether an agent of Sightline wrote a record; for the directory of the store, with duckdb and xxhash."""

import duckdb
import xxhash


def ours(ce_id: str, value: bytes) -> tuple[str, str, int] | None:
    """Zone, sightline-label and partition of the record that an agent wrote; None where none did."""
    store = duckdb.connect()
    store.execute("ATTACH 'catalog.duckdb' AS lineage (READ_ONLY); USE lineage; SET file_search_path = '.'")
    return store.execute(
        "SELECT zone, policy_version || ':' || label, \"partition\" FROM events"
        " WHERE source || '/' || stream || '/' || \"first\" || if(revision > 0, '.' || revision, '') = ?"
        " AND digest = ?",
        (ce_id, xxhash.xxh3_128_hexdigest(value)),
    ).fetchone()
