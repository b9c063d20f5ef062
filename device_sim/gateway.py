"""The way of several devices to Kafka: one common connection, and a journal and an outbox for each device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from device_sim.device import Captured, Past
from device_sim.files import Journal
from device_sim.incarnations import next_incarnations
from device_sim.kafka import BUFFER_BATCHES_MAX, KafkaLink
from device_sim.link import Link
from device_sim.outbox import Outbox
from streams.events.batch import Batch
from streams.events.journal import Sent
from streams.events.kinds import Kinds
from streams.events.shipped import SHIPPED
from streams.settings.kafka import Broker

FLUSH_WAIT_S = 10.0


class Gateway:
    """Sends the batches of several devices to Kafka, or only to their journals. It must be closed.

    Guarantees: a batch is in the journal before it is sent. Batches of a device reach its radio in the order
    of the journal, beginning with those that an earlier run left unacknowledged. A batch that names a consent
    is not sent before Kafka has the change that recorded the consent. A device that the broker knows, but
    whose journal is new, begins a new incarnation.

    Parameters
    ----------
    broker
        `host:port`; None: a batch has arrived when it gets through the radio.
    partitions
        Partition count of the topics.
    journals
        Directory of the journals, locked by this process until `close`.
    radios
        Simulated radios by name of the device.
    on_answer
        Called with the value of each answer record that is written while the gateway is open.
    kinds
        Kinds that the devices capture.
    on_notice
        Called with the value of each record of `glasses.notices`, also of those from before.

    Raises
    ------
    InputError
        A file is no journal, or the directory cannot be written.
    UnavailableError
        Another process has a journal open.
    """

    def __init__(
        self,
        broker: Broker | None,
        partitions: int,
        journals: Path,
        radios: Mapping[str, Link],
        on_answer: Callable[[bytes | None], None],
        kinds: Kinds = SHIPPED,
        on_notice: Callable[[bytes | None], None] = lambda _value: None,
    ) -> None:
        self._link: KafkaLink | None = None
        if broker is not None:
            self._link = KafkaLink(broker, partitions, list(radios), self._acknowledged, on_answer, on_notice)
        self._outboxes: dict[str, Outbox] = {}
        try:
            for name, radio in radios.items():
                send = None if self._link is None else self._link.send
                self._outboxes[name] = Outbox(Journal(journals, name, kinds), radio, send, kinds)
        except BaseException:
            self.close_journals()
            raise

    @property
    def live(self) -> bool:
        """Whether there is a broker."""
        return self._link is not None

    def past(self, device: str) -> Past:
        """State of a device from its journal."""
        return self._outboxes[device].journal.earlier.past

    def path(self, device: str) -> Path:
        """Path of a device's journal."""
        return self._outboxes[device].journal.path

    async def start(self) -> dict[str, int]:
        """Connect to the broker; return the incarnations of devices that begin a new one.

        Raises
        ------
        UnavailableError
            The broker or its topics are not available within 10 s; or its consents could not all be read.
        InputError
            The topics have another partition count, the broker's address is invalid, or a device has used all
            incarnations.
        """
        if self._link is None:
            return {}
        await self._link.start()
        new = [name for name in self._outboxes if not self.past(name).next_numbers]
        return await next_incarnations(self._link, new) if new else {}

    def resend(self, device: str) -> list[Batch]:
        """Queue what an earlier run left unacknowledged, before anything new; return it decoded."""
        return self._outboxes[device].resend()

    def write(self, device: str, captured: Iterable[Captured], sent_ns: int) -> None:
        """Append batches to a device's journal and queue."""
        self._outboxes[device].write(captured, sent_ns)

    def forward(self, device: str, elapsed_ns: int, now_ns: int) -> None:
        """Send what may be sent `elapsed_ns` after the device's start, when its clock shows `now_ns`."""
        self._outboxes[device].forward(elapsed_ns, now_ns)

    def drain(self, device: str) -> None:
        """Send all that a device's radio holds; the radio has no more faults from now on."""
        self._outboxes[device].drain()

    @property
    def left(self) -> int:
        """Batches that earlier runs left unacknowledged."""
        return sum(len(outbox.journal.earlier.unacknowledged) for outbox in self._outboxes.values())

    @property
    def held(self) -> int:
        """Batches that have not left their device."""
        return sum(outbox.held for outbox in self._outboxes.values())

    @property
    def under_way(self) -> int:
        """Batches that left their device and are not acknowledged."""
        return 0 if self._link is None else self._link.unacknowledged

    async def room(self) -> None:
        """Wait until a device may capture more; fatal errors of the connection are raised."""
        if self._link is not None:
            await self._link.until(self._has_room)

    def _has_room(self) -> bool:
        # Batches that wait for a radio do not count: it works in device time, which stops during this wait.
        waiting = sum(outbox.behind_kafka for outbox in self._outboxes.values())
        return self.under_way + waiting < BUFFER_BATCHES_MAX

    async def flush(self, timeout_s: float) -> int:
        """Wait until all batches are acknowledged, at most `timeout_s` seconds; return how many are not."""
        if self._link is None:
            return 0
        # Batches that wait for a consent are sent when it is acknowledged, so this waits for them too.
        sent = await self._link.flush(timeout_s)
        return sent + sum(outbox.waiting for outbox in self._outboxes.values())

    async def close(self) -> None:
        """Disconnect and close the journals, which have the unacknowledged batches."""
        try:
            if self._link is not None:
                await self._link.close()
        finally:
            self.close_journals()

    def close_journals(self) -> None:
        """Close the journals of a gateway that was not started; `close` does this too."""
        for outbox in self._outboxes.values():
            outbox.journal.close()

    def _acknowledged(self, sent: Sent, partition: int, offset: int, appended_ns: int | None) -> None:
        self._outboxes[sent.key.decode()].acknowledged(sent, partition, offset, appended_ns)
