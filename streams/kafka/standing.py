"""Find the offset at which a partition continues after a pause of any length.

It follows from the group's commit, the checkpoint, lineage, and the range of the source's log.

A broker forgets the commits of a group that was empty for longer than `offsets.retention.minutes`, and when
their topic is deleted. Then the checkpoint is used, which was written together with a commit. There may have
been later commits; so the last lineage record of each transaction also holds the committed offset, and no
output is written twice. Records that retention deleted before they were read are lost. They are only skipped
if an operator accepts the loss, and then the loss is recorded.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from aiokafka import TopicPartition
from msgspec.structs import replace as replace_struct

from streams import clock, topology
from streams.connection.connect import WAIT_S_DEFAULT
from streams.errors import InputError
from streams.events.record import AgentSpec, Core, LogId, Loss, Outgoing, Received
from streams.kafka import checkpoint
from streams.kafka.checkpoint import CHECKPOINT_NAME, Checkpoint
from streams.kafka.groups import Commit
from streams.kafka.log_ids import log_ids
from streams.kafka.reader import committed, log_bounds, read_through
from streams.settings.kafka import Broker

log = logging.getLogger(__name__)

State = TypeVar("State")
#: Header of the last lineage record of a transaction: the offset that the transaction commits.
NEXT = "sightline-next"
ACCEPT = "`sightline worker --accept-loss`"
_LOOK_BACK_FIRST, _LOOK_BACK_GROWTH = 64, 16


@dataclass(frozen=True, slots=True)
class Standing:
    """Position of a partition: its checkpoint, and the next offset of its source (None: it never began).

    `begin` is the first offset of the source's log. `loss` are records that were deleted unread before
    `next_offset`. `uncommitted`: the group's commit has another offset, so `next_offset` must be committed
    again. `behind` are records that were processed but are no longer in the log, and that the state as it can
    be restored does not include. `moved`: offsets that the state holds can be higher than `next_offset`.
    """

    stored: Checkpoint
    begin: int
    next_offset: int | None
    loss: Loss | None = None
    uncommitted: bool = False
    behind: Loss | None = None
    moved: bool = False


@dataclass(frozen=True, slots=True)
class Place(Generic[State]):
    """A partition of an agent's source on a broker.

    `logs` are the logs that the agent reads, by topic; `group` is the group that it commits in.
    """

    broker: Broker
    agent: str
    core: Core[State]
    tp: TopicPartition
    logs: Mapping[str, LogId]
    wait_s: float
    group: str

    def __str__(self) -> str:
        return f"{self.tp.topic} partition {self.tp.partition}"

    def loss(
        self, first: int, last: int | None, next_offset: int, stored: Checkpoint, *, state: bool = False
    ) -> Loss:
        """Make a loss of this partition that was detected now."""
        return Loss(
            self.tp.topic,
            self.tp.partition,
            first,
            last,
            next_offset,
            stored.seen_ms,
            clock.now_ns() // 1_000_000,
            state,
        )


async def look(
    place: Place[Any], committed: int | None, bounds: tuple[int, int], *, accept_loss: bool
) -> Standing:
    """Find the position of a partition. `bounds` are begin and end of its log.

    Raises
    ------
    InputError
        The checkpoint belongs to other logs or is ahead of the group's commit; there is none although the
        group has committed (unless `accept_loss`); or the log ends before the offset up to which it was read.
    UnavailableError
        The broker is absent for `wait_s` seconds.
    """
    stored = await checkpoint.load(place.broker, place.agent, place.tp.partition, wait_s=place.wait_s)
    begin, end = bounds
    _refuse_other_group(place, stored)
    if _remade(place, stored):
        return await _of_another_log(place, stored, begin)
    if stored.offset is not None and stored.offset > max(end, -1 if committed is None else committed):
        # The log was never that long, so a foreign program wrote the checkpoint.
        stored = replace(stored, offset=None, lost=stored.lost | {CHECKPOINT_NAME})
    at, uncommitted = await _next_offset(place, stored, committed, begin, accept_loss=accept_loss)
    if at is not None and at > end:
        return _cut_off(place, stored, bounds, at, accept_loss=accept_loss)
    first = 0 if at is None else at
    if first >= begin:
        return Standing(stored, begin, at, None, uncommitted)
    loss = place.loss(first, begin - 1, begin, stored)
    return Standing(stored, begin, begin, loss, uncommitted)


def _refuse_other_group(place: Place[Any], stored: Checkpoint) -> None:
    """Refuse another group than the checkpoint's: two groups would each process all records of the topics."""
    known = stored.group or place.agent
    if stored.offset is not None and known != place.group:
        raise InputError(
            f"The state of agent {place.agent}, partition {place.tp.partition}, on {topology.STATE} goes with"
            f" the offsets of the group {known}; found {place.group}, from --group-prefix or"
            f" SIGHTLINE_GROUP_PREFIX. Start with the prefix {known.removesuffix(place.agent)!r}, or on"
            " topics of its own"
        )


async def _next_offset(
    place: Place[Any], stored: Checkpoint, committed: int | None, begin: int, *, accept_loss: bool
) -> tuple[int | None, bool]:
    """Offset after all processed records (None: there were none), and whether it must be committed again."""
    if stored.offset is None:
        if committed is None or CHECKPOINT_NAME in stored.lost:
            return committed, False
        return await _without_checkpoint(place, committed, begin, accept_loss=accept_loss), True
    if committed is None:
        return await _without_commit(place, stored.offset), True
    if stored.offset > committed:
        raise InputError(
            f"Agent {place.agent} has a state of {place} at offset {stored.offset}, but its group committed"
            f" {committed}; the two are written together. The offsets were reset: restore them, or start on a"
            " new broker."
        )
    return committed, False


def _cut_off(
    place: Place[Any], stored: Checkpoint, bounds: tuple[int, int], at: int, *, accept_loss: bool
) -> Standing:
    """Position if the log lost records at its end that were processed: the next record is at its new end."""
    begin, end = bounds
    if not (accept_loss and place.core.knows_repeats):
        raise InputError(
            f"{place} on {place.broker} ends at offset {end}, but was read up to {at}: its end was cut off,"
            " or this is another broker's log. Nothing was skipped. Use the log that these offsets belong to;"
            f" where it is this one and its end cannot be had back, {ACCEPT} goes on there with what is known"
            " of each device"
        )
    log.error("%s ends at offset %d, but was read up to %d; gone on at its end", place, end, at)
    known = min(stored.offset or 0, end)
    behind = place.loss(max(stored.offset or 0, end), at - 1, end, stored, state=True)
    unseen = behind if (stored.offset or 0) < at else None
    return Standing(replace(stored, offset=known), begin, end, None, True, unseen, moved=True)


def _remade(place: Place[Any], stored: Checkpoint) -> bool:
    """Whether the source topic was recreated, in a way that a core that knows repeats can continue with.

    InputError names the first topic whose log is otherwise another one, because its offsets mean other
    records.
    """
    remade = False
    for topic, log_id in place.logs.items():
        known = stored.logs.get(topic, LogId())
        if not log_id.other_than(known):
            continue
        if topic == place.tp.topic and log_id.cluster == known.cluster and place.core.knows_repeats:
            remade = True
            continue
        raise InputError(
            f"The state of agent {place.agent}, partition {place.tp.partition}, on {topology.STATE} was made "
            f"of another log of {topic}: found {log_id} on {place.broker}, expected {known}. The topic was "
            "deleted and made again, or this is another broker. Use the one that the state belongs to; "
            f"to begin anew with this one, delete {topology.STATE} too, and start again"
        )
    return remade


async def _of_another_log(place: Place[Any], stored: Checkpoint, begin: int) -> Standing:
    """Position in a recreated source: device states remain valid, and reading begins at `begin`."""
    known = stored.offset or 0
    _, told = await _told_by_lineage(place)
    first = max(known, told or 0)
    loss = place.loss(first, None, begin, stored)
    behind = place.loss(known, first - 1, begin, stored, state=True) if known < first else None
    return Standing(replace(stored, offset=begin), begin, begin, loss, True, behind, moved=True)


async def _without_commit(place: Place[Any], stored: int) -> int:
    """Next offset if the group lost its commit: that of the checkpoint or of lineage, whichever is later."""
    _, told = await _told_by_lineage(place)
    return max(stored, told or 0)


async def _without_checkpoint(
    place: Place[Any], committed: int, begin: int, *, accept_loss: bool
) -> int | None:
    """Next offset if there is a commit without a checkpoint; None if the agent never began.

    Either the state was deleted or a foreign consumer committed; lineage shows which.
    """
    written, told = await _told_by_lineage(place)
    if not written and committed <= begin:
        # The foreign commit skips no record.
        return None
    if not accept_loss:
        why = (
            f"its records were removed (`sightline topics --plan` says how {topology.STATE} differs)"
            if written
            else f"this agent has written nothing on {topology.LINEAGE} either, so somebody else committed"
        )
        raise InputError(
            f"The group {place.group} has committed offset {committed} of {place}, but"
            f" {topology.STATE} holds no checkpoint of it; the two are written together: {why}. Bring"
            f" {topology.STATE} back from a copy, or go on with {ACCEPT}: state is then made again of what"
            " the log still holds, and a batch from before that comes again counts as new"
        )
    at = (committed if told is None else told) if written else None
    log.error(
        "%s: no checkpoint was found on %s; gone on at offset %s with the state that the log still makes",
        place,
        topology.STATE,
        "0" if at is None else at,
    )
    return at


async def _told_by_lineage(place: Place[Any]) -> tuple[bool, int | None]:
    """Whether there is lineage of the agent for this partition, and the last committed offset in it."""
    told = await _told(place.broker, place.agent, place.tp.partition, place.wait_s)
    return told.written, told.offset


async def own_offset(
    broker: Broker, agent: str, tp: TopicPartition, commit: Commit | None, wait_s: float
) -> int | None:
    """Return the offset that an agent committed last, even if its group has a foreign commit; None if none.

    A commit without the agents' mark is an earlier release's if the agent's newest lineage holds no offset;
    if it holds another offset, the commit is foreign.
    """
    if commit is None or commit.ours:
        return None if commit is None else commit.offset
    told = await _told(broker, agent, tp.partition, wait_s)
    return told.offset if told.newest else commit.offset


@dataclass(slots=True)
class _Told:
    """What lineage shows of an agent's commits.

    `written`: there is lineage of the agent. `offset` is the last one that it holds; `newest` says whether
    the newest lineage record holds one.
    """

    written: bool = False
    offset: int | None = None
    newest: bool = False


async def _told(broker: Broker, agent: str, partition: int, wait_s: float) -> _Told:
    key, told = f"{agent}/{partition}".encode(), _Told()

    def learn(record: Received) -> None:
        if record.key == key:
            offset = dict(record.headers).get(NEXT) or b""
            told.written, told.newest = True, offset.isdigit() and len(offset) < 19
            if told.newest:
                # The last one counts, because earlier ones may refer to a log that was deleted.
                told.offset = int(offset)

    begin, end = (await log_bounds(broker, topology.LINEAGE, wait_s=wait_s))[partition]
    back, low = _LOOK_BACK_FIRST, end
    while low > begin and told.offset is None:
        low, back = max(begin, end - back), back * _LOOK_BACK_GROWTH
        await read_through(
            broker, topology.LINEAGE, learn, partition, from_offsets={partition: low}, wait_s=wait_s
        )
    return told


def telling(outputs: list[Outgoing], next_offset: int) -> list[Outgoing]:
    """Add the offset that a transaction commits to the last lineage record among its outputs."""
    for number in range(len(outputs) - 1, -1, -1):
        if outputs[number].topic == topology.LINEAGE:
            headers = [*outputs[number].headers, (NEXT, b"%d" % next_offset)]
            outputs[number] = replace_struct(outputs[number], headers=headers)
            break
    return outputs


async def refuse_losses(
    broker: Broker, agents: Iterable[AgentSpec], prefix: str = "", *, wait_s: float = WAIT_S_DEFAULT
) -> None:
    """Check all partitions for lost records before any is owned, to report them in one sentence.

    Only partitions without a commit, or with one before the beginning of the log, are examined closely.
    `prefix` is the prefix of the groups' names.

    Raises
    ------
    InputError
        Records are lost, or a partition cannot continue for another reason.
    UnavailableError
        The broker is absent.
    """
    lost: list[Loss] = []
    for spec in agents:
        agent, topic = spec.name, spec.topic
        every = await log_bounds(broker, topic, wait_s=wait_s)
        group = topology.group(agent, prefix)
        commits = await committed(broker, group, [topic], wait_s=wait_s)
        owns = {
            number: await own_offset(
                broker, agent, TopicPartition(topic, number), commits.get((topic, number)), wait_s
            )
            for number in every
        }
        doubtful = [number for number, own in owns.items() if (-1 if own is None else own) < every[number][0]]
        logs = await log_ids(broker, {topic, *topology.read_by(agent)}, wait_s=wait_s) if doubtful else {}
        for number in doubtful:
            place = Place(broker, agent, spec.core, TopicPartition(topic, number), logs, wait_s, group)
            standing = await look(place, owns[number], every[number], accept_loss=False)
            lost += [standing.loss] if standing.loss is not None else []
    if lost:
        raise InputError(refusal(broker, lost))


def refusal(broker: Broker, lost: Sequence[Loss]) -> str:
    """Return the sentence about lost records that were not skipped."""
    return (
        f"{removed(broker, lost)}. Nothing was skipped, and what was read before stands. If they cannot be"
        f" had back, {ACCEPT} goes on behind them and records them as missing"
    )


def removed(broker: Broker, lost: Sequence[Loss]) -> str:
    """Return how many records of which partition were lost."""
    known = sum(loss.records or 0 for loss in lost)
    counts = [f"{known:,} records"] * bool(known)
    counts += ["an unknown number of records"] * any(loss.records is None for loss in lost)
    parts = "; ".join(_said(loss) for loss in lost)
    return f"{broker}: {' and '.join(counts)} were removed before they were read ({parts})"


def _said(loss: Loss) -> str:
    since = f" since {clock.rfc3339_ms(loss.since_ms)}" if loss.since_ms else ""
    place = f"{loss.topic} partition {loss.partition}"
    if loss.records is None:
        return f"{place} was deleted and made again, whatever it held from offset {loss.first} on{since}"
    return f"{loss.records:,} of {place}, offsets {loss.first} to {loss.last}{since}"
