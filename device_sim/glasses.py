"""Glasses of others, as a client: what was sampled gets its numbers, goes into a journal and to Kafka.

The simulator goes the same way (`Gateway`), and knows by a scenario what is sampled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from msgspec.structs import replace

from device_sim.device import Captured
from device_sim.files import read_answer
from device_sim.gateway import FLUSH_WAIT_S, Gateway
from device_sim.incarnations import named
from device_sim.link import NONE, Link
from device_sim.own_consent import GIVEN, KIND, WITHDRAWN, OwnConsent
from streams import clock, topology
from streams.connection.settings import Broker
from streams.errors import InputError, MalformedError, UnavailableError
from streams.events import codec
from streams.events.batch import Batch, Context
from streams.events.identity import NAME_PATTERN
from streams.events.runs import Run
from streams.events.shipped import SHIPPED

#: What a device says about its surroundings that has said nothing yet.
QUIET_HOME = Context("home", "nobody", minor_near=False, capture_light=False, worn=True, consent=0)
CONSENT_STREAM = "consent-change"


class Glasses:
    """One device of a wearer, for who has samples and no recording; use it in `async with`.

    An operator must have bound device and wearer (`sightline pair`), or nothing of it is taken.

    Delivery guarantee: once `send` returns, the batch is in the journal and on its way; what is not
    acknowledged when the process ends is sent first by whoever opens that journal next. A batch can arrive
    twice (which the pipeline notices) and never not at all. Numbers of a stream have no hole, also across
    restarts; nothing leaves under a consent before Kafka has the change that recorded it.

    Parameters
    ----------
    broker
        `host:port`.
    device_id, wearer_id
        Lower-case letters, digits and hyphens.
    journal
        Directory of the device's journal, which must be kept: numbers go on where it ends. A device without
        one that the broker knows begins a new incarnation.
    context
        What surrounds the wearer; `around` says when that changes. Its consent is not looked at: events name
        the newest that was given here. Without one, what the journal says last, and a quiet home before.
    on_answer
        Called with number of the query and intent of each answer to this device.
    partitions
        Of the topics; another count on the broker is refused.

    Raises
    ------
    InputError
        A name of another form; the file is no journal, or the directory cannot be written.
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
        partitions: int = topology.PARTITIONS_DEFAULT,
    ) -> None:
        for parameter, name in (("device_id", device_id), ("wearer_id", wearer_id)):
            if NAME_PATTERN.fullmatch(name) is None:
                raise InputError(f"{parameter}: found no name; expected lower-case letters, digits, hyphens.")
        self.broker, self.device_id, self.wearer_id = broker, device_id, wearer_id
        self._on_answer = on_answer
        radios = {device_id: Link(NONE, 0, device_id)}
        self._gateway = Gateway(broker, partitions, journal, radios, self._heard)
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
        """Say what surrounds the wearer from now on."""
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
            Of docs/topics.md, captured by a device and no change of a consent.
        columns
            As that page has them: one sequence a column, a value an event, all of one length.
        stream
            Which of the device's sequences of events; without it the kind's own name.
        dt_ns
            Nanoseconds from one event to the next.
        t0_ns
            When the first event was captured, ns since the Unix epoch. Without it the last one was now.

        Raises
        ------
        InputError
            What the pipeline would refuse: an unknown kind, a column that is missing or has other values; or
            events that were captured before earlier ones of their stream. Nothing was journalled or sent
            then, and no number is used.
        """
        if kind == KIND:
            raise InputError(f"kind: found {KIND}, expected what a sensor or a wearer does; `give` sends it.")
        if not self._in_session:
            self._session += 1
            self._in_session = True
        return await self._send(kind, stream or kind.replace("_", "-"), columns, dt_ns, t0_ns)

    async def give(self, *purposes: str, expires_ns: int | None = None) -> Batch:
        """Record that the wearer consents to these purposes and no others; to none: that she withdraws.

        Events name it from now on, and leave when Kafka has it. `expires_ns` is since the Unix epoch.

        InputError where a purpose is no word, or the consent would be over when it is given.
        """
        if expires_ns is not None and expires_ns <= self.earliest_ns(CONSENT_STREAM):
            raise InputError(
                "expires_ns: found a time that is past for the device; expected one after the consent is"
                " given."
            )
        columns: dict[str, list[Any]] = {
            "consent": [self.consent.number + 1],
            "status": [GIVEN if purposes else WITHDRAWN],
            "purposes": [" ".join(purposes)],
            "principal": [None],
            "expires_ns": [expires_ns],
        }
        batch = await self._send(KIND, CONSENT_STREAM, columns)
        self.consent = self.consent.after(batch)
        return batch

    async def flush(self, timeout_s: float = FLUSH_WAIT_S) -> None:
        """Wait until Kafka has everything; UnavailableError where it does not acknowledge it in time."""
        if left := await self._gateway.flush(timeout_s):
            raise UnavailableError(
                f"{self.broker} did not acknowledge everything that {self.device_id} sent within"
                f" {timeout_s:g} s. What is left ({left:,}) is in {self._gateway.path(self.device_id)}, and"
                " whoever opens that next sends it."
            )

    def close_journal(self) -> None:
        """Let go of the journal of glasses that were not entered."""
        self._gateway.close_journals()

    def earliest_ns(self, stream: str, before_ns: int = 0) -> int:
        """Capture time of a stream's next event: so long before now, and after all that came before it.

        Capture times of a stream never run back, whatever the clock does. ns since the Unix epoch.
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
        # Nothing else runs from here on until the number is used.
        batch = self._batch(kind, named(stream, self._incarnation), columns, dt_ns, t0_ns)
        self._next[batch.stream] = batch.run.first + batch.run.count
        self._last_ns[batch.stream] = batch.last_ns
        self._gateway.write(self.device_id, [Captured(batch, ())], clock.now_ns())
        self._forward()
        return batch

    def _batch(
        self, kind: str, stream: str, columns: Mapping[str, Sequence[Any]], dt_ns: int, t0_ns: int | None
    ) -> Batch:
        # Of a batch without values the check below says what it lacks.
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
            codec.codec_of(SHIPPED).decode(codec.encode(batch), 0)
        except (MalformedError, TypeError) as error:
            why = error if isinstance(error, MalformedError) else "found values that JSON has no form for"
            raise InputError(f"{kind} of {self.device_id}: {why}; docs/topics.md says what it has") from None
        return batch

    def _forward(self) -> None:
        # Its radio has no faults, so no time passes on it.
        self._gateway.forward(self.device_id, 0, clock.now_ns())

    def _heard(self, value: bytes | None) -> None:
        for device, stream, number, intent in read_answer(value):
            if device == self.device_id and stream == named("answer", self._incarnation):
                self._on_answer(number, intent)
