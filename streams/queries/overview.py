"""How the newest epoch stands, as far as a role is shown it: for a status."""

from __future__ import annotations

from streams import limits
from streams.events.headers import rfc3339
from streams.queries.answers import ModelVersion, Overview, PolicyName, RuleRefusals
from streams.queries.models import told_version
from streams.queries.store import Store


def overview(store: Store) -> Overview:
    """Return epoch and offsets, the newest model, the policy that tagged last, and what was refused by rule.

    `published_ns` is when the epoch was published; `offsets` of `glasses.lineage` are those of the next
    records.
    """
    models = store.sift([row for rows in store.models.values() for row in rows.values()], "models")
    last = max(models, key=lambda row: (row.trained_ns, row.version), default=None)
    policies = store.shown("newest_policy").of(PolicyName)
    refused = store.shown("rejected_rules").rows
    return Overview(
        epoch=store.epoch,
        published=rfc3339(store.newest.published_ns),
        published_ns=store.newest.published_ns,
        offsets=dict(store.newest.offsets),
        model=None if last is None else told_version(ModelVersion, last),
        policy=policies[0] if policies else None,
        rejected=tuple(RuleRefusals(*row) for row in refused[: limits.ANSWER_ROWS_MAX]),
    )
