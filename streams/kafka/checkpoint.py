"""An agent's state on `glasses.state`: what it is called there, how it is written and read back.

Keys are `agent/partition/name`, in the partition of the source partition's number.
`agent/partition/@checkpoint` holds the offset up to which the state has seen the source; everything between
it and the committed offset is run again silently by a new owner. An entry that no record holds is cut: the
first part, under its name, says in a header how many there are, the others are `name#1`, `name#2`, ... All
parts are written in one transaction, so they always belong together.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import orjson

from streams import limits, metrics, topology
from streams.errors import InputError
from streams.events.record import Headers, Outgoing, Received
from streams.kafka.reader import read_all

log = logging.getLogger(__name__)

CHECKPOINT_NAME = "@checkpoint"
PARTS, _PART_MARK = "sightline-parts", "#"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State entries by name, and the next source offset after the state.

    `offset` is None when none was ever written.
    """

    entries: Mapping[str, bytes]
    offset: int | None


def outputs(
    agent: str, partition: int, entries: Mapping[str, bytes], next_offset: int, timestamp_ms: int
) -> list[Outgoing]:
    """Return the records that store `entries` as of `next_offset`.

    They are to be written in the transaction that commits it.
    """
    checkpoint = orjson.dumps({"offset": next_offset})
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
    ]


def _parts(name: str, whole: bytes) -> Iterator[tuple[str, bytes, Headers]]:
    size = limits.STATE_RECORD_BYTES_MAX
    count = max(1, -(-len(whole) // size))
    yield name, whole[:size], () if count == 1 else ((PARTS, b"%d" % count),)
    for number in range(1, count):
        yield f"{name}{_PART_MARK}{number}", whole[number * size : (number + 1) * size], ()


def _joined(
    agent: str, partition: int, values: Mapping[str, bytes], counts: Mapping[str, int]
) -> dict[str, bytes]:
    """Entries whole again. Parts that a longer value left behind are not looked at."""
    try:
        return {
            name: b"".join(
                (value, *(values[f"{name}{_PART_MARK}{number}"] for number in range(1, counts[name])))
            )
            for name, value in values.items()
            if _PART_MARK not in name
        }
    except KeyError:
        raise InputError(
            f"The state of agent {agent}, partition {partition}, on {topology.STATE} lacks a part of an "
            "entry. Something removed records of this topic: find out what before starting again."
        ) from None


async def load(broker: str, agent: str, partition: int, *, wait_s: float) -> Checkpoint:
    """Read the latest entries of one partition of one agent, up to the uncommitted end of `glasses.state`.

    Raises
    ------
    InputError
        The stored checkpoint offset cannot be read.
    UnavailableError
        The broker is absent for `wait_s` seconds.
    """
    prefix = f"{agent}/{partition}/".encode()
    values: dict[str, bytes] = {}
    counts: dict[str, int] = {}
    for record in await read_all(broker, topology.STATE, partition, wait_s=wait_s):
        if record.key is None or not record.key.startswith(prefix):
            continue
        try:
            name = record.key[len(prefix) :].decode()
        except UnicodeDecodeError:
            log.error(  # noqa: TRY400
                "%s partition %d offset %d is passed over: its key is none of ours",
                topology.STATE,
                partition,
                record.offset,
            )
            continue
        if record.value is None:
            values.pop(name, None)
        else:
            values[name], counts[name] = record.value, _count(record)
    entries = _joined(agent, partition, values, counts)
    stored = entries.pop(CHECKPOINT_NAME, None)
    if stored is None:
        return Checkpoint(entries, None)
    try:
        return Checkpoint(entries, int(orjson.loads(stored)["offset"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        raise InputError(
            f"The checkpoint of agent {agent}, partition {partition}, on {topology.STATE} is {len(stored)} "
            'bytes of something else; expected {"offset": number}. Something else wrote to this topic: '
            "find out what before starting again."
        ) from None


def _count(record: Received) -> int:
    found = dict(record.headers).get(PARTS, b"1")
    return int(found) if found is not None and found.isdigit() and len(found) < 4 else 1
