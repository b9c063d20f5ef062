"""How labels change round the loop."""

from __future__ import annotations

from typing import Any

from streams import limits
from streams.policy.label import unpack
from streams.queries.store import Store

#: What one turn of the loop goes through.
HOPS = ("model", "voice_query", "situation", "answer", "example")


def creep(store: Store) -> dict[str, Any]:
    """Return how labels change round the loop.

    These are by generation and hop the distinct labels and how many purposes they permit on average.

    Label creep is that joins only tighten: without a declassifier every generation permits less, until
    nothing is permitted.
    """
    found: dict[tuple[int, str], dict[str, int]] = {}
    for row in store.query("creep").dicts():
        if store.sight is not None and not store.sight.sees(row, "events"):
            store.sight.hide("events", row["events"])
        elif row["kind"] in HOPS:
            labels = found.setdefault((row["generation"], row["kind"]), {})
            labels[row["label"]] = labels.get(row["label"], 0) + row["events"]
    rows = []
    for (generation, kind), labels in sorted(
        found.items(), key=lambda one: (one[0][0], HOPS.index(one[0][1]))
    ):
        permitted = {
            label: int(unpack((bytes.fromhex(label),))[0]["purposes"]).bit_count() for label in labels
        }
        events = sum(labels.values())
        rows.append(
            {
                "generation": generation,
                "hop": kind,
                "events": events,
                "distinct_labels": len(labels),
                "mean_purposes": round(
                    sum(permitted[label] * count for label, count in labels.items()) / events, 2
                ),
                "fewest_purposes": min(permitted.values()),
            }
        )
    return {
        "epoch": store.epoch,
        "generations": len({generation for generation, _ in found}),
        "creep": rows[: limits.ANSWER_ROWS_MAX],
        "creep_more": max(len(rows) - limits.ANSWER_ROWS_MAX, 0),
    }
