"""What the ledger says, as it is printed in JSON: counts in events unless a name says otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict


class Accounts(TypedDict):
    """What was sent against what is stored or rejected; `rejected_by_rule` counts batches."""

    events_sent: int
    batches_sent: int
    batches_unacknowledged: int
    events_stored: int
    events_rejected: int
    batches_rejected: int
    rejected_by_rule: Mapping[str, int]
    events_missing: int
    events_other_data: int
    events_twice: int


class LostRecords(TypedDict):
    """Records that were removed before they were read, and topics that were made again."""

    records_lost: int
    topics_remade: Sequence[str]


class ZoneTruth(TypedDict):
    """How many events the scenario names a zone of, and how many of them are in another one."""

    zone_truth_checked: int
    zone_truth_mismatches: int


class ModelCounts(TypedDict):
    """A model version: how many examples it learned from, and its accuracy from 0 to 1."""

    version: int
    examples: int
    accuracy: float


class Derived(TypedDict):
    """What was made of the events; None where nothing is stored."""

    derived: int
    answers: int
    feedback: int
    examples: int
    examples_spoken: int
    kinds: Sequence[str]
    zones: Sequence[str]
    examples_refused: int
    models: Sequence[ModelCounts]
    edges: int
    orphan_parents: int
    epochs: int
    first_epoch: int | None
    first_epoch_published_ns: int | None


class Milliseconds(TypedDict):
    """Median and 99th percentile in ms; None without a measurement."""

    p50: float | None
    p99: float | None


class TopicCounts(TypedDict):
    """What stands on the topics: `batches` by topic, `begin_later` where retention has removed some."""

    batches: Mapping[str, int]
    begin_later: Sequence[str]
    out_of_order: int
    repeated: int
    late: int
    other_data: int
    forged: int
    events_missing: int
    events_twice: int


class Ledger(Accounts, LostRecords, ZoneTruth, Derived):
    """All of it: `findings` are sentences, `clean` says that there are none.

    `topics` is None where the ledger was given no broker.
    """

    sent_to_visible_ms: Milliseconds
    topics: TopicCounts | None
    findings: Sequence[str]
    clean: bool


class TableCounts(TypedDict):
    """How much of a table was compared, and how much of that differs."""

    compared: int
    differ: int


class Comparison(TypedDict):
    """Two stores compared, by table; `differences` are sentences."""

    tables: Mapping[str, TableCounts]
    differences: list[str]
    equal: bool
