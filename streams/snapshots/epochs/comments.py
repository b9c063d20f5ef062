"""Descriptions of all views and columns of the catalog; readers see them as COMMENT in the catalog itself.

They are part of the catalog's template, so an epoch does not have to write them. The views of the schema
`files` are created for each epoch and not meant for readers, so they have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from streams.quoting import quoted
from streams.snapshots.epochs.column_comments import COLUMNS, SPECIAL

#: One text per view or table.
VIEWS: Mapping[str, str] = {
    "streams": "One row a stream: a sequence of events of one source.",
    "events": (
        "Runs of events, one row a batch: where they came from, their zone and label, and where they lie."
    ),
    "edges": (
        "Lineage in runs: child child_first + i * child_step is made of parent_width numbers from "
        "parent_first + i * parent_step on, for i from 0 to child_count - 1."
    ),
    "decisions": "Verdicts of the policy about runs of events, one row a run and sink.",
    "shadow": (
        "Decisions that the policy which may come next would make otherwise, "
        "and only those: one row a run and sink."
    ),
    "rejected": (
        "Batches and records that left by glasses.rejected, and repeats that were dropped, with the reason."
    ),
    "models": "Model versions of glasses.models.",
    "training_runs": "What went into each training run, and what its gate refused.",
    "promotions": "Which model versions were promoted or declined, and the comparison that decided it.",
    "training_checks": "What training runs looked at in their examples, and what was held for it.",
    "training_assets": "What each training run was made from as a whole, and which rule forbade it.",
    "feedback": "What people said of answers: one row for each feedback about an answer still known.",
    "inputs": "Recorded inputs: what entered by wall-clock chance and changed results.",
    "policies": "Policies that were in force, whole.",
    "epochs": "Published, immutable states of this store.",
    "epoch_rows": "The newest epochs: what the view epochs is made of, besides files.",
    "zone_runs": (
        "Which numbers of a stream are of one policy version, zone, label, wearer and consent. Not every "
        "number need be an event; where runs differ about one it is of one of them."
    ),
    "expired": (
        "Numbers whose retention is over and of which the store has nothing any more, so none is missing: "
        "one row a run. Of a captured stream every number in it was an event, or was refused."
    ),
    "overdue": (
        "Numbers whose retention is over, which no other view shows, and which leave the files of the store "
        "when the broker's day has ended: one row a run."
    ),
    "over_classes": "Up to which append time what is of a class is over at the moment: one row a class.",
    "keeping": "How long rows of a class are kept, and what of it is over: one row a class.",
    "segments": "Parquet files of the newest epoch, one table each.",
    "indexes": "Files that questions are answered from, beside the segments; not for SQL.",
    "spans": "Which numbers of which stream lie in a fresh file: one row a file, role and stream.",
    "classes": "Policy version, zone and label under one number, as segments name them.",
    "erasures": (
        "Erasures of wearers' data that this store has applied: one row each, under the number that its key "
        "store gave it."
    ),
    "store": "The store itself: one row.",
    "labels": (
        "Labels of events and decisions in words: one row a policy version and label, to be joined by both."
    ),
    "vocabularies": "The words of each policy, in the order of their bits in a label: one row a version.",
    "io_coverage": (
        "Operations that move data of events in or out of a process, as the code declares them, and whether "
        "the link from what is written to what was read is recorded: one row an operation."
    ),
    "io_counts": "How much was recorded of the operations in io_coverage: one row a table, key and epoch.",
    "event_records": "Events one by one: the runs of `events` expanded.",
    "edge_records": "Lineage one by one: each pair of child and parent once; the runs of `edges` expanded.",
}


def statements(views: Iterable[tuple[str, str]], columns: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield a COMMENT statement for each of `views` (name, VIEW or TABLE) and `columns` (view, column).

    KeyError names a view or column without a text.
    """
    for name, comment in views:
        yield f"COMMENT ON {comment} {name} IS {quoted(VIEWS[name])}"
    for view, column in columns:
        text = SPECIAL.get(f"{view}.{column}") or COLUMNS[column]
        yield f'COMMENT ON COLUMN {view}."{column}" IS {quoted(text)}'
