"""Collect what a fold needs from the hot file, which only the publishing thread may use."""

from __future__ import annotations

from pathlib import Path

from streams.snapshots.epochs.hot import Hot
from streams.snapshots.folds.fold import Plan
from streams.snapshots.folds.tiers import Choice, absorbed


def plan(hot: Hot, directory: Path, choice: Choice) -> Plan:
    """Plan the fold of some files of the store in `directory`."""
    inputs: dict[str, list[str]] = {}
    for segment in choice.files:
        inputs.setdefault(segment.table, []).append(segment.file)
    fresh = [segment for segment in choice.files if segment.fresh]
    rows = sum(segment.rows for segment in fresh if segment.table in ("edges", "zone_runs"))
    return Plan(
        directory,
        hot.store_id,
        hot.newest().number,
        inputs,
        choice.group,
        frozenset(segment.file for segment in fresh),
        hot.files.current_files(),
        (
            min((segment.first_epoch for segment in fresh), default=0),
            max((segment.last_epoch for segment in fresh), default=0),
        ),
        hot.history_at_hand(),
        hot.classes,
        absorbed(hot.indexes(), rows) if fresh else [],
        hot.unlisted() if fresh else [],
    )
