"""The way of a device's batches: journal, queue for consents, radio, Kafka."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from device_sim.device import Captured
from device_sim.files import Journal
from device_sim.held import Held
from device_sim.link import Link
from streams import clock
from streams.events.batch import Batch
from streams.events.codec import codec_of
from streams.events.headers import content_type_of
from streams.events.journal import Sent
from streams.events.kinds import Kinds
from streams.events.shipped import SHIPPED


class Outbox:
    """Sends the batches of one device.

    Guarantees: a batch is in the journal before it is sent. Batches reach the radio in the order of the
    journal, and none that names a consent whose change is not acknowledged.

    Parameters
    ----------
    journal, radio
        Journal and simulated radio of the device.
    send
        Receives what got through the radio; None: the journal notes it as arrived.
    kinds
        Kinds that the device captures.
    """

    def __init__(
        self,
        journal: Journal,
        radio: Link,
        send: Callable[[Sent], None] | None,
        kinds: Kinds = SHIPPED,
    ) -> None:
        self.journal, self._kinds = journal, kinds
        self._radio, self._send = radio, send
        self._held = Held()
        self._sent_ns: dict[str, int] = {}
        self._elapsed_ns = self._now_ns = 0

    @property
    def waiting(self) -> int:
        """Number of batches that wait for a consent."""
        return len(self._held)

    @property
    def held(self) -> int:
        """Number of batches that wait for a consent or for the radio."""
        return len(self._held) + self._radio.held

    @property
    def behind_kafka(self) -> int:
        """Number of batches that wait only for Kafka's acknowledgement of a consent, not for the radio."""
        return len(self._held) if self._held.awaited & self._sent_ns.keys() else 0

    def resend(self) -> list[Batch]:
        """Queue what an earlier run left unacknowledged, before anything new; return it decoded."""
        left = self.journal.earlier.unacknowledged
        decode = codec_of(self._kinds).decode
        batches = [decode(sent.value, 0, content_type=content_type_of(sent.headers)) for sent in left]
        for sent, batch in zip(left, batches, strict=True):
            self._held.add(sent, batch)
        return batches

    def write(self, captured: Iterable[Captured], sent_ns: int) -> None:
        """Append batches to the journal and the queue."""
        for each in captured:
            self._held.add(self.journal.write(each, sent_ns), each.batch)

    def forward(self, elapsed_ns: int, now_ns: int) -> None:
        """Send what may be sent `elapsed_ns` after the device's start, when its clock shows `now_ns`."""
        self._elapsed_ns, self._now_ns = elapsed_ns, now_ns
        self._let_out()

    def drain(self) -> None:
        """Send all that the radio holds; it has no more faults from now on."""
        self._hand_over(self._radio.drain())
        self._let_out()

    def acknowledged(self, sent: Sent, partition: int, offset: int, appended_ns: int | None) -> None:
        """Note that Kafka has a batch, with its append time (None: unknown)."""
        acked_ns = clock.now_ns()
        self.journal.acknowledged(
            sent.id,
            partition,
            offset,
            self._sent_ns.pop(sent.id, acked_ns),
            acked_ns,
            acked_ns if appended_ns is None else appended_ns,
        )
        self._held.acknowledged(sent.id)
        self._let_out()

    def _let_out(self) -> None:
        while through := self._radio.pass_on(self._held.free(), self._elapsed_ns):
            self._hand_over(through)

    def _hand_over(self, through: Iterable[Sent]) -> None:
        for sent in through:
            if self._send is None:
                self.journal.arrived(sent.id, self._now_ns)
                self._held.acknowledged(sent.id)
            else:
                self._sent_ns[sent.id] = clock.now_ns()
                self._send(sent)
