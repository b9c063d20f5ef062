"""Summary of the newest epoch for a status, as far as a role may see it."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from streams import limits
from streams.events.headers import rfc3339
from streams.queries.answers import Answer, ModelVersion
from streams.queries.models import told_version
from streams.queries.store import Store


class PolicyName(Struct, frozen=True):
    """A policy by its version and name."""

    version: str
    name: str


class RuleRefusals(Struct, frozen=True):
    """Refusals by one rule of a stage."""

    stage: str
    outcome: str
    rule: str
    batches: int
    events: int


class Overview(Answer, frozen=True, kw_only=True):
    """Summary of the newest epoch; `model` and `policy` are None if the role may see none."""

    epoch: int
    published: str
    published_ns: int
    offsets: Mapping[int, int]
    model: ModelVersion | None
    policy: PolicyName | None
    rejected: tuple[RuleRefusals, ...]


def overview(store: Store) -> Overview:
    """Return epoch and offsets, the newest model, the policy that tagged last, and refusals by rule.

    `offsets` are the next offsets of `glasses.lineage`, by partition.
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
