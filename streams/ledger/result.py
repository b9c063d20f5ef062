"""Types of the ledger's result, as printed in JSON; counts are in events unless the name says otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict


class Accounts(TypedDict):
    """Comparison of sent with stored and rejected events; `rejected_by_rule` counts batches.

    `events_claimed` are the numbers that batches name which nobody could read: a claim of the sender. Those
    that a journal has are among `events_rejected` too.

    `events_expired` were stored or rejected, and left the store because their retention was over.
    """

    events_sent: int
    batches_sent: int
    batches_unacknowledged: int
    events_stored: int
    events_rejected: int
    events_claimed: int
    events_expired: int
    batches_rejected: int
    rejected_by_rule: Mapping[str, int]
    events_missing: int
    events_other_data: int
    events_twice: int


class LostRecords(TypedDict):
    """Records that were deleted before they were read, and topics that were recreated.

    `erasures` are those that the store has applied, `rows_erased` the rows that they took out of it.
    """

    records_lost: int
    topics_remade: Sequence[str]
    erasures: int
    rows_erased: int


class SealedCounts(TypedDict):
    """What is sealed: how much of it was compared.

    `events_compared` were compared by their keyed digests with what journals have, `events_by_number` by
    their numbers alone, because no key tells more. Of the records on topics, `records_opened` were opened and
    compared, `records_destroyed` have no key any more, and `records_closed` were compared by the digests that
    they name, because no key store was named.
    """

    events_compared: int
    events_by_number: int
    records_opened: int
    records_destroyed: int
    records_closed: int


class ZoneTruth(TypedDict):
    """Number of events whose true zone is known, and of those that are in another zone."""

    zone_truth_checked: int
    zone_truth_mismatches: int


class ModelCounts(TypedDict):
    """A model version, the number of examples that it learned from, and its accuracy from 0 to 1."""

    version: int
    examples: int
    accuracy: float


class Derived(TypedDict):
    """Counts of derived events; fields are None if nothing is stored."""

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
    """Content of the topics: `batches` by topic; from those in `begin_later` retention deleted records."""

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
    """The complete result: `findings` are sentences, and `clean` is true if there are none.

    `topics` is None if the ledger ran without a broker.
    """

    sent_to_visible_ms: Milliseconds
    sealed: SealedCounts
    topics: TopicCounts | None
    findings: Sequence[str]
    clean: bool


class TableCounts(TypedDict):
    """How much of a table was compared, and how much of it differs."""

    compared: int
    differ: int


class Comparison(TypedDict):
    """Comparison of two stores by table; `differences` are sentences.

    `events_expired` are events of the replay whose retention is over in the live store: they, and what names
    them, are not compared.
    """

    tables: Mapping[str, TableCounts]
    differences: list[str]
    events_expired: int
    equal: bool
