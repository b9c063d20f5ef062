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
#: The command whose process knows a metric; `every` stands for each of them.
Process = Literal["worker", "snapshots", "page", "every"]

PREFIX = "sightline_"

#: Upper bounds of the buckets of a duration, in seconds; one without a bound is added to them.
SECONDS: tuple[float, ...] = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
#: The same for what should be immediate and can take hours if something is wrong.
LONG_SECONDS: tuple[float, ...] = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric. `labels` are the names of its labels, in order; `buckets` the bounds of a histogram."""

    process: Process
    kind: Kind
    labels: tuple[str, ...]
    says: str
    buckets: tuple[float, ...] = ()


def _counter(process: Process, says: str, *labels: str) -> Declared:
    return Declared(process, "counter", labels, says)


def _gauge(process: Process, says: str, *labels: str) -> Declared:
    return Declared(process, "gauge", labels, says)


def _histogram(process: Process, says: str, *labels: str, buckets: tuple[float, ...] = SECONDS) -> Declared:
    return Declared(process, "histogram", labels, says, buckets)


_WORKER: Mapping[str, Declared] = {
    # What the stages did with events. All of it is counted after the commit of the fetch.
    "batches_total": _counter(
        "worker",
        "Batches that passed the zones, and batches that were derived, by kind and zone.",
        "kind",
        "zone",
    ),
    "events_total": _counter("worker", "Events of these batches.", "kind", "zone"),
    "irregular_events_total": _counter(
        "worker",
        "Captured events that did not come once and in order, by outcome: repeated (dropped), late (passed), "
        "too-late and collision (rejected).",
        "outcome",
    ),
    "decisions_total": _counter("worker", "Decisions, by sink and verdict.", "sink", "verdict"),
    "decided_events_total": _counter(
        "worker", "Events that decisions were about, by sink, zone and verdict.", "sink", "zone", "verdict"
    ),
    "crossed_events_total": _counter(
        "worker",
        "Events that went into a sink, by sink and zone: allowed ones, and those that a zone only logs.",
        "sink",
        "zone",
    ),
    "zone_restricted": _gauge(
        "worker", "Whether a zone of the policy in force is restricted: 1, else 0.", "zone"
    ),
    "rejected_batches_total": _counter(
        "worker",
        "Batches and records that were rejected, by stage, outcome and rule.",
        "stage",
        "outcome",
        "rule",
    ),
    "rejected_events_total": _counter(
        "worker", "Events that rejected batches contain or claim to contain.", "stage", "outcome", "rule"
    ),
    "declassified_events_total": _counter(
        "worker", "Events whose label a declassifier loosened.", "declassifier"
    ),
    "declassifiers_overdue_total": _counter(
        "worker",
        "Declassifiers of the policy in force whose review was overdue when the worker started.",
        "declassifier",
    ),
    "shadow_different_events_total": _counter(
        "worker",
        "Events about which the policy that may come next decides differently, by sink and both verdicts.",
        "sink",
        "verdict",
        "next_verdict",
    ),
    "consent_effect_seconds": _histogram(
        "worker",
        "How long a partition still processed records without a wearer's word about consent, from when the "
        "word was appended to glasses.consents until the partition took it up.",
        buckets=LONG_SECONDS,
    ),
    "feedback_total": _counter(
        "worker",
        "Feedback about answers, by meaning: confirmed, corrected, denied, or unusable (it names no answer, "
        "cannot be read, or is another wearer's).",
        "meaning",
    ),
    # The model.
    "model_generation": _gauge("worker", "The model version that serves."),
    "model_accuracy_ratio": _gauge(
        "worker", "Share of the evaluation examples that the serving model version understands."
    ),
    "model_examples": _gauge("worker", "Examples that the serving model version was trained on."),
    "model_trained_timestamp_seconds": _gauge("worker", "When the serving model version was trained."),
    "model_retrain_by_timestamp_seconds": _gauge(
        "worker", "From when the serving model version may no longer serve."
    ),
    "model_inputs_total": _counter("worker", "Queries that the model read."),
    "model_input_drift_psi": _gauge(
        "worker",
        "How far the last queries lie from the seed examples: the population stability index of their "
        "n-grams. Below 0.1 they are alike; above 0.25 they are another population.",
    ),
    "model_versions_kept": _gauge(
        "worker", "Model versions in memory, of at most MODELS_KEPT_MAX and the one that serves."
    ),
    "training_failed_total": _counter(
        "worker",
        "Training runs that made no version; glasses.rejected says why, and which examples are left out from "
        "then on. A fetch that is tried again counts again.",
    ),
    "training_left_out_examples": _gauge(
        "worker",
        "Examples that the last version did not look at: its record had no room for them, or a run before it "
        "failed on them.",
    ),
    # Fetches and transactions.
    "fetch_total": _counter("worker", "Fetches that were committed, each in one transaction.", "agent"),
    "fetch_records_total": _counter("worker", "Records read and committed.", "agent"),
    "fetch_retried_total": _counter(
        "worker", "Attempts at a fetch that failed for an outside reason and were made again.", "agent"
    ),
    "fetch_compute_seconds": _histogram("worker", "Time that the pure call of a fetch took.", "agent"),
    "transaction_seconds": _histogram(
        "worker", "Time from the begin of a fetch's transaction to the end of its commit.", "agent"
    ),
    "fetch_in_flight_bytes": _gauge(
        "worker",
        "Values that were fetched and are not committed yet, all partitions of a worker together.",
    ),
    "output_total": _counter(
        "worker",
        "Records written and committed, by topic; glasses.rejected counts what was refused.",
        "agent",
        "topic",
    ),
    "poisoned_total": _counter(
        "worker",
        "Records that bisection found and that were rejected without being looked into.",
        "topic",
    ),
    "assignment_total": _counter(
        "worker", "Times that a partition went through the assignment order.", "agent", "partition"
    ),
    "foreign_commit_total": _counter(
        "worker",
        "Offsets of a partition that somebody else had committed in an agent's group; none is followed.",
        "agent",
        "partition",
    ),
    "unread_partitions": _gauge(
        "worker",
        "Partitions of topics beyond those that were declared; what is written to them is not read.",
    ),
    "passed_over_total": _counter(
        "worker", "Records of a compacted topic that no stage of ours wrote, by topic.", "topic"
    ),
    "follow_failed_total": _counter(
        "worker",
        "Attempts to read on in a compacted topic that failed, by topic; each was made again.",
        "topic",
    ),
    # States of devices.
    "state_bytes_max": _gauge(
        "worker",
        "The largest entry among all that checkpoints of this worker wrote: a device's state.",
        "agent",
    ),
    "state_entries_total": _counter("worker", "Entries written by checkpoints.", "agent"),
    "state_written_bytes_total": _counter("worker", "Bytes written by checkpoints.", "agent"),
    "state_refused_total": _counter(
        "worker",
        "Entries of glasses.state that could not be read, and were made again or lost.",
        "agent",
    ),
    "device_states_bytes": _gauge("worker", "Decoded states of devices; STATES_BYTES_MAX bounds it."),
    "device_states_kept": _gauge("worker", "States of devices that lie in the worker's file."),
    "device_states_shelved_total": _counter(
        "worker", "States of devices that were put into the worker's file."
    ),
    "device_states_shelved_bytes_total": _counter("worker", "Bytes that they took there, compressed."),
    "device_states_loaded_total": _counter(
        "worker", "States of devices that were read from the worker's file."
    ),
    "devices_known": _gauge("worker", "Devices of which a partition remembers anything.", "partition"),
    "devices_sending": _gauge(
        "worker", "Devices of a partition of which the last DEVICE_SILENT_S brought a record.", "partition"
    ),
    "devices_stopped": _gauge(
        "worker",
        "Devices of a partition that sent something to this worker in the last DEVICE_FORGOTTEN_S, but "
        "nothing in the last DEVICE_SILENT_S.",
        "partition",
    ),
}
_WRITER: Mapping[str, Declared] = {
    "store_epoch": _gauge("snapshots", "Number of the newest epoch."),
    "store_published_timestamp_seconds": _gauge("snapshots", "When the newest epoch was published."),
    "store_watermark_timestamp_seconds": _gauge(
        "snapshots",
        "Append time of the newest record of glasses.lineage that is in an epoch: what happened before it "
        "can be asked about.",
    ),
    "store_publish_seconds": _histogram("snapshots", "Time that it took to publish an epoch."),
    "store_waiting_rows": _gauge("snapshots", "Rows that were taken in and that no epoch has yet."),
    "store_waiting_seconds": _gauge(
        "snapshots", "For how long the oldest of these rows has waited; 0 if none waits."
    ),
    "store_rows_total": _counter("snapshots", "Rows that were taken in, by table.", "table"),
    "store_files": _gauge("snapshots", "Current segments of the store."),
    "store_write_failed_total": _counter(
        "snapshots", "Attempts to write the store that failed because of the disk; each was made again."
    ),
    "fold_failed_total": _counter("snapshots", "Folds of the store's segments that failed and were put off."),
    "store_bytes": _gauge("snapshots", "Size of the files in the store's directory."),
    "store_disk_free_bytes": _gauge("snapshots", "Room that is left where the store lies."),
    "store_disk_size_bytes": _gauge("snapshots", "Size of the file system where the store lies."),
    "lineage_checked_events_total": _counter(
        "snapshots",
        "Derived events of new epochs of which it was checked whether the store has every parent.",
    ),
    "lineage_incomplete_events_total": _counter(
        "snapshots",
        "Those of them of which a parent is not in the store. Completeness is 1 minus their share.",
    ),
    "lineage_checked_epoch": _gauge("snapshots", "The newest epoch whose lineage was checked."),
    "io_coverage_ratio": _gauge(
        "snapshots",
        "Share of the operations that write data of events whose link between what they write and what they "
        "read is recorded.",
    ),
}
_BOTH: Mapping[str, Declared] = {
    "lag_records": _gauge(
        "every",
        "Records between what an agent committed and the end of its partition; of agent snapshots: between "
        "what the store holds and the end of glasses.lineage.",
        "agent",
        "partition",
    ),
    "lag_seconds": _gauge(
        "every",
        "For how long the oldest of these records has waited; 0 if there is none.",
        "agent",
        "partition",
    ),
    "series_merged_total": _counter(
        "every",
        "Sets of labels that were counted as `other`, because SERIES_MAX series were in use.",
    ),
}
_PAGE: Mapping[str, Declared] = {
    "page_requests_total": _counter(
        "page", "Requests that the page answered, by page and status.", "page", "status"
    ),
    "page_request_seconds": _histogram("page", "Time until the answer began, by page.", "page"),
}

#: All metrics, by name without the prefix.
DECLARED: Mapping[str, Declared] = {**_WORKER, **_WRITER, **_BOTH, **_PAGE}
