"""Records that nobody read before retention removed them, or their topic was made again."""

from __future__ import annotations

from streams.events.headers import rfc3339
from streams.queries.about import Answer, bounded
from streams.queries.role import SHOWN_TO, band
from streams.queries.store import Store


def lost(store: Store) -> Answer:
    """Return how many records are lost, and which; empty where none are.

    They are the runs that operators have accepted (`sightline worker --accept-loss`). How many records a
    topic held that was made again nobody can say: such a run has no `last`. A role that is not shown the
    recorded inputs is told how many by order of magnitude.
    """
    rows = store.query("lost").dicts()
    if not rows:
        return {}
    records = sum(row["last"] - row["first"] + 1 for row in rows if row["last"] is not None)
    if store.sight is not None and store.sight.role.name not in SHOWN_TO["inputs"]:
        return {"lost_records": band(records) if records else "unknown"}
    for row in rows:
        row["since"] = rfc3339(row["t_ns"]) if row["t_ns"] else ""
        del row["t_ns"]
    return {"lost_records": records, **bounded("lost", rows)}
