"""An agent's state on `glasses.state`: its keys, and how it is written and read back.

Keys are `agent/partition/name`, in the partition with the number of the source partition.
`agent/partition/@checkpoint` holds the source offset up to which records are included in the state, and the
ids of the logs that the agent reads. A new owner runs the records from there to the committed offset again,
silently. An entry that is too large for one record is divided: the first part has the entry's name and the
number of parts in a header, the others are `name#1`, `name#2`, ... All parts are written in one transaction,
so they always belong together.

The topic is not trusted: entries that cannot be read are listed in `Checkpoint.lost`, and
`streams.kafka.restore` reports and rebuilds them.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
import orjson
from msgspec import Meta, Struct

from streams import limits, metrics, topology
from streams.events.record import Headers, LogId, Outgoing, Received
from streams.kafka.reader import read_through
from streams.settings.kafka import Broker

log = logging.getLogger(__name__)

CHECKPOINT_NAME = "@checkpoint"
PARTS, _PART_MARK = "sightline-parts", "#"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State entries by name, and the next source offset after the state.

    `offset` is None if none was ever written, or if it cannot be read. `lost` has the names of entries that
    are incomplete; in the second case it contains CHECKPOINT_NAME. `logs` are the ids of the logs that the
    state was made from, by topic, and `group` is the consumer group of `offset`; both are empty if an earlier
    release wrote the checkpoint. `seen_ms` is the append time of the last record that the state includes (ms
    since the epoch), 0 if there is none.
    """

    entries: Mapping[str, bytes]
    offset: int | None
    lost: frozenset[str] = frozenset()
    logs: Mapping[str, LogId] = field(default_factory=dict)
    seen_ms: int = field(default=0, compare=False)
    group: str = field(default="", compare=False)


class Entries(Mapping[str, bytes]):
    """Entries as they were read. They are many and each is used once, so they are compressed until then."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._counts: dict[str, int] = {}

    def learn(self, name: str, value: bytes | None, count: int) -> None:
        """Set the newest value of a part; None removes it. `count` is the number of parts in its header."""
        self._counts.pop(name, None)
        if value is None:
            self._values.pop(name, None)
            return
        self._values[name] = zlib.compress(value, 1)
        if count > 1:
            self._counts[name] = count

    def whole(self, name: str) -> bool:
        """Whether all parts of an entry are there. Surplus parts of an earlier, longer value are ignored."""
        return all(f"{name}{_PART_MARK}{number}" in self._values for number in self._later(name))

    def _later(self, name: str) -> range:
        return range(1, self._counts.get(name, 1))

    def __getitem__(self, name: str) -> bytes:
        if _PART_MARK in name:
            raise KeyError(name)
        names = (name, *(f"{name}{_PART_MARK}{number}" for number in self._later(name)))
        return b"".join(zlib.decompress(self._values[part]) for part in names)

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._values if _PART_MARK not in name)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def outputs(
    agent: str,
    partition: int,
    entries: Mapping[str, bytes],
    next_offset: int,
    timestamp_ms: int,
    gone: Iterable[str] = (),
    logs: Mapping[str, LogId] | None = None,
    group: str = "",
) -> list[Outgoing]:
    """Return the records that store `entries` as of `next_offset`, and that remove the entries `gone`.

    They must be written in the transaction that commits `next_offset` in `group`. `logs` are the logs that
    the agent reads.
    """
    ids = {topic: [log_id.cluster, log_id.topic] for topic, log_id in (logs or {}).items()}
    checkpoint = orjson.dumps({"offset": next_offset, "logs": ids, "group": group})
    metrics.count("state_entries_total", len(entries), agent=agent)
    metrics.count("state_written_bytes_total", sum(map(len, entries.values())), agent=agent)
    metrics.highest("state_bytes_max", max(map(len, entries.values()), default=0), agent=agent)
    return [
        Outgoing(
            topology.STATE,
            partition,
            f"{agent}/{partition}/{part_name}".encode(),
            value,
            headers,
            timestamp_ms,
        )
        for name, whole in (*entries.items(), (CHECKPOINT_NAME, checkpoint))
        for part_name, value, headers in _parts(name, whole)
    ] + [
        Outgoing(topology.STATE, partition, f"{agent}/{partition}/{name}".encode(), None, (), timestamp_ms)
        for name in sorted(gone)
    ]


def _parts(name: str, whole: bytes) -> Iterator[tuple[str, bytes, Headers]]:
    size = limits.STATE_RECORD_BYTES_MAX
    count = max(1, -(-len(whole) // size))
    yield name, whole[:size], () if count == 1 else ((PARTS, b"%d" % count),)
    for number in range(1, count):
        yield f"{name}{_PART_MARK}{number}", whole[number * size : (number + 1) * size], ()


async def load(broker: Broker, agent: str, partition: int, *, wait_s: float) -> Checkpoint:
    """Read the latest entries of one partition of one agent, up to the uncommitted end of `glasses.state`.

    Raises
    ------
    UnavailableError
        The broker is absent for `wait_s` seconds.
    """
    prefix = f"{agent}/{partition}/".encode()
    entries, times = Entries(), {"ms": 0}

    def learn(record: Received) -> None:
        if record.key is None or not record.key.startswith(prefix):
            return
        try:
            name = record.key[len(prefix) :].decode()
        except UnicodeDecodeError:
            metrics.count("state_refused_total", agent=agent)
            log.error(  # noqa: TRY400
                "%s partition %d offset %d is passed over: its key is none of ours",
                topology.STATE,
                partition,
                record.offset,
            )
            return
        entries.learn(name, record.value, _count(record))
        if name == CHECKPOINT_NAME:
            times["ms"] = max(record.timestamp, 0)

    await read_through(broker, topology.STATE, learn, partition, wait_s=wait_s)
    lost = {name for name in entries if not entries.whole(name)}
    offset, logs, group = None, dict[str, LogId](), ""
    if CHECKPOINT_NAME in entries and CHECKPOINT_NAME not in lost:
        try:
            checkpoint = msgspec.json.decode(entries[CHECKPOINT_NAME], type=_Stored)
        except msgspec.MsgspecError:
            lost.add(CHECKPOINT_NAME)
        else:
            offset, group = checkpoint.offset, checkpoint.group
            logs = {topic: LogId(*ids) for topic, ids in checkpoint.logs.items()}
    for name in {*lost, CHECKPOINT_NAME}:
        entries.learn(name, None, 1)
    return Checkpoint(entries, offset, frozenset(lost), logs, 0 if offset is None else times["ms"], group)


class _Stored(Struct, frozen=True):
    """Content of a checkpoint; earlier releases wrote no logs, or no group."""

    offset: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    logs: dict[str, tuple[str, str]] = {}
    group: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]*$", max_length=limits.GROUP_CHARACTERS_MAX)] = ""


def _count(record: Received) -> int:
    parts = dict(record.headers).get(PARTS, b"1")
    return int(parts) if parts is not None and parts.isdigit() and len(parts) < 4 else 1
