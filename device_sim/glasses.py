"""A client for real devices: it numbers samples, writes them to a journal and sends them to Kafka.

The simulator uses the same `Gateway`, with samples from a scenario.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from msgspec.structs import replace

from device_sim.device import Captured
from device_sim.files import read_answer, read_notice
from device_sim.gateway import FLUSH_WAIT_S, Gateway
from device_sim.incarnations import named
from device_sim.link import NONE, Link
from device_sim.own_consent import GIVEN, KIND, WITHDRAWN, OwnConsent, acknowledgement
from streams import clock, topology
from streams.errors import InputError, MalformedError, UnavailableError
from streams.events import codec
from streams.events.batch import Batch, Context
from streams.events.identity import NAME_PATTERN
from streams.events.kinds import Kinds
from streams.events.runs import Run
from streams.events.shipped import SHIPPED
from streams.settings.kafka import Broker

#: Context of a device that has not reported any.
QUIET_HOME = Context("home", "nobody", minor_near=False, capture_light=False, worn=True, consent=0)
CONSENT_STREAM = "consent-change"


class Glasses:
    """One device of a wearer, for programs with samples of their own; use it in `async with`.

    An operator must have paired device and wearer (`sightline pair`), or all batches are rejected.

    Delivery guarantee: at least once. When `send` returns, the batch is in the journal and on its way.
    Batches that are not acknowledged when the process ends are sent first by the next process that opens the
    journal. A batch may arrive twice, which the pipeline detects. Numbers of a stream have no holes, even
    across restarts. No batch that names a consent is sent before Kafka has the change that recorded it.

    Parameters
    ----------
    broker
        `host:port`.
    device_id, wearer_id
        Lower-case letters, digits and hyphens.
    journal
        Directory of the device's journal, which must be kept: numbers continue from it. A device without a
        journal that the broker knows begins a new incarnation.
    context
        The wearer's surroundings; call `around` when they change. Its consent is ignored: events name the
        newest consent that was given here. Default: the last context in the journal, or a quiet home.
    on_answer
        Called with the number of the query and the intent of each answer to this device.
    on_notice
        Called with the version and the sentences of each notice that the wearer has not been shown here. Show
        it, and `acknowledge` it.
    partitions
        Partition count of the topics; another count on the broker is refused.
    kinds
        Kinds that it may capture; `streams.events.extensions.extended(["my_glasses"])` returns the shipped
        kinds and those of a package.

    Raises
    ------
    InputError
        A name is malformed, the file is no journal, or the directory cannot be written.
    UnavailableError
        Another process has the journal open.
    """

    def __init__(
        self,
        broker: Broker,
        device_id: str,
        wearer_id: str,
        journal: Path,
        *,
        context: Context | None = None,
        on_answer: Callable[[int, str], None] = lambda _number, _intent: None,
        on_notice: Callable[[str, Sequence[str]], None] = lambda _version, _lines: None,
        partitions: int = topology.PARTITIONS_DEFAULT,
        kinds: Kinds = SHIPPED,
    ) -> None:
        for parameter, name in (("device_id", device_id), ("wearer_id", wearer_id)):
            if NAME_PATTERN.fullmatch(name) is None:
                raise InputError(f"{parameter}: found no name; expected lower-case letters, digits, hyphens.")
        self.broker, self.device_id, self.wearer_id = broker, device_id, wearer_id
        self._on_answer, self._on_notice, self._kinds = on_answer, on_notice, kinds
        radios = {device_id: Link(NONE, 0, device_id)}
        self._gateway = Gateway(broker, partitions, journal, radios, self._heard, kinds, self._notified)
        past = self._gateway.past(device_id)
        self._next = dict(past.next_numbers)
        self._began_ns, self._last_ns = past.last_capture_ns, dict[str, int]()
        self._incarnation, self._session = past.incarnation, past.sessions
        self._in_session = False
        self._context = context or past.context or QUIET_HOME
        self.consent = past.consents.get(wearer_id, OwnConsent())

    async def __aenter__(self) -> Glasses:
        try:
            begun = await self._gateway.start()
        except BaseException:
            await self._gateway.close()
            raise
        self._incarnation = begun.get(self.device_id, self._incarnation)
        self._gateway.resend(self.device_id)
        self._forward()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await self.flush()
        finally:
            await self._gateway.close()

    def around(self, context: Context) -> None:
        """Set the context of all events from now on."""
        self._context = context

    async def send(
        self,
        kind: str,
        columns: Mapping[str, Sequence[Any]],
        *,
        stream: str = "",
        dt_ns: int = 0,
        t0_ns: int | None = None,
    ) -> Batch:
        """Send one batch of events; return it.

        Parameters
        ----------
        kind
            One of its `kinds` (docs/topics.md has the shipped ones), captured by a device, but not a change
            of consent.
        columns
            The columns of that kind: one sequence each, with one value per event, all of the same length.
        stream
            Name of the stream; default: derived from the kind.
        dt_ns
            Nanoseconds from one event to the next.
        t0_ns
            Capture time of the first event, ns since the Unix epoch. Default: the last event is captured now.

        Raises
        ------
        InputError
            The pipeline would refuse the batch (an unknown kind, a missing column, invalid values), or it was
            captured before earlier events of its stream. Nothing is then journalled or sent, and no number is
            used.
        """
        if kind == KIND:
            raise InputError(f"kind: found {KIND}, expected what a sensor or a wearer does; `give` sends it.")
        if not self._in_session:
            self._session += 1
            self._in_session = True
        return await self._send(kind, stream or kind.replace("_", "-"), columns, dt_ns, t0_ns)

    async def give(self, *purposes: str, expires_ns: int | None = None) -> Batch:
        """Record that the wearer consents to these purposes only; without any, a withdrawal.

        Later events name this consent, and are sent when Kafka has it. `expires_ns` is since the Unix epoch.
        What is given names the notice that was acknowledged last, if there is one.

        InputError if a purpose is malformed, or if the consent would already be expired.
        """
        if expires_ns is not None and expires_ns <= self.earliest_ns(CONSENT_STREAM):
            raise InputError(
                "expires_ns: found a time that is past for the device; expected one after the consent is"
                " given."
            )
        status = GIVEN if purposes else WITHDRAWN
        columns: dict[str, list[Any]] = {
            "consent": [self.consent.number + 1],
            "status": [status],
            "purposes": [" ".join(purposes)],
            "principal": [None],
            "expires_ns": [expires_ns],
            **self.consent.under(status),
        }
        batch = await self._send(KIND, CONSENT_STREAM, columns)
        self.consent = self.consent.after(batch)
        return batch

    async def acknowledge(self, version: str) -> Batch:
        """Say that the wearer was shown a notice that `on_notice` brought; consents are given under it then.

        The pipeline rejects it if that notice was not delivered to this device, or is acknowledged already.
        InputError if `version` is no word.
        """
        batch = await self._send(KIND, CONSENT_STREAM, acknowledgement(version))
        self.consent = self.consent.after(batch)
        return batch

    async def flush(self, timeout_s: float = FLUSH_WAIT_S) -> None:
        """Wait until Kafka has acknowledged everything; UnavailableError if it does not in time."""
        if left := await self._gateway.flush(timeout_s):
            raise UnavailableError(
                f"{self.broker} did not acknowledge everything that {self.device_id} sent within"
                f" {timeout_s:g} s. What is left ({left:,}) is in {self._gateway.path(self.device_id)}, and"
                " whoever opens that next sends it."
            )

    def close_journal(self) -> None:
        """Close the journal of an object that was not used in `async with`."""
        self._gateway.close_journals()

    def earliest_ns(self, stream: str, before_ns: int = 0) -> int:
        """Earliest capture time for the next event of a stream, in ns since the Unix epoch.

        It is `before_ns` before now, but after all earlier events of the stream, so that capture times never
        decrease, whatever the clock does.
        """
        last_ns = self._last_ns.get(stream, self._began_ns)
        return max(clock.now_ns() - before_ns, last_ns + 1_000_000)

    async def _send(
        self,
        kind: str,
        stream: str,
        columns: Mapping[str, Sequence[Any]],
        dt_ns: int = 0,
        t0_ns: int | None = None,
    ) -> Batch:
        await self._gateway.room()
        # No await from here on until the number is used, so no other task can use it.
        batch = self._batch(kind, named(stream, self._incarnation), columns, dt_ns, t0_ns)
        self._next[batch.stream] = batch.run.first + batch.run.count
        self._last_ns[batch.stream] = batch.last_ns
        self._gateway.write(self.device_id, [Captured(batch, ())], clock.now_ns())
        self._forward()
        return batch

    def _batch(
        self, kind: str, stream: str, columns: Mapping[str, Sequence[Any]], dt_ns: int, t0_ns: int | None
    ) -> Batch:
        # For a batch without values, the check below raises the error.
        count = max(map(len, columns.values()), default=0) or 1
        earliest_ns = self.earliest_ns(stream, before_ns=dt_ns * (count - 1))
        if t0_ns is None:
            t0_ns = earliest_ns
        elif t0_ns <= self._last_ns.get(stream, self._began_ns):
            raise InputError(
                f"t0_ns: found a time before the end of what {stream} of {self.device_id} has sent, expected "
                "a later one: capture times of a stream never run back"
            )
        batch = Batch(
            kind=kind,
            source=self.device_id,
            wearer_id=self.wearer_id,
            session_id=f"s{self._session}",
            stream=stream,
            run=Run(self._next.get(stream, 0), 1, count),
            t0_ns=t0_ns,
            dt_ns=dt_ns,
            origin="live",
            context=replace(self._context, consent=self.consent.named),
            columns=columns,
        )
        try:
            codec.codec_of(self._kinds).decode(codec.encode(batch), 0)
        except (MalformedError, TypeError) as error:
            why = error if isinstance(error, MalformedError) else "found values that JSON has no form for"
            raise InputError(f"{kind} of {self.device_id}: {why}; docs/topics.md says what it has") from None
        return batch

    def _forward(self) -> None:
        # Elapsed time is 0, because a radio without faults does not depend on time.
        self._gateway.forward(self.device_id, 0, clock.now_ns())

    def _heard(self, value: bytes | None) -> None:
        for device, stream, number, intent in read_answer(value):
            if device == self.device_id and stream == named("answer", self._incarnation):
                self._on_answer(number, intent)

    def _notified(self, value: bytes | None) -> None:
        notice = read_notice(value)
        if (
            notice is not None
            and (notice.device, notice.wearer) == (self.device_id, self.wearer_id)
            and notice.version not in self.consent.shown
        ):
            self._on_notice(notice.version, notice.lines)
