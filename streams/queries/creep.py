"""The question whether labels tighten round the loop until nothing is permitted."""

from __future__ import annotations

from streams.policy.label import unpack
from streams.queries.about import Answer, bounded
from streams.queries.store import Store

#: Kinds of event round the loop, in its order.
HOPS = ("model", "voice_query", "situation", "answer", "example")


def creep(store: Store) -> Answer:
    """Return how labels change round the loop.

    By generation and hop the distinct labels and how many purposes they permit on average.

    Label creep is that joins only tighten: without a declassifier every generation permits less, until
    nothing is permitted.
    """
    found: dict[tuple[int, str], dict[str, int]] = {}
    for row in store.shown("creep").dicts():
        if row["kind"] in HOPS:
            if store.sight is not None:
                store.sight.note(row["policy_version"], row["zone"])
            labels = found.setdefault((row["generation"], row["kind"]), {})
            labels[row["label"]] = labels.get(row["label"], 0) + row["events"]
    rows = []
    for (generation, kind), labels in sorted(
        found.items(), key=lambda one: (one[0][0], HOPS.index(one[0][1]))
    ):
        permitted = {label: unpack(bytes.fromhex(label))["purposes"].bit_count() for label in labels}
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
        **bounded("creep", rows),
    }
