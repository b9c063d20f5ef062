"""What several glasses share on their way to Kafka: one link, and a journal and an outbox for each device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from device_sim.device import Captured, Past
from device_sim.files import Journal
from device_sim.incarnations import next_incarnations
from device_sim.kafka import BUFFER_BATCHES_MAX, KafkaLink
from device_sim.link import Link
from device_sim.outbox import Outbox
from streams.connection.settings import Broker
from streams.events.batch import Batch
from streams.events.journal import Sent

FLUSH_WAIT_S = 10.0


class Gateway:
    """The way of some devices to Kafka, or into their journals alone; close it.

    Guarantees: a batch is in the journal before it is sent; batches of a device reach its radio in the order
    of the journal, those that an earlier run left unacknowledged first, and none that names a consent before
    Kafka has the change that recorded it. A device whose journal is new and which the broker knows begins a
    new incarnation.

    Parameters
    ----------
    broker
        `host:port`; None: what gets through a radio has arrived.
    partitions
        Of the topics.
    journals
        Directory of the journals, which this process alone writes to until `close`.
    radios
        By name of the device.
    on_answer
        Called with the value of each answer record that is written while it is open.

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
    ) -> None:
        self._link: KafkaLink | None = None
        if broker is not None:
            self._link = KafkaLink(broker, partitions, list(radios), self._acknowledged, on_answer)
        self._outboxes: dict[str, Outbox] = {}
        try:
            for name, radio in radios.items():
                send = None if self._link is None else self._link.send
                self._outboxes[name] = Outbox(Journal(journals, name), radio, send)
        except BaseException:
            self.close_journals()
            raise

    @property
    def live(self) -> bool:
        """Whether there is a broker."""
        return self._link is not None

    def past(self, device: str) -> Past:
        """What a device's journal says of its life so far."""
        return self._outboxes[device].journal.earlier.past

    def path(self, device: str) -> Path:
        """Path of a device's journal."""
        return self._outboxes[device].journal.path

    async def start(self) -> dict[str, int]:
        """Reach the broker; return the incarnations of those devices that begin one.

        Raises
        ------
        UnavailableError
            No broker, or not its topics, within 10 s; or its consents could not be read whole.
        InputError
            The topics have another partition count, the broker's address is none, or a device has no
            incarnation left.
        """
        if self._link is None:
            return {}
        await self._link.start()
        new = [name for name in self._outboxes if not self.past(name).next_numbers]
        return await next_incarnations(self._link, new) if new else {}

    def resend(self, device: str) -> list[Batch]:
        """Take what an earlier run left unacknowledged, in front of all that is new; return it decoded."""
        return self._outboxes[device].resend()

    def write(self, device: str, captured: Iterable[Captured], sent_ns: int) -> None:
        """Put batches into a device's journal and behind what waits."""
        self._outboxes[device].write(captured, sent_ns)

    def forward(self, device: str, elapsed_ns: int, now_ns: int) -> None:
        """Let out what may leave `elapsed_ns` after the device's start, when its clock shows `now_ns`."""
        self._outboxes[device].forward(elapsed_ns, now_ns)

    def drain(self, device: str) -> None:
        """Let out all that a device's radio holds: it is well from now on."""
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
        """Return once a device may capture more; errors of the link that end it are raised."""
        if self._link is not None:
            await self._link.until(self._has_room)

    def _has_room(self) -> bool:
        # What only a radio can free does not count: its time is the device's, which would stand still.
        waiting = sum(outbox.behind_kafka for outbox in self._outboxes.values())
        return self.under_way + waiting < BUFFER_BATCHES_MAX

    async def flush(self, timeout_s: float) -> int:
        """Wait for everything, at most `timeout_s` seconds; return how many batches are left."""
        if self._link is None:
            return 0
        # What waits for a consent goes out as soon as that is acknowledged, so this waits for it too.
        sent = await self._link.flush(timeout_s)
        return sent + sum(outbox.waiting for outbox in self._outboxes.values())

    async def close(self) -> None:
        """Stop sending and hearing, and let go of the journals; what is unacknowledged is in them."""
        try:
            if self._link is not None:
                await self._link.close()
        finally:
            self.close_journals()

    def close_journals(self) -> None:
        """Let go of the journals of a gateway that was not started; `close` does so too."""
        for outbox in self._outboxes.values():
            outbox.journal.close()

    def _acknowledged(self, sent: Sent, partition: int, offset: int, appended_ns: int | None) -> None:
        self._outboxes[sent.key.decode()].acknowledged(sent, partition, offset, appended_ns)
