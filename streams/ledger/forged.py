"""Find forged records: a record is an agent's if the store has its id, run and digest.

An agent writes a record and its lineage in one transaction, so a record without a row of `events` was written
by someone else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from streams.ledger.records import Records
from streams.ledger.runs import Ints, column, groups
from streams.ledger.sources import HALVES, StoreReader, numbered

#: Selects the records that agents wrote: stream, first, step, count, digest, partition.
ROWS = (
    f'SELECT {numbered()}, "first", step, "count", {HALVES.format("digest")}, "partition"'  # noqa: S608
    " FROM events"
)
_OURS, _AGAIN, _OTHER, _STRANGE = range(4)


@dataclass(frozen=True, slots=True)
class Judged:
    """Indices of records: `ours` are written by agents (by stream, first copies), `again` further copies.

    `other` have the id of an agent's record, with another run or value; `strange` have unknown ids.
    """

    ours: dict[str, Ints]
    again: Ints
    other: Ints
    strange: Ints


def judge(records: Records, stored: Mapping[str, list[Ints]]) -> Judged:
    """Compare records with rows of `ROWS`, given by stream."""
    verdict = np.full(len(records), _STRANGE, np.int8)
    columns = [column(numbers) for numbers in (records.first, records.step, records.count)]
    values = records.values()
    partition, offset = column(records.partition), column(records.offset)
    streams = records.rows()
    for name, rows in streams.items():
        if name not in stored:
            continue
        *known, home = stored[name]
        given = [*(numbers[rows] for numbers in columns), values[rows, 0], values[rows, 1]]
        group, representatives = groups([np.concatenate(pair) for pair in zip(known, given, strict=True)])
        theirs, mine = group[: home.size], group[home.size :]
        written = np.zeros(representatives.size, np.bool_)
        written[theirs] = True
        at_home = np.zeros(representatives.size, np.int64)
        at_home[theirs] = home
        # Among several copies, prefer one in the partition that the agent writes to, then the first.
        order = np.lexsort((offset[rows], partition[rows] != at_home[mine], mine))
        copy = np.zeros(rows.size, np.bool_)
        copy[order[1:]] = mine[order[1:]] == mine[order[:-1]]
        strange = np.where(np.isin(given[0], known[0]), _OTHER, _STRANGE)
        verdict[rows] = np.where(written[mine], np.where(copy, _AGAIN, _OURS), strange)
    ours = {name: rows[verdict[rows] == _OURS] for name, rows in streams.items()}
    again, other, strange = (np.flatnonzero(verdict == outcome) for outcome in (_AGAIN, _OTHER, _STRANGE))
    return Judged(ours, again, other, strange)


def judged(topic: str, records: Records, where: str, store: StoreReader, findings: list[str]) -> Judged:
    """Judge the records of a topic by the rows of `events` that satisfy `where`, and report forged ones."""
    verdicts = judge(records, store.grouped(f"{ROWS} {where}"))
    # Of what is over the store cannot say any more who wrote it.
    strange, other = (_known(records, rows, store) for rows in (verdicts.strange, verdicts.other))
    verdicts = Judged(verdicts.ours, verdicts.again, other, strange)
    for rows, fault in (
        (verdicts.strange, "were written by no agent"),
        (verdicts.other, "hold something else than an agent wrote under their ids"),
        (verdicts.again, "are copies of records that an agent wrote once"),
    ):
        if rows.size:
            findings.append(f"{rows.size:,} records of {topic} {fault}: {records.named(rows)}")
    if records.unreadable:
        places = ", ".join(f"partition {partition}, offset {offset}" for partition, offset in records.unread)
        more = " …" if records.unreadable > len(records.unread) else ""
        findings.append(
            f"{records.unreadable:,} records of {topic} do not say which events they hold, as an agent's do:"
            f" {places}{more}"
        )
    return verdicts


def _known(records: Records, rows: Ints, store: StoreReader) -> Ints:
    """Those of some records that are of nothing whose retention is over."""
    if not store.over or not rows.size:
        return rows
    first, chosen = column(records.first), np.ones(rows.size, np.bool_)
    for name, some in records.rows().items():
        if (over := store.over_of(name)).size:
            here = np.isin(rows, some)
            numbers = first[rows[here]][:, None]
            chosen[here] = ~((over[:, 0] <= numbers) & (numbers < over[:, 1])).any(1)
    return rows[chosen]
