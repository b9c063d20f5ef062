"""Restore the state of a partition as of its committed offset, from `glasses.state` and the source's log.

`glasses.state` is not trusted. An entry that cannot be read is rebuilt: its source records are run again
silently, from the beginning of the source's log up to the checkpoint. If the beginning of that log was
deleted, the older part of the entry is lost; this is logged, with the number of entries and the offset.
Without a readable checkpoint all records in the log are run again, on top of the readable entries if the core
knows repeats. Outputs are exactly once in each case: a silent run writes none, and reading continues at the
committed offset.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from aiokafka import TopicPartition

from streams import limits, metrics, topology
from streams.errors import InputError
from streams.events.record import Core, Fetch, LiveCore, LogId, Loss
from streams.kafka.checkpoint import CHECKPOINT_NAME, Checkpoint
from streams.kafka.compute import compute
from streams.kafka.reader import Follower, log_bounds
from streams.kafka.standing import Place, look, refusal
from streams.settings.kafka import Broker
from streams.waiting import saying

log = logging.getLogger(__name__)

State = TypeVar("State")
_POLL_MS = 500
_ENTRIES_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Restored(Generic[State]):
    """State as of `next_offset`, and which part of it is on `glasses.state`.

    `saved` is the state as it is on the topic; None if all of it must be written. `lost` has the names of
    unreadable entries on the topic, which must be written again or removed. `seen_ms` is the append time of
    the last record of the checkpoint (ms since the epoch). `losses` must be recorded in the transaction that
    begins at `next_offset`. `uncommitted`: the group has no commit at that offset yet.
    """

    state: State
    next_offset: int
    saved: State | None
    lost: frozenset[str] = frozenset()
    seen_ms: int = field(default=0, compare=False)
    losses: tuple[Loss, ...] = ()
    uncommitted: bool = False


@dataclass(frozen=True, slots=True)
class _Read(Generic[State]):
    """State made of the readable entries (None if they do not suffice), and the names of all others."""

    state: State | None
    lost: frozenset[str]


async def restored(
    broker: Broker,
    agent: str,
    core: LiveCore[State],
    tp: TopicPartition,
    committed: int | None,
    wait_s: float,
    logs: Mapping[str, LogId] | None = None,
    *,
    group: str = "",
    accept_loss: bool = False,
) -> Restored[State]:
    """Return the state of one partition as of `committed` (None: the group knows no offset).

    `logs` are the logs that the agent reads now, by topic; `group` is the group that it commits in (default:
    the agent's name). With `accept_loss`, records that retention deleted before they were read are skipped
    and listed in `Restored.losses`.

    Raises
    ------
    InputError
        Checkpoint, commit and log do not belong together (`streams.kafka.standing.look`), or records are
        lost.
    UnavailableError
        The broker is absent for `wait_s` seconds.
    """
    place = Place(broker, agent, core, tp, logs or {}, wait_s, group or agent)
    bounds = (await log_bounds(broker, tp.topic, wait_s=wait_s))[tp.partition]
    standing = await look(place, committed, bounds, accept_loss=accept_loss)
    loss, stored = standing.loss, standing.stored
    if committed is None and stored.offset is not None and not standing.moved:
        log.warning(
            "The group %s knows no offset of %s any more (it expired, or was deleted); gone on at offset %d, "
            "which its checkpoint and its lineage say",
            place.group,
            place,
            standing.next_offset,
        )
    if loss is not None and not accept_loss:
        raise InputError(refusal(broker, [loss]))
    until = loss.first if loss is not None and loss.last is not None else standing.next_offset
    believed = await _believed(core, tp.partition, stored)
    read, lost, run = believed.state, stored.lost | believed.lost, _Rerun(broker, core, tp, wait_s)
    state: State
    start: int | None
    saved: State | None
    if lost:
        metrics.count("state_refused_total", len(lost), agent=agent)
        state, start, saved = await _mended(run, stored, read, lost, until or 0)
    elif stored.offset is None or read is None:
        state, start, saved = core.empty(tp.partition), None, None
    else:
        state, start, saved = read, stored.offset, read
    losses = () if loss is None else (loss,)
    if until is not None and start is not None and start < min(until, standing.begin):
        last = min(until, standing.begin) - 1
        gone = place.loss(start, last, standing.next_offset or 0, stored, state=True)
        _say_behind(gone)
        state, start, losses = core.behind(state), standing.begin, (*losses, gone)
    if until is not None and (start is None or start < until):
        state = await run.over(state, start, until, None)
    if standing.behind is not None:
        _say_behind(standing.behind)
        state, losses = core.behind(state), (*losses, standing.behind)
    if standing.moved:
        state = core.moved(state, standing.next_offset or 0)
    if lost:
        _say(agent, tp, len(lost), run.begin)
    return Restored(
        state, standing.next_offset or 0, saved, lost, stored.seen_ms, losses, standing.uncommitted
    )


async def _believed(core: LiveCore[State], partition: int, stored: Checkpoint) -> _Read[State]:
    """Read the stored entries; drop the core's own (`@...`) if they name something that no longer exists."""
    readable = await _read(core, partition, stored)
    if readable.state is None or await core.stands(readable.state):
        return readable
    own = frozenset(name for name in stored.entries if name.startswith("@"))
    others = {name: value for name, value in stored.entries.items() if name not in own}
    readable = await _read(core, partition, Checkpoint(others, stored.offset))
    return _Read(readable.state, readable.lost | own)


async def _read(core: Core[State], partition: int, stored: Checkpoint) -> _Read[State]:
    """Read the stored entries.

    They are read in groups, so that other partitions get their turn; the core's own entries (`@...`) are read
    with each group.
    """
    own = [name for name in stored.entries if name.startswith("@")]
    others = [name for name in stored.entries if not name.startswith("@")]
    state: State | None = None
    lost = set[str]()
    for at in range(0, max(len(others), 1), _ENTRIES_AT_ONCE):
        await asyncio.sleep(0)
        some = {name: stored.entries[name] for name in (*own, *others[at : at + _ENTRIES_AT_ONCE])}
        part = _tried(core, partition, some)
        if part is None:
            lost |= {name for name, value in some.items() if not core.readable(name, value)}
            part = _tried(core, partition, {name: some[name] for name in some.keys() - lost})
        if part is None:
            return _Read(None, frozenset(lost | stored.entries.keys()))
        state = part if state is None else core.mended(state, part, frozenset(some.keys() - lost))
    return _Read(state, frozenset(lost))


def _tried(core: Core[State], partition: int, entries: Mapping[str, bytes]) -> State | None:
    try:
        return core.restore(partition, entries)
    except Exception:  # noqa: BLE001  a core may raise anything on bytes that it did not write
        return None


async def _mended(
    run: _Rerun[State], stored: Checkpoint, read: State | None, lost: frozenset[str], committed: int
) -> tuple[State, int | None, State | None]:
    """Rebuild the entries `lost` as far as possible.

    Return the state, the offset from which records must be run on top of it (None: the beginning of the log),
    and the state that is saved.
    """
    core, names = run.core, lost - {CHECKPOINT_NAME}
    empty, keys = core.empty(run.tp.partition), core.made_of(names)
    if keys is None or read is None:
        return empty, None, None
    if stored.offset is None:
        return core.mended(read, empty, names), None if core.knows_repeats else committed, read
    remade = await run.over(empty, None, stored.offset, keys) if keys else empty
    return core.mended(read, remade, names), stored.offset, read


class _Rerun(Generic[State]):
    """Runs records of a partition again without outputs.

    `begin` is the first offset of the log, set by a run from the beginning.
    """

    def __init__(self, broker: Broker, core: LiveCore[State], tp: TopicPartition, wait_s: float) -> None:
        self._broker, self._wait_s = broker, wait_s
        self.core, self.tp = core, tp
        self.begin: int | None = None

    async def over(self, state: State, first: int | None, until: int, keys: frozenset[bytes] | None) -> State:
        """State after the records from `first` (None: the beginning of the log) up to `until`, exclusive.

        `keys` restricts the records to those with one of these keys.
        """
        partition = self.tp.partition
        places = {} if first is None else {partition: first}
        async with (
            saying(f"records of {self.tp.topic} partition {partition} up to offset {until}, run again"),
            Follower(
                self._broker, self.tp.topic, places, partitions=[partition], wait_s=self._wait_s
            ) as follower,
        ):
            at = (await follower.positions())[partition]
            if first is None:
                self.begin = at
            while at < until:
                polled = await follower.poll(_POLL_MS, limits.FETCH_RECORDS_MAX)
                records = [
                    record
                    for record in polled.get(partition, ())
                    if record.offset < until and (keys is None or record.key in keys)
                ]
                if records:
                    fetch = Fetch(self.tp.topic, partition, records)
                    inputs = await self.core.inputs(state, fetch, silent=True)
                    state = (await compute(self.core, state, fetch, inputs, silent=True)).state
                at = (await follower.positions())[partition]
        return state


def _say_behind(gone: Loss) -> None:
    log.warning(
        "%s partition %d: offsets %d to %d were processed and are gone from the log, and the state does not"
        " know them: what was half made then is let go, and one of them that comes again counts as new",
        gone.topic,
        gone.partition,
        gone.first,
        gone.last,
    )


def _say(agent: str, tp: TopicPartition, count: int, begin: int | None) -> None:
    outcome = "what they held is lost, nothing else is"
    if begin is not None:
        outcome = f"they were made again from the records of {tp.topic} from offset {begin} on"
        if begin:
            outcome += ", and what they held of before is lost"
    log.error(
        "%d entries of agent %s, partition %d, on %s cannot be read; %s. Something else wrote to this topic, "
        "or another version did: find out which",
        count,
        agent,
        tp.partition,
        topology.STATE,
        outcome,
    )
