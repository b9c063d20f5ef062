"""Which columns of each table of lineage a replay must repeat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streams import topology


@dataclass(frozen=True, slots=True)
class Rows:
    """A table that is compared row by row.

    `key` identifies a row, `columns` are compared, and `events` is the number of events of a row.
    """

    key: tuple[str, ...]
    columns: tuple[str, ...]
    events: str = "1"
    where: str = "true"


@dataclass(frozen=True, slots=True)
class Runs:
    """A table that is compared event by event: columns that identify a run, and its numbers for `Spans`."""

    key: tuple[str, ...]
    numbers: tuple[str, ...]


#: Leaves out rejections of malformed records of lineage and policies, which a replay does not read.
NOT_OURS = f"topic NOT IN ('{topology.LINEAGE}', '{topology.POLICIES}')"
NO_CANDIDATES = f"{NOT_OURS} AND NOT (topic = '{topology.EXAMPLES}' AND rule = 'malformed')"
TAKEN = "kind NOT LIKE 'lost-%'"
ROWS: Mapping[str, Rows] = {
    "events": Rows(
        ("source", "stream", "first"),
        (
            "revision",
            "step",
            "count",
            "kind",
            "zone",
            "label",
            "rule",
            "policy_version",
            "wearer",
            "consent",
            "session",
            "t_first_ns",
            "t_last_ns",
            "appended_ns",
            "bytes",
            "digest",
            "split_from",
            "origin",
        ),
        '"count"',
    ),
    "rejected": Rows(
        ("source", "stream", "first", "stage"),
        (
            "count",
            "reason",
            "rule",
            "outcome",
            "zone",
            "policy_version",
            "topic",
            "bytes",
            "digest",
            "t_ns",
            "wearer",
            "appended_ns",
        ),
        where=NOT_OURS,
    ),
    "models": Rows(
        ("source", "stream", "version"),
        (
            "digest",
            "zone",
            "label",
            "policy_version",
            "examples",
            "wearers",
            "accuracy",
            "trained_ns",
            "retrain_by_ns",
            "bytes",
        ),
    ),
    "training_runs": Rows(
        ("version",),
        (
            "policy_version",
            "seed_examples",
            "admitted",
            "refused",
            "manifest_digest",
            "evaluation_examples",
            "accuracy",
            "trigger",
            "t_ns",
        ),
    ),
    "promotions": Rows(
        ("version", "outcome", "t_ns"),
        (
            "against",
            "reason",
            "split_seed",
            "kept_validation",
            "kept_test",
            "compared",
            "validation_digest",
            "better",
            "worse",
            "p_value",
        ),
    ),
    "training_checks": Rows(
        ("version", "name", "subject", "t_ns"), ("outcome", "examples", "judged", "percent_max")
    ),
    # The build is that of the program that ran, not of what is replayed.
    "training_assets": Rows(
        ("version", "outcome", "kind", "name", "t_ns"),
        ("licence", "digest", "examples", "rule"),
        where="kind <> 'build'",
    ),
    "feedback": Rows(
        ("source", "stream", "first"),
        (
            "answer_stream",
            "answer",
            "version",
            "form",
            "meaning",
            "candidate",
            "candidate_meaning",
            "zone",
            "label",
            "policy_version",
            "wearer",
            "t_ns",
        ),
    ),
    "streams": Rows(("source", "stream"), ("kind", "captured")),
    "policies": Rows(("version",), ("name", "text", "published_ns"), where="published_ns > 0"),
    "inputs": Rows(("kind", "agent", "topic", "partition", "offset"), ("value", "t_ns"), where=TAKEN),
}
RUNS: Mapping[str, Runs] = {
    "edges": Runs(
        (
            "child_source",
            "child_stream",
            "child_revision",
            "parent_source",
            "parent_stream",
            "parent_revision",
            "operator",
            "operator_version",
            "directness",
            "declassifier",
        ),
        ("child_first", "child_step", "child_count", "parent_first", "parent_step", "parent_width"),
    ),
    "decisions": Runs(
        (
            "source",
            "stream",
            "sink",
            "purpose",
            "verdict",
            "passed",
            "mode",
            "zone",
            "label",
            "rule",
            "policy_version",
            "attributes",
            "consent",
            "consent_state",
            "wearer",
            "at_ns",
        ),
        ('"first"', "step", '"count"'),
    ),
}
