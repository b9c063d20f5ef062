"""Find the incarnations of a device that a broker knows: a device without counters needs a new one."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

import orjson

from streams import clock, topology
from streams.errors import InputError, MalformedError, UnavailableError
from streams.events.identity import EventId, incarnation_of
from streams.events.record import Received

if TYPE_CHECKING:
    from device_sim.kafka import KafkaLink

INCARNATION_MAX = 999_999  #: a stream's name has six digits for it
LOOK_WAIT_S = 10.0

log = logging.getLogger(__name__)


def named(stream: str, incarnation: int) -> str:
    """Name of a stream with the incarnation of its device."""
    return f"{stream}~{incarnation}" if incarnation > 1 else stream


class Incarnations:
    """Highest known incarnation of each device; records may be added in any order."""

    def __init__(self, devices: Iterable[str]) -> None:
        self._highest = dict.fromkeys(devices, 0)

    @property
    def devices(self) -> list[str]:
        """Names of the devices."""
        return list(self._highest)

    def captured(self, record: Received) -> None:
        """Add a record of `glasses.captured`; its key alone shows that the broker knows the device."""
        device = (record.key or b"").decode("utf-8", "replace")
        if device in self._highest:
            self._learn(device, *(value for name, value in record.headers if name == "ce_id"))
            self._highest[device] = max(self._highest[device], 1)

    def consent(self, record: Received) -> None:
        """Add a record of `glasses.consents`, which names the event that it was made from."""
        try:
            event = orjson.loads(record.value or b"")["event"]
            device = event.partition("/")[0]
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return
        if device in self._highest:
            self._learn(device, event.encode())

    def next(self, device: str) -> int:
        """Incarnation for a device that has lost its counters; InputError if there is none left."""
        following = self._highest[device] + 1
        if following > INCARNATION_MAX:
            raise InputError(
                f"--journal: found none of {device}, whose incarnations on the broker have reached"
                f" {INCARNATION_MAX}, the last there is; name the journal that it wrote, or another broker."
            )
        return following

    def _learn(self, device: str, *ids: bytes) -> None:
        for text in ids:
            try:
                event = EventId.parse(text.decode("utf-8", "replace"))
            except MalformedError:
                continue
            if event.source == device:
                self._highest[device] = max(self._highest[device], incarnation_of(event.stream))


async def next_incarnations(link: KafkaLink, devices: Iterable[str]) -> dict[str, int]:
    """Incarnation for each device without a journal: 1 if the broker does not know the device.

    Reads all consents and, as far as possible in LOOK_WAIT_S, the devices' partitions of `glasses.captured`;
    logs a warning if the time was too short.

    Raises
    ------
    InputError
        A device has used all incarnations.
    UnavailableError
        The consents could not all be read.
    """
    known = Incarnations(devices)
    until_s = clock.monotonic_s() + LOOK_WAIT_S
    if await link.look(topology.CONSENTS, 0, known.consent, until_s):
        raise UnavailableError(
            f"{topology.CONSENTS} on {link.broker} could not be read whole within {LOOK_WAIT_S:g} s, so it is"
            f" not known whether {', '.join(known.devices)}, of which there is no journal, were here before."
            " Try again, or name with --journal the one that they wrote."
        )
    for partition in sorted({link.partition(device.encode()) for device in known.devices}):
        left = await link.look(topology.CAPTURED, partition, known.captured, until_s)
        if left:
            log.warning(
                "the oldest %d records of %s partition %d were not looked at within %g s: a device that"
                " stands only there, and never changed a consent, uses its numbers again",
                left,
                topology.CAPTURED,
                partition,
                LOOK_WAIT_S,
            )
    return {device: known.next(device) for device in known.devices}
