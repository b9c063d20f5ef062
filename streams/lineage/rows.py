"""Lineage rows that stages cause, with a type for each table; its fields are the table's columns, in order.

Rows of table `events` have no type: rows of a block share nearly all columns, so they are written column by
column (`streams.lineage.record`).
"""

from __future__ import annotations

from typing import Any

import orjson
from msgspec import Struct

#: Rows of any table, as they are.
Row = dict[str, Any]
Rows = dict[str, list[Row]]


class EdgeRow(Struct, frozen=True, kw_only=True):
    """Edges of one run: children of one stream, the parents of the first, and the step between parents."""

    child_source: str
    child_stream: str
    child_revision: int
    child_first: int
    child_step: int
    child_count: int
    parent_source: str
    parent_stream: str
    parent_revision: int
    parent_first: int
    parent_step: int
    parent_width: int
    operator: str
    operator_version: int
    directness: str
    declassifier: str


class DecisionRow(Struct, frozen=True, kw_only=True):
    """Decisions about one run of events at one sink; the label is hexadecimal."""

    source: str
    stream: str
    first: int
    step: int
    count: int
    t_ns: int
    sink: str
    purpose: str
    verdict: str
    passed: bool
    mode: str
    zone: str
    label: str
    rule: str
    policy_version: str
    attributes: str
    consent: int
    consent_state: str
    wearer: str
    appended_ns: int
    at_ns: int


class RejectedRow(Struct, frozen=True, kw_only=True):
    """A batch or record that was rejected, with its position; without numbers, `count` is 0."""

    source: str
    stream: str
    first: int
    count: int
    stage: str
    reason: str
    rule: str
    outcome: str
    zone: str
    policy_version: str
    topic: str
    partition: int
    offset: int
    bytes: int
    digest: str
    t_ns: int
    wearer: str
    appended_ns: int


class OpinionRow(Struct, frozen=True, kw_only=True):
    """What one feedback says of an answer that the model `version` gave; the label is hexadecimal."""

    source: str
    stream: str
    first: int
    answer_stream: str
    answer: int
    version: int
    form: str
    meaning: str
    candidate: int
    candidate_meaning: str
    zone: str
    label: str
    policy_version: str
    wearer: str
    t_ns: int


def rows_in(value: bytes | None, table: str) -> list[Row]:
    """Rows of a table in a record that the pipeline made; nothing is checked."""
    return [
        {**block["all"], **dict(zip(block["each"], row, strict=True))}
        for block in orjson.loads(value or b"")["tables"].get(table, ())
        for row in zip(*block["each"].values(), strict=True)
    ]
