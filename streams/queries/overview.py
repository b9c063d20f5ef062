"""How the newest epoch stands, as far as a role is shown it: for a status."""

from __future__ import annotations

from streams import limits
from streams.events.headers import rfc3339
from streams.queries.about import Answer, version_row
from streams.queries.store import Store


def overview(store: Store) -> Answer:
    """Return epoch and offsets, the newest model, the policy that tagged last, and what was refused by rule.

    `published_ns` is when the epoch was published; `offsets` of `glasses.lineage` are those of the next
    records; `model` and `policy` are None where there is none that the role is shown.
    """
    newest = store.query("newest_epoch").dicts()[0]
    models = store.sift([row for rows in store.models.values() for row in rows.values()], "models")
    last = max(models, key=lambda row: (row["trained_ns"], row["version"]), default=None)
    policies = store.shown("newest_policy").dicts()
    refused = store.shown("rejected_rules").dicts()
    return {
        "epoch": store.epoch,
        "published": rfc3339(newest["published_ns"]),
        "published_ns": newest["published_ns"],
        "offsets": dict(newest["offsets"]),
        "model": None if last is None else version_row(last),
        "policy": policies[0] if policies else None,
        "rejected": [
            {"rule" if name == "said_by" else name: value for name, value in row.items()}
            for row in refused[: limits.ANSWER_ROWS_MAX]
        ],
    }
