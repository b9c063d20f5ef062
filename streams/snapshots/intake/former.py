"""Read records of `glasses.lineage` of version 1, which older workers wrote.

After an upgrade they stay on the topic until retention deletes them, and workers that are not upgraded yet
still write them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streams.policy.step import RejectOutcome

VERSION = 1
#: Outcome of a rejection by its rule; for all other rules it is OUTCOME.
OUTCOMES: Mapping[str, RejectOutcome] = {
    "repeat": "repeated",
    "collision": "collision",
    "clock": "clock",
    "too-late": "late",
    "malformed": "malformed",
    "poisoned": "malformed",
}
OUTCOME: RejectOutcome = "refused"
#: Columns that version 1 did not have, with their values.
_ADDED: Mapping[str, Mapping[str, Any]] = {
    "events": {"revision": 0, "consent": 0},
    "edges": {"child_revision": 0, "parent_revision": 0},
}


def filled(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Tables of a record of version 1, with the current columns.

    A value that is no list of blocks, or no block, is left unchanged, because the next check refuses it.
    """
    return {
        table: [_block(table, block) for block in blocks] if type(blocks) is list else blocks
        for table, blocks in tables.items()
    }


def _block(table: str, block: Any) -> Any:
    shared, each = (block.get("all"), block.get("each")) if type(block) is dict else (None, None)
    if type(shared) is not dict or type(each) is not dict:
        return block
    if table != "rejected":
        return {"all": {**_ADDED.get(table, {}), **shared}, "each": each}
    if type(rules := each.get("rule")) is list:
        return {"all": shared, "each": {"outcome": [_outcome(rule) for rule in rules], **each}}
    return {"all": {"outcome": _outcome(shared.get("rule")), **shared}, "each": each}


def _outcome(rule: Any) -> RejectOutcome:
    return OUTCOMES.get(rule, OUTCOME) if isinstance(rule, str) else OUTCOME
