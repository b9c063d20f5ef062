"""All metrics by name, as data: kind, labels, buckets and description. `docs/metrics.md` is made from them.

Names are those of Prometheus without the prefix `sightline_`. Units are base units (seconds, bytes, shares
from 0 to 1) and end the name; counters end in `_total`. No label is an id: no device, wearer, event or
offset. Every set of labels comes from the code, from the topics' partitions or from policies, so the number
of series does not grow with the devices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
#: The commands whose process can show its metrics.
Process = Literal["worker", "snapshots", "page"]
PROCESSES: tuple[Process, ...] = ("worker", "snapshots", "page")

PREFIX = "sightline_"

#: Upper bounds of the buckets of a duration, in seconds; one without a bound is added to them.
SECONDS: tuple[float, ...] = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
#: The same for what should be immediate and can take hours if something is wrong.
LONG_SECONDS: tuple[float, ...] = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric of some processes.

    `labels` are the names of its labels, in order; `buckets` the bounds of a histogram's buckets.
    """

    processes: tuple[Process, ...]
    kind: Kind
    labels: tuple[str, ...]
    says: str
    buckets: tuple[float, ...] = ()


def _counter(says: str, *labels: str, of: tuple[Process, ...] = ("worker",)) -> Declared:
    return Declared(of, "counter", labels, says)


def _gauge(says: str, *labels: str, of: tuple[Process, ...] = ("worker",)) -> Declared:
    return Declared(of, "gauge", labels, says)


def _histogram(
    says: str,
    *labels: str,
    of: tuple[Process, ...] = ("worker",),
    buckets: tuple[float, ...] = SECONDS,
) -> Declared:
    return Declared(of, "histogram", labels, says, buckets)


_STORE: tuple[Process, ...] = ("snapshots",)
_SITE: tuple[Process, ...] = ("page",)
_READERS: tuple[Process, ...] = ("worker", "snapshots")

_WORKER: Mapping[str, Declared] = {
    # What the stages did with events. All of it is counted after the commit of the fetch.
    "batches_total": _counter(
        "Batches that passed the zones, and batches that were derived, by kind and zone.",
        "kind",
        "zone",
    ),
    "events_total": _counter("Events of these batches.", "kind", "zone"),
    "late_events_total": _counter(
        "Captured events that arrived after later ones of their stream, and passed."
    ),
    "decisions_total": _counter("Decisions, by sink and verdict.", "sink", "verdict"),
    "decided_events_total": _counter(
        "Events that decisions were about, by sink, zone and verdict.", "sink", "zone", "verdict"
    ),
    "crossed_events_total": _counter(
        "Events that went into a sink, by sink and zone: allowed ones, and those that a zone only logs.",
        "sink",
        "zone",
    ),
    "zone_restricted": _gauge("Whether a zone of the policy in force is restricted: 1, else 0.", "zone"),
    "rejected_batches_total": _counter(
        "Batches and records that were rejected, by stage, outcome and rule.",
        "stage",
        "outcome",
        "rule",
    ),
    "rejected_events_total": _counter(
        "Events that rejected batches contain or claim to contain.", "stage", "outcome", "rule"
    ),
    "declassified_events_total": _counter("Events whose label a declassifier loosened.", "declassifier"),
    "declassifiers_overdue_total": _counter(
        "Declassifiers of the policy in force whose review was overdue when the worker started.",
        "declassifier",
    ),
    "shadow_different_events_total": _counter(
        "Events about which the policy that may come next decides differently, by sink and both verdicts.",
        "sink",
        "verdict",
        "next_verdict",
    ),
    "consent_effect_seconds": _histogram(
        "How long a partition still processed records without a wearer's word about consent, from when the "
        "word was appended to glasses.consents until the partition took it up.",
        buckets=LONG_SECONDS,
    ),
    "feedback_total": _counter(
        "Feedback about answers, by meaning: confirmed and corrected (an example was made of it), denied, or "
        "unclear (it names no answer, cannot be read, is another wearer's, or is not understood).",
        "meaning",
    ),
    # The model.
    "model_generation": _gauge("The model version that serves."),
    "model_accuracy_ratio": _gauge(
        "Share of the evaluation examples that the serving model version understands."
    ),
    "model_examples": _gauge("Examples that the serving model version was trained on."),
    "model_trained_timestamp_seconds": _gauge("When the serving model version was trained."),
    "model_retrain_by_timestamp_seconds": _gauge("From when the serving model version may no longer serve."),
    "model_inputs_total": _counter("Queries that the model read."),
    "model_input_drift_psi": _gauge(
        "How far the last queries lie from the examples that the model is measured on: the population "
        "stability index of their n-grams. Below 0.1 they are alike; above 0.25 they are others.",
    ),
    "shadow_answers_total": _counter(
        "Queries that a declined model version was asked too, which nobody heard; alike: whether it took "
        "them for the same.",
        "alike",
    ),
    "model_versions_kept": _gauge(
        "Model versions in memory, of at most MODELS_KEPT_MAX and the one that serves."
    ),
    "training_failed_total": _counter(
        "Training runs that made no version; glasses.rejected says why, and which examples are left out from "
        "then on. A fetch that is tried again counts again.",
    ),
    "training_declined_total": _counter("Model versions that were worse than the one that served."),
    "training_turned_back_total": _counter(
        "Returns to an earlier model version because feedback turned. A fetch that is tried again counts "
        "again."
    ),
    "training_held_total": _counter(
        "Training runs that made no version because a check of their examples failed; glasses.rejected says "
        "which. A fetch that is tried again counts again."
    ),
    "training_refused_total": _counter(
        "Training runs that made no version because the policy does not permit what they are made from; "
        "glasses.rejected says which. A fetch that is tried again counts again."
    ),
    "training_left_out_examples": _gauge(
        "Examples that the last version did not look at: its record had no room for them, or a run before it "
        "failed on them.",
    ),
    # Sealed values.
    "sealed_total": _counter("Values that were sealed. A fetch that is tried again counts again."),
    "opened_total": _counter(
        "Sealed values that were read: opened, or not, because retention destroyed the key (expired), or an "
        "erasure (erased), or because it was not sealed for its place (broken).",
        "outcome",
    ),
    "keys_destroyed_total": _counter("Keys that were destroyed: expired, by retention.", "reason"),
    # Fetches and transactions.
    "fetch_total": _counter("Fetches that were committed, each in one transaction.", "agent"),
    "fetch_records_total": _counter("Records read and committed.", "agent"),
    "fetch_retried_total": _counter(
        "Attempts at a fetch that failed for an outside reason and were made again.", "agent"
    ),
    "fetch_compute_seconds": _histogram("Time that the pure call of a fetch took.", "agent"),
    "transaction_seconds": _histogram(
        "Time from the begin of a fetch's transaction to the end of its commit.", "agent"
    ),
    "fetch_in_flight_bytes": _gauge(
        "Values that were fetched and are not committed yet, all partitions of a worker together.",
    ),
    "output_total": _counter(
        "Records written and committed, by topic; glasses.rejected counts what was refused.",
        "agent",
        "topic",
    ),
    "poisoned_total": _counter(
        "Records that bisection found and that were rejected without being looked into.",
        "topic",
    ),
    "assignment_total": _counter(
        "Times that a partition went through the assignment order.", "agent", "partition"
    ),
    "foreign_commit_total": _counter(
        "Offsets of a partition that somebody else had committed in an agent's group; none is followed.",
        "agent",
        "partition",
    ),
    "unread_partitions": _gauge(
        "Partitions of topics beyond those that were declared; what is written to them is not read.",
    ),
    "passed_over_total": _counter(
        "Records of a compacted topic that no stage of ours wrote, by topic.", "topic"
    ),
    "follow_failed_total": _counter(
        "Attempts to read on in a compacted topic that failed, by topic; each was made again.",
        "topic",
    ),
    # States of devices.
    "state_bytes_max": _gauge(
        "The largest entry among all that checkpoints of this worker wrote: a device's state.",
        "agent",
    ),
    "state_entries_total": _counter("Entries written by checkpoints.", "agent"),
    "state_written_bytes_total": _counter("Bytes written by checkpoints.", "agent"),
    "state_refused_total": _counter(
        "Entries of glasses.state that could not be read, and were made again or lost.",
        "agent",
    ),
    "device_states_bytes": _gauge("Decoded states of devices; STATES_BYTES_MAX bounds it."),
    "device_states_kept": _gauge("States of devices that lie in the worker's file."),
    "device_states_shelved_total": _counter("States of devices that were put into the worker's file."),
    "device_states_shelved_bytes_total": _counter("Bytes that they took there, compressed."),
    "device_states_loaded_total": _counter("States of devices that were read from the worker's file."),
    "devices_known": _gauge("Devices of which a partition remembers anything.", "partition"),
    "devices_sending": _gauge(
        "Devices of a partition of which the last DEVICE_SILENT_S brought a record.", "partition"
    ),
    "devices_stopped": _gauge(
        "Devices of a partition that sent something to this worker in the last DEVICE_FORGOTTEN_S, but "
        "nothing in the last DEVICE_SILENT_S, and that did not end their session.",
        "partition",
    ),
}
_WRITER: Mapping[str, Declared] = {
    "store_epoch": _gauge("Number of the newest epoch.", of=_STORE),
    "store_published_timestamp_seconds": _gauge("When the newest epoch was published.", of=_STORE),
    "store_watermark_timestamp_seconds": _gauge(
        "Append time of the newest captured record that an epoch tells of.",
        of=_STORE,
    ),
    "store_publish_seconds": _histogram("Time that it took to publish an epoch.", of=_STORE),
    "store_waiting_rows": _gauge("Rows that were taken in and that no epoch has yet.", of=_STORE),
    "store_waiting_seconds": _gauge(
        "For how long the oldest of these rows has waited; 0 if none waits.", of=_STORE
    ),
    "store_rows_total": _counter("Rows that were taken in, by table.", "table", of=_STORE),
    "store_files": _gauge("Current segments of the store.", of=_STORE),
    "store_write_failed_total": _counter(
        "Attempts to write the store that failed because of the disk; each was made again.", of=_STORE
    ),
    "fold_failed_total": _counter("Folds of the store's segments that failed and were put off.", of=_STORE),
    "store_bytes": _gauge("Size of the files in the store's directory.", of=_STORE),
    "store_disk_free_bytes": _gauge("Room that is left where the store lies.", of=_STORE),
    "store_disk_size_bytes": _gauge("Size of the file system where the store lies.", of=_STORE),
    "lineage_checked_events_total": _counter(
        "Derived events of new epochs of which it was checked whether the store has every parent.", of=_STORE
    ),
    "lineage_incomplete_events_total": _counter(
        "Those of them of which a parent is not in the store. Completeness is 1 minus their share.", of=_STORE
    ),
    "lineage_checked_epoch": _gauge("The newest epoch whose lineage was checked.", of=_STORE),
    "io_coverage_ratio": _gauge(
        "Share of the declared operations on data of events whose link between what is written and what is "
        "read is recorded (view io_coverage).",
        of=_STORE,
    ),
}
_BOTH: Mapping[str, Declared] = {
    "lag_records": _gauge(
        "Records between what an agent committed and the end of its partition; of agent snapshots: between "
        "what the store has taken in and the end of glasses.lineage.",
        "agent",
        "partition",
        of=_READERS,
    ),
    "lag_seconds": _gauge(
        "For how long the oldest of these records has waited; 0 if there is none.",
        "agent",
        "partition",
        of=_READERS,
    ),
    "series_merged_total": _counter(
        "Sets of labels that were counted as `other`, because SERIES_MAX series were in use.", of=PROCESSES
    ),
}
_PAGE: Mapping[str, Declared] = {
    "page_requests_total": _counter(
        "Requests that the page answered, by page and status.", "page", "status", of=_SITE
    ),
    "page_request_seconds": _histogram("Time until the answer began, by page.", "page", of=_SITE),
}

#: All metrics, by name without the prefix.
DECLARED: Mapping[str, Declared] = {**_WORKER, **_WRITER, **_BOTH, **_PAGE}
