"""The recorded inputs of a store: inputs of the live pipeline that depended on timing, for a replay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.consent.record import part_of
from streams.errors import InputError
from streams.ledger.sources import StoreReader
from streams.limits import NUMBER_MAX
from streams.lineage.tables import (
    CONSENT_TAKEUP,
    EXAMPLE_ORDER,
    LOST_RECORDS,
    LOST_STATE,
    MODEL_CANDIDATE,
    MODEL_ROLLBACK,
    MODEL_TAKEUP,
    POLICY_TAKEUP,
)
from streams.policy.load import parse
from streams.policy.policy import Policy
from streams.queries.store import Store
from streams.topology import CAPTURED

#: Kind of the recorded input that names the first policy of the installation.
POLICY = "policy"
#: Since this version of the store devices are paired, and it has the append time of each record.
_PAIRED_SINCE = 3
#: Since this version of the store epochs name the log that their offsets belong to.
_LOGS_SINCE = 4
_TAKEUPS = frozenset({MODEL_TAKEUP, MODEL_CANDIDATE, MODEL_ROLLBACK, POLICY_TAKEUP, CONSENT_TAKEUP})


@dataclass(frozen=True, slots=True)
class TakeUp:
    """A take-up: from `offset` of the agent's source on, `value` was in force.

    The value is a model version, a rollback, a policy version, or words of wearers, depending on `kind`.
    """

    offset: int
    kind: str
    value: str

    @property
    def version(self) -> int | None:
        """Model version that was taken up to answer, or to answer in shadow; None for other kinds."""
        named = self.kind == MODEL_TAKEUP or (self.kind == MODEL_CANDIDATE and self.value != "0")
        return int(self.value) if named else None


@dataclass(frozen=True, slots=True)
class Behind:
    """At `offset` a partition continued with a state that does not include the records `first` to `last`."""

    offset: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class ExampleOrder:
    """Order of the examples in one fetch of `glasses.examples`.

    `offset` and `timestamp_ms` (since the epoch) are those of its first record; `ids` are in order.
    """

    offset: int
    timestamp_ms: int
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecordedInputs:
    """All recorded inputs of one store.

    These are the first policy and its time of publication (ns since the epoch), all policies that were in
    force, the take-ups of agent `glasses` (by partition) and of `training`, and the orders of examples.
    """

    policy: Policy
    published_ns: int
    policies: tuple[Policy, ...]
    take_ups: Mapping[int, tuple[TakeUp, ...]]
    training: tuple[TakeUp, ...]
    orders: tuple[ExampleOrder, ...]
    #: By partition: offsets in order, and their append times (ns since the epoch).
    appended: Mapping[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=dict)
    #: By partition of `glasses.captured`: (first, last) offsets of records that were deleted unread.
    lost: Mapping[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    #: By partition: restored states that did not include the last processed records.
    behind: Mapping[int, tuple[Behind, ...]] = field(default_factory=dict)
    #: Kinds of the streams that the live pipeline knew.
    kinds: frozenset[str] = frozenset()
    #: Whether the store has pairings; a store of 0.1.0 does not.
    paired: bool = True


def read_inputs(directory: Path) -> RecordedInputs:
    """Read the recorded inputs from the newest published epoch of the store in `directory`.

    Raises
    ------
    InputError
        They contradict one another, are incomplete, or name a policy that the store does not have.
    UnavailableError
        There is no store, or no epoch.
    """
    with Store.open(directory, older=True) as store:
        paired = store.parts[0].version >= _PAIRED_SINCE
        if store.parts[0].version >= _LOGS_SINCE:
            _refuse_several_brokers(directory, store)
        policies = store.sql("SELECT version, text, published_ns FROM policies", NUMBER_MAX).rows
        rows = store.sql(
            'SELECT kind, agent, "partition", "offset", value, t_ns FROM inputs', NUMBER_MAX
        ).rows
        kinds = frozenset(str(kind) for (kind,) in store.sql("SELECT DISTINCT kind FROM streams").rows)
        # Checked here, because the reader below checks no digests.
        store.check("events, rejected")
    recorded = inputs_of(str(directory), policies, rows)
    appended = _appended(directory) if paired else {}
    return replace(recorded, appended=appended, paired=paired, kinds=kinds)


def _refuse_several_brokers(directory: Path, store: Store) -> None:
    """Raise InputError for inputs of several clusters, because offsets of one mean nothing in another."""
    clusters = store.sql(
        "SELECT cluster, min(epoch) FROM epochs WHERE cluster <> '' GROUP BY cluster ORDER BY 2"
    ).rows
    if len(clusters) > 1:
        raise InputError(
            f"{directory}: found recorded inputs by the offsets of {len(clusters)} brokers (another one was "
            f"adopted in epoch {clusters[1][1]}), expected those of one. Replay the journals of before "
            "without --inputs, or with a store of their broker"
        )


def _appended(directory: Path) -> dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Append time of each record, by partition, as (offsets, times)."""
    reader = StoreReader(directory)
    try:
        columns = reader.columns(
            'SELECT "partition", "offset", min(appended_ns) AS appended_ns'  # noqa: S608 - a name of ours
            ' FROM (SELECT topic, "partition", "offset", appended_ns FROM events'
            ' UNION ALL SELECT topic, "partition", "offset", appended_ns FROM rejected)'
            f" WHERE topic = '{CAPTURED}' GROUP BY 1, 2 ORDER BY 1, 2"
        )
    finally:
        reader.close()
    return {
        int(partition): (
            columns["offset"][here].astype(np.int64),
            columns["appended_ns"][here].astype(np.int64),
        )
        for partition in np.unique(columns["partition"])
        for here in [columns["partition"] == partition]
    }


def inputs_of(
    name: str, policies: Iterable[tuple[Any, ...]], rows: Sequence[tuple[Any, ...]]
) -> RecordedInputs:
    """Recorded inputs from a store's rows of `policies` and `inputs`.

    Rows are (version, text, published_ns) and (kind, agent, partition, offset, value, t_ns).
    """
    first = {row[4] for row in rows if row[0] == POLICY}
    # A policy that came into force twice keeps its first time of publication.
    texts = {
        version: (text, published_ns)
        for version, text, published_ns in sorted(
            policies, key=lambda row: row[2] or NUMBER_MAX, reverse=True
        )
    }
    in_force = first | {row[4] for row in rows if row[0] == POLICY_TAKEUP}
    if len(first) != 1 or not in_force <= texts.keys():
        raise InputError(
            f"{name}: found {len(first)} policies that it began with and the text of "
            f"{len(in_force & texts.keys())} of {len(in_force)} that were in force, expected one and all; "
            "name the store that the live pipeline wrote"
        )
    known = {version: parse(texts[version][0], f"the policy of {name}") for version in sorted(in_force)}
    begun = next(iter(first))
    # Before the take-ups: those of a log that was made again have the offsets of former ones.
    lost = _lost(name, rows)
    partitions = sorted({row[2] for row in rows if row[1] == "glasses" and row[0] in _TAKEUPS})
    orders = tuple(
        ExampleOrder(offset, t_ns // 1_000_000, tuple(value.split(" ")))
        for kind, _, _, offset, value, t_ns in sorted(rows)
        if kind == EXAMPLE_ORDER
    )
    take_ups = {partition: _taken(name, rows, "glasses", partition) for partition in partitions}
    return RecordedInputs(
        known[begun],
        texts[begun][1],
        tuple(known.values()),
        take_ups,
        _taken(name, rows, "training", 0),
        orders,
        lost=lost,
        behind=_behind(rows),
    )


def _behind(rows: Iterable[tuple[Any, ...]]) -> dict[int, tuple[Behind, ...]]:
    losses: dict[int, list[Behind]] = {}
    for kind, agent, partition, offset, value, _ in rows:
        if kind == LOST_STATE and agent == "glasses":
            first, _, last = value.partition("-")
            losses.setdefault(partition, []).append(Behind(offset, int(first), int(last)))
    return {
        partition: tuple(sorted(some, key=lambda loss: loss.offset)) for partition, some in losses.items()
    }


def _lost(name: str, rows: Iterable[tuple[Any, ...]]) -> dict[int, tuple[tuple[int, int], ...]]:
    """Offsets of lost records by partition of `glasses.captured`.

    InputError if the topic was recreated, because offsets of one log mean nothing in another.
    """
    lost: dict[int, tuple[tuple[int, int], ...]] = {}
    for kind, agent, partition, _, value, _ in sorted(rows):
        if kind != LOST_RECORDS or agent != "glasses":
            continue
        low, _, high = value.partition("-")
        if not high:
            raise InputError(
                f"{name}: found recorded inputs by the offsets of two logs of {CAPTURED}, which was made"
                f" again (partition {partition} had been read up to offset {low}), expected those of one."
                " Replay the journals without --inputs"
            )
        lost[partition] = (*lost.get(partition, ()), (int(low), int(high)))
    return lost


def _taken(name: str, rows: Iterable[tuple[Any, ...]], agent: str, partition: int) -> tuple[TakeUp, ...]:
    """Take-ups of one partition in order; InputError if two of one kind have the same offset.

    Only words that were taken up at one offset may be divided into several parts.
    """
    values: dict[tuple[int, str, int], str] = {}
    for kind, by, at, offset, value, _ in rows:
        if (
            kind in _TAKEUPS
            and (by, at) == (agent, partition)
            and values.setdefault((offset, kind, part_of(value) if kind == CONSENT_TAKEUP else 0), value)
            != value
        ):
            raise InputError(
                f"{name}: found two values of {kind} at offset {offset} of partition {partition}, expected "
                "one; two pipelines wrote into this store"
            )
    return tuple(TakeUp(offset, kind, value) for (offset, kind, _), value in sorted(values.items()))
