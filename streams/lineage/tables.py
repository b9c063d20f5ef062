"""The tables of lineage, as data: those on `glasses.lineage` and those that only the store has.

Runs are `first, step, count` (law 3). `*_ns` are nanoseconds since the Unix epoch, UTC. No table contains a
sensor value, a word or a picture; `attributes` are the coarse, enumerated ones that a decision used (law 9).

`rejected`: a malformed record is listed with what it claims: the device of its key, and stream and numbers if
they are well-formed, else empty with a `count` of 0. It has no wearer. `outcome` is `repeated` for events
that arrived again and were dropped (they are stored once, so they are not lost).
`revision`: 0 for an event as it was first made; a corrected event has the same number and the next revision.
`events.consent`: number of the consent record under which the events were captured, 0 for none; for derived
events the lowest of their parents.
`inputs`: from `offset` of the partition on, `value` was in force (a model version, a policy version, words of
wearers on other partitions). For `lost-records`, reading continued at `offset`; `value` has the offsets of
records that were removed before they were read (`40-161`; `40-` if the topic was created again, so that their
number is unknown), and `t_ns` is the append time of the record before them (0: there was none). For
`lost-state` the columns mean the same, but the records were processed and are missing in the state with which
processing continued at `offset`.
`shadow`: only decisions that the policy which may come next would make differently.
`zone_runs`: every stored event with a number from low to high has this class, wearer and consent; not every
number has to be an event. If runs of several classes cover a number, the event is of one of these classes.
`feedback`: what feedback says of an answer that the device's state still has, one row for each; `version` is
the model version that gave the answer, `candidate` one that answered in shadow (0: none), and
`candidate_meaning` what the feedback says of its answer. `training_assets`: what a training run is made from
as a whole.
`events.partition` and `offset`: the position in `glasses.captured` for captured events; for derived events
the position of the record that completed them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_type_hints

from msgspec import Struct

from streams.lineage.rows import DecisionRow, EdgeRow, OpinionRow, RejectedRow

ColumnType = Literal["text", "int", "float", "flag"]

#: Kinds of recorded inputs. An example order is the order in which training read the examples of all
#: partitions; `policy` is the policy with which a worker began on empty topics. A candidate is a declined
#: version that answers in shadow, 0 for none. A rollback is an operator's
#: return to an earlier model, as training took it up.
MODEL_TAKEUP, MODEL_CANDIDATE, MODEL_ROLLBACK, POLICY_TAKEUP, CONSENT_TAKEUP = (
    "model-takeup",
    "model-candidate",
    "model-rollback",
    "policy-takeup",
    "consent-takeup",
)
EXAMPLE_ORDER, FIRST_POLICY, LOST_RECORDS, LOST_STATE = (
    "example-order",
    "policy",
    "lost-records",
    "lost-state",
)
#: Version of the tables and columns in a record of `glasses.lineage`. Records of version 1 are accepted too
#: (`streams.snapshots.intake.former`).
RECORD_VERSION = 2
#: Stands in an example order for a record that is no example; no event has this id.
NO_EXAMPLE = "-"


def _columns(row: type[Struct]) -> Mapping[str, ColumnType]:
    """Columns of a table by the fields of its rows."""
    kinds: Mapping[object, ColumnType] = {str: "text", int: "int", bool: "flag"}
    return {name: kinds[kind] for name, kind in get_type_hints(row).items()}


TABLES: Mapping[str, Mapping[str, ColumnType]] = {
    "streams": {"source": "text", "stream": "text", "kind": "text", "captured": "flag"},
    "events": {
        "source": "text",
        "stream": "text",
        "revision": "int",
        "first": "int",
        "step": "int",
        "count": "int",
        "kind": "text",
        "zone": "text",
        "label": "text",
        "rule": "text",
        "policy_version": "text",
        "wearer": "text",
        "consent": "int",
        "session": "text",
        "t_first_ns": "int",
        "t_last_ns": "int",
        "appended_ns": "int",
        "topic": "text",
        "partition": "int",
        "offset": "int",
        "bytes": "int",
        "digest": "text",
        "split_from": "text",
        "origin": "text",
    },
    "edges": _columns(EdgeRow),
    "decisions": _columns(DecisionRow),
    "rejected": _columns(RejectedRow),
    "shadow": {
        "source": "text",
        "stream": "text",
        "first": "int",
        "step": "int",
        "count": "int",
        "t_ns": "int",
        "sink": "text",
        "policy_version": "text",
        "zone": "text",
        "verdict": "text",
        "rule": "text",
        "next_version": "text",
        "next_zone": "text",
        "next_verdict": "text",
        "next_rule": "text",
    },
    "feedback": _columns(OpinionRow),
    "models": {
        "source": "text",
        "stream": "text",
        "version": "int",
        "digest": "text",
        "zone": "text",
        "label": "text",
        "policy_version": "text",
        "examples": "int",
        "wearers": "int",
        "accuracy": "float",
        "trained_ns": "int",
        "retrain_by_ns": "int",
        "bytes": "int",
    },
    "training_runs": {
        "version": "int",
        "policy_version": "text",
        "seed_examples": "int",
        "admitted": "int",
        "refused": "int",
        "manifest_digest": "text",
        "evaluation_examples": "int",
        "accuracy": "float",
        "trigger": "text",
        "t_ns": "int",
    },
    "promotions": {
        "version": "int",
        "outcome": "text",
        "against": "int",
        "reason": "text",
        "split_seed": "int",
        "kept_validation": "int",
        "kept_test": "int",
        "compared": "int",
        "validation_digest": "text",
        "better": "int",
        "worse": "int",
        "p_value": "float",
        "t_ns": "int",
    },
    "training_checks": {
        "version": "int",
        "name": "text",
        "subject": "text",
        "outcome": "text",
        "examples": "int",
        "judged": "int",
        "percent_max": "float",
        "t_ns": "int",
    },
    "training_assets": {
        "version": "int",
        "outcome": "text",
        "kind": "text",
        "name": "text",
        "licence": "text",
        "digest": "text",
        "examples": "int",
        "rule": "text",
        "t_ns": "int",
    },
    "inputs": {
        "kind": "text",
        "agent": "text",
        "topic": "text",
        "partition": "int",
        "offset": "int",
        "value": "text",
        "t_ns": "int",
    },
    "policies": {"version": "text", "name": "text", "text": "text", "published_ns": "int"},
}
#: Tables that a store of version 4 may lack, because they came later.
ADDED = ("promotions", "training_checks", "training_assets", "feedback")
#: Tables that the store makes itself: runs of a stream's numbers of one class, those whose retention is over
#: (so that they do not count as missing), and the history of its epochs.
STORED: Mapping[str, Mapping[str, ColumnType | Literal["offsets"]]] = {
    "zone_runs": {
        "source": "text",
        "stream": "text",
        "revision": "int",
        "low": "int",
        "high": "int",
        "policy_version": "text",
        "zone": "text",
        "label": "text",
        "wearer": "text",
        "consent": "int",
    },
    "expired": {
        "source": "text",
        "stream": "text",
        "revision": "int",
        "low": "int",
        "high": "int",
        "events": "int",
        "appended_ns": "int",
        "expired_ns": "int",
    },
    "epochs": {
        "published_ns": "int",
        "offsets": "offsets",
        "rows": "int",
        "cluster": "text",
        "topic": "text",
    },
}
_BOTH = frozenset({"glasses", "training"})
#: Agents that write rows of a table.
WRITTEN_BY: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(TABLES, _BOTH),
    "shadow": frozenset({"glasses"}),
    "feedback": frozenset({"glasses"}),
    "models": frozenset({"training"}),
    "training_runs": frozenset({"training"}),
    "promotions": frozenset({"training"}),
    "training_checks": frozenset({"training"}),
    "training_assets": frozenset({"training"}),
}
