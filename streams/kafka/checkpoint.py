"""An agent's state on `glasses.state`: what it is called there, how it is written and read back.

Keys are `agent/partition/name`, in the partition of the source partition's number. `agent/partition/@checkpoint` holds the offset
up to which the state has seen the source; everything between it and the committed offset is run again silently by a new owner.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from streams import topology
from streams.errors import InputError
from streams.events.record import Outgoing
from streams.kafka.reader import read_all

log = logging.getLogger(__name__)

CHECKPOINT_NAME = "@checkpoint"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State entries by name, and the next source offset after the state; `offset` is None when none was ever written."""

    entries: Mapping[str, bytes]
    offset: int | None


def outputs(agent: str, partition: int, entries: Mapping[str, bytes], next_offset: int, timestamp_ms: int) -> list[Outgoing]:
    """Return the records that store `entries` as of `next_offset`, to be written in the transaction that commits it."""
    checkpoint = orjson.dumps({"offset": next_offset})
    return [
        Outgoing(topology.STATE, partition, f"{agent}/{partition}/{name}".encode(), value, (), timestamp_ms)
        for name, value in (*entries.items(), (CHECKPOINT_NAME, checkpoint))
    ]


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
    entries: dict[str, bytes] = {}
    for record in await read_all(broker, topology.STATE, partition, wait_s=wait_s):
        if record.key is None or not record.key.startswith(prefix):
            continue
        try:
            name = record.key[len(prefix):].decode()
        except UnicodeDecodeError:
            log.error("%s partition %d offset %d is passed over: its key is none of ours", topology.STATE, partition, record.offset)  # noqa: TRY400
            continue
        if record.value is None:
            entries.pop(name, None)
        else:
            entries[name] = record.value
    stored = entries.pop(CHECKPOINT_NAME, None)
    if stored is None:
        return Checkpoint(entries, None)
    try:
        return Checkpoint(entries, int(orjson.loads(stored)["offset"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        raise InputError(
            f"The checkpoint of agent {agent}, partition {partition}, on {topology.STATE} is {len(stored)} bytes of something else; "
            "expected {\"offset\": number}. Something else wrote to this topic: find out what before starting again."
        ) from None
