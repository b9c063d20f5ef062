"""Numbers that a worker counts and measures, as text for Prometheus.

Plain numbers of this module: one process, one event loop. Names start with the part that they describe
(`fetch`, `state`, ...) and contain their unit; all are declared in `DECLARED`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from streams import files

Kind = Literal["counter", "gauge"]
Labels = tuple[tuple[str, str], ...]

#: All names, each with its kind and its description.
DECLARED: Mapping[str, tuple[Kind, str]] = {
    "fetch_total": ("counter", "Fetches that were committed, each in one transaction."),
    "fetch_records_total": ("counter", "Records read and committed."),
    "fetch_retried_total": (
        "counter",
        "Attempts at a fetch that failed for an outside reason and were made again.",
    ),
    "fetch_compute_seconds_total": ("counter", "Time that the pure call took."),
    "fetch_in_flight_bytes": (
        "gauge",
        "Values that were fetched and are not committed yet, all partitions of a worker together.",
    ),
    "transaction_seconds_total": (
        "counter",
        "Time from the begin of a transaction to the end of its commit.",
    ),
    "output_total": (
        "counter",
        "Records written and committed, by topic; glasses.rejected counts what was refused.",
    ),
    "poisoned_total": (
        "counter",
        "Records that bisection found and that were rejected without being looked into.",
    ),
    "assignment_total": ("counter", "Times that a partition went through the assignment order."),
    "foreign_commit_total": (
        "counter",
        "Offsets of a partition that somebody else had committed in an agent's group; none is followed.",
    ),
    "unread_partitions": (
        "gauge",
        "Partitions of topics beyond those that were declared; what is written to them is not read.",
    ),
    "state_bytes_max": (
        "gauge",
        "The largest entry among all that checkpoints of this worker wrote: a device's state.",
    ),
    "state_entries_total": ("counter", "Entries written by checkpoints."),
    "state_written_bytes_total": ("counter", "Bytes written by checkpoints."),
    "state_refused_total": (
        "counter",
        "Entries of glasses.state that could not be read, and were made again or lost.",
    ),
    "device_states_bytes": ("gauge", "Decoded states of devices; STATES_BYTES_MAX bounds it."),
    "device_states_kept": ("gauge", "States of devices that lie in the worker's file."),
    "device_states_shelved_total": ("counter", "States of devices that were put into the worker's file."),
    "device_states_shelved_bytes_total": ("counter", "Bytes that they took there, compressed."),
    "device_states_loaded_total": ("counter", "States of devices that were read from the worker's file."),
    "devices_known": ("gauge", "Devices of which a partition remembers anything."),
    "fold_failed_total": ("counter", "Folds of a store's segments that failed and were put off."),
    "passed_over_total": ("counter", "Records of a compacted topic that no stage of ours wrote, by topic."),
    "follow_failed_total": (
        "counter",
        "Attempts to read on in a compacted topic that failed, by topic; each was made again.",
    ),
    "declassifiers_overdue_total": (
        "counter",
        "Declassifiers of the policy in force whose review was overdue when the worker started.",
    ),
    "model_versions_kept": ("gauge", "Model versions in memory, of at most MODELS_KEPT_MAX and one in use."),
    "training_declined_total": ("counter", "Model versions that were worse than the one that served."),
    "training_failed_total": (
        "counter",
        "Training runs that made no version; glasses.rejected says why, and which examples are left out from "
        "then on. A fetch that is tried again counts again.",
    ),
    "training_left_out_examples": (
        "gauge",
        "Examples that the last version did not look at: its record had no room for them, or a run before it "
        "failed on them.",
    ),
    "lag_records": ("gauge", "How far a partition was behind its newest record when it was last read."),
}
_values: dict[str, dict[Labels, float]] = {}


def count(name: str, amount: float = 1, **labels: str) -> None:
    """Add to a counter."""
    values = _values.setdefault(name, {})
    key = tuple(labels.items())
    values[key] = values.get(key, 0) + amount


def gauge(name: str, value: float, **labels: str) -> None:
    """Set a gauge."""
    _values.setdefault(name, {})[tuple(labels.items())] = value


def highest(name: str, value: float, **labels: str) -> None:
    """Set a gauge if `value` is higher than its current one."""
    gauge(name, max(value, read(name, **labels)), **labels)


def read(name: str, **labels: str) -> float:
    """Return a number; 0 if it was never set."""
    return _values.get(name, {}).get(tuple(labels.items()), 0)


def text() -> str:
    """All numbers in the text exposition format of Prometheus, version 0.0.4."""
    lines: list[str] = []
    for name, (kind, says) in DECLARED.items():
        if name in _values:
            lines += [f"# HELP sightline_{name} {says}", f"# TYPE sightline_{name} {kind}"]
            for labels, value in _values[name].items():
                shown = ",".join(f'{label}="{content}"' for label, content in labels)
                lines.append(
                    f"sightline_{name}{{{shown}}} {value:.15g}"
                    if labels
                    else f"sightline_{name} {value:.15g}"
                )
    return "".join(f"{line}\n" for line in lines)


def write(path: Path) -> None:
    """Write `text` to a file atomically, for a collector of text files; readers see only complete files."""
    with files.written(path) as file:
        file.write(text().encode())
