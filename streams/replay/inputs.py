"""The recorded inputs of a store: what entered a live pipeline by chance, as a replay of it needs it."""

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
    MODEL_TAKEUP,
    POLICY_TAKEUP,
)
from streams.policy.load import parse
from streams.policy.policy import Policy
from streams.queries.store import Store
from streams.topology import CAPTURED

#: Kind of the recorded input that says which policy a set of topics began with.
POLICY = "policy"
#: Version of the store from which on devices are paired and it says when the broker took each record.
_PAIRED_SINCE = 3
#: Version since which epochs say whose log their offsets are of.
_LOGS_SINCE = 4
_TAKEUPS = frozenset({MODEL_TAKEUP, POLICY_TAKEUP, CONSENT_TAKEUP})


@dataclass(frozen=True, slots=True)
class TakeUp:
    """From `offset` of what an agent reads on, something was in force.

    By kind it is a model version, a policy version, or what wearers said.
    """

    offset: int
    kind: str
    value: str

    @property
    def version(self) -> int | None:
        """Model version that was taken up; None of another kind."""
        return int(self.value) if self.kind == MODEL_TAKEUP else None


@dataclass(frozen=True, slots=True)
class Behind:
    """At `offset` a partition went on with the state of before `first`, run over what came after `last`."""

    offset: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class ExampleOrder:
    """One fetch of `glasses.examples`.

    It has its first offset, the time of its first record (ms since the epoch), its ids in order.
    """

    offset: int
    timestamp_ms: int
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecordedInputs:
    """All recorded inputs of one store.

    The policy that it began with and when that was published (ns since the epoch), all policies that were in
    force, take-ups of the agent `glasses` by partition and of `training`, and the orders of examples.
    """

    policy: Policy
    published_ns: int
    policies: tuple[Policy, ...]
    take_ups: Mapping[int, tuple[TakeUp, ...]]
    training: tuple[TakeUp, ...]
    orders: tuple[ExampleOrder, ...]
    #: By partition: offsets in order, and when the broker took what stands there (ns since the epoch).
    appended: Mapping[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=dict)
    #: By partition of `glasses.captured`: offsets that nobody read before they were removed (first, last).
    lost: Mapping[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    #: By partition: states that had not seen the last records that were processed.
    behind: Mapping[int, tuple[Behind, ...]] = field(default_factory=dict)
    #: Kinds of the streams that the live pipeline knew.
    kinds: frozenset[str] = frozenset()
    #: Whether the store says who was bound to whom; one of 0.1.0 does not.
    paired: bool = True


def read_inputs(directory: Path) -> RecordedInputs:
    """Read the recorded inputs from the newest published epoch of the store in `directory`.

    Raises
    ------
    InputError
        They contradict one another, are not complete, or name a policy that the store does not hold.
    UnavailableError
        There is no store, or no epoch.
    """
    with Store.open(directory, older=True) as store:
        paired = store.version >= _PAIRED_SINCE
        if store.version >= _LOGS_SINCE:
            _refuse_several_brokers(directory, store)
        policies = store.sql("SELECT version, text, published_ns FROM policies", NUMBER_MAX).rows
        rows = store.sql(
            'SELECT kind, agent, "partition", "offset", value, t_ns FROM inputs', NUMBER_MAX
        ).rows
        kinds = frozenset(str(kind) for (kind,) in store.sql("SELECT DISTINCT kind FROM streams").rows)
        # The reader below looks at no digest.
        store.check("events, rejected")
    recorded = inputs_of(str(directory), policies, rows)
    appended = _appended(directory) if paired else {}
    return replace(recorded, appended=appended, paired=paired, kinds=kinds)


def _refuse_several_brokers(directory: Path, store: Store) -> None:
    """Raise InputError for inputs of several brokers, since an offset of one means nothing on another."""
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
    """When the broker took each record that was read, by partition."""
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
    # One that came into force again was published when it was published first.
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
        lost=_lost(name, rows),
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
    """Offsets of each partition of `glasses.captured` that nobody read.

    InputError where the topic was made again, since an offset of one log means nothing in another.
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
    """Take-ups of one partition in order; InputError when two of a kind stand at one place.

    Words that were taken up at one place can come in several parts.
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
