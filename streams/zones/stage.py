"""Stage 1: of captured records drop repeats, tag batches with zone and label, refuse what policy refuses.

Order is that of `glasses.captured`. A batch of one zone is forwarded byte for byte; one whose context changes
the zone is split at the changes and its parts carry the digest of the bytes they came from (laws 2 and 4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from streams.errors import MalformedError
from streams.events.agreement import check_headers
from streams.events.batch import Batch, Context
from streams.events.codec import decode, digest, encode
from streams.events.consent import Known
from streams.events.record import Received, stamp_ns
from streams.events.state import DeviceState, Intervals
from streams.events.step import Output, Reject, Step, Tagged
from streams.limits import KEY_BYTES_MAX, REJECTED_BYTES_MAX, STREAMS_PER_DEVICE_MAX
from streams.policy.flow import Stretch, decide
from streams.policy.policy import Policy
from streams.topology import CONSENTS, STORE, ZONED
from streams.zones import consents
from streams.zones.seen import add, unseen

Understood = list[tuple[Received, Batch]]
_NONE = -1
_OTHER_KEY = "key: found another one than device_id, expected the key to be the device, or its order is lost"


def run(
    records: Sequence[Received],
    devices: Mapping[str, DeviceState],
    policy: Policy,
    known: Known,
    poisoned: Mapping[int, str],
) -> tuple[Step, dict[str, DeviceState]]:
    """Tag one fetch; return the step and the states of the devices it touched.

    Outputs are in partition order. A record that cannot be understood, is forged, or is named in `poisoned`
    is rejected with its bytes; a run that policy refuses is rejected without them.
    """
    step = Step()
    # Plain dictionaries while the fetch lasts: a new state per batch would cost more than the rest of this
    # loop.
    seen: dict[str, dict[str, Intervals]] = {}
    tracks: dict[tuple[str, str], _Track] = {}
    for record, batch in _understood(records, policy, poisoned, step):
        track = tracks.get((batch.source, batch.stream))
        if track is None:
            if batch.source not in seen:
                seen[batch.source] = dict(devices[batch.source].seen) if batch.source in devices else {}
            streams = seen[batch.source]
            if batch.stream not in streams and len(streams) >= STREAMS_PER_DEVICE_MAX:
                step.rejects.append(
                    _malformed(
                        record, f"stream: a device has at most {STREAMS_PER_DEVICE_MAX} streams", "limits"
                    )
                )
                continue
            track = tracks[batch.source, batch.stream] = _Track(
                streams.setdefault(batch.stream, ()), policy, known, step
            )
        track.take(record, batch)
    for (source, stream), track in tracks.items():
        seen[source][stream] = track.end()
    return step, {
        source: replace(devices.get(source) or DeviceState(), seen=streams)
        for source, streams in seen.items()
    }


def _understood(
    records: Sequence[Received], policy: Policy, poisoned: Mapping[int, str], step: Step
) -> Understood:
    """Read what can be read; the rest goes to the step's rejects."""
    understood: Understood = []
    for record in records:
        offset = record.offset
        try:
            if offset in poisoned:
                raise MalformedError(poisoned[offset])  # noqa: TRY301  one door for everything that is refused unread
            batch = decode(record.value, offset)
            if record.key != batch.source.encode():
                raise MalformedError(_OTHER_KEY)  # noqa: TRY301
            check_headers(record.headers, batch)
            if batch.kind == consents.KIND:
                consents.check(batch, policy.vocabulary.purposes)
        except MalformedError as error:
            step.rejects.append(
                _malformed(record, str(error), "poisoned" if offset in poisoned else "malformed")
            )
        else:
            understood.append((record, batch))
    step.counts.batches += len(understood)
    return understood


def _malformed(record: Received, reason: str, rule: str) -> Reject:
    value = record.value or b""
    return Reject(
        reason,
        rule,
        "zones",
        record.offset,
        (record.key or b"")[:KEY_BYTES_MAX],
        len(value),
        digest(value),
        value[:REJECTED_BYTES_MAX],
        zone="malformed",
        t_ns=stamp_ns(record),
    )


class _Track:
    """One stream while a fetch lasts.

    It knows which numbers have come, and the stretch of events that is decided as one.
    """

    def __init__(self, seen: Intervals, policy: Policy, known: Known, step: Step) -> None:
        self._seen, self._policy, self._known, self._step = seen, policy, known, step
        #: Numbers `_begun` ... `_next - 1` have come in this fetch, in order, and are not in `_seen` yet.
        self._next = self._begun = seen[-1][1] + 1 if seen else _NONE
        self._stretch = Stretch((ZONED, STORE), policy, step)

    def take(self, record: Received, batch: Batch) -> None:
        """Take the next batch of the stream: what of it is new is tagged and handed on or refused."""
        run = batch.run
        if run.first == self._next:
            self._next = run.first + run.count
            self._step.counts.events += run.count
            self._tag_whole(record, batch)
            return
        self._remember()
        parts = unseen(self._seen, run.first, run.last)
        self._count(record, batch, parts)
        if parts:
            self._seen = add(self._seen, run.first, run.last)
            self._next = self._begun = self._seen[-1][1] + 1
        if parts == [(run.first, run.last)]:
            self._tag_whole(record, batch)
            return
        for low, high in parts:
            for start, end, context in batch.spans():
                start_here, end_here = max(start, low - run.first), min(end, high - run.first + 1)
                if start_here < end_here:
                    self._hand_on(
                        record, batch.part(start_here, end_here, context), None, digest(record.value or b"")
                    )

    def end(self) -> Intervals:
        """Record the last decisions; return which numbers have come by now."""
        self._stretch.close()
        self._remember()
        return self._seen

    def _remember(self) -> None:
        if self._next > self._begun:
            self._seen = add(self._seen, self._begun, self._next - 1)
            self._begun = self._next

    def _count(self, record: Received, batch: Batch, parts: Sequence[tuple[int, int]]) -> None:
        """Count the events, and name what of them arrived again or late."""
        fresh = sum(high - low + 1 for low, high in parts)
        counts = self._step.counts
        counts.events += fresh
        counts.late += fresh if self._seen and batch.run.first <= self._seen[-1][1] else 0
        if fresh < batch.run.count:
            counts.repeated += batch.run.count - fresh
            value = record.value or b""
            self._step.rejects.append(
                Reject(
                    "arrived before; dropped",
                    "repeat",
                    "zones",
                    batch.position,
                    record.key or b"",
                    len(value),
                    digest(value),
                    None,
                    batch.source,
                    batch.stream,
                    batch.run,
                    "",
                    batch.t0_ns,
                    batch.wearer_id,
                )
            )

    def _tag_whole(self, record: Received, batch: Batch) -> None:
        """Hand on a batch of which every event is new.

        It goes as it is, or in parts where its context changes the zone.
        """
        if batch.changes:
            spans = batch.spans()
            # Another consent is another thing to decide, whether or not the zone stays the same.
            if (
                len(
                    {
                        (self._tagged(batch, context).zone, context and context.consent)
                        for _, _, context in spans
                    }
                )
                > 1
            ):
                for start, end, context in spans:
                    self._hand_on(record, batch.part(start, end, context), None, digest(record.value or b""))
                return
        self._hand_on(record, batch, record.value, "")

    def _tagged(self, batch: Batch, context: Context | None) -> Tagged:
        number = 0 if context is None else context.consent
        consent = self._known.of(batch.wearer_id, number, batch.position, batch.t0_ns)
        tag = self._policy.tag_of(batch.kind, batch.stream, context, consent)
        return Tagged(batch, tag.zone, tag.label, tag.rule, tag.attributes, number, consent)

    def _hand_on(self, record: Received, batch: Batch, forwarded: bytes | None, source_digest: str) -> None:
        """Give a batch of one zone its tag, and let it pass or refuse it."""
        tagged = self._tagged(batch, batch.context)
        refused = self._stretch.refused(tagged, stamp_ns(record))
        if batch.kind == consents.KIND:
            refused = refused or decide(tagged, (CONSENTS,), self._policy, self._step)
            consents.say(batch, self._known, refused=bool(refused))
        if refused:
            value = record.value or b""
            self._step.rejects.append(
                Reject(
                    f"policy: {refused}",
                    refused,
                    "zones",
                    batch.position,
                    record.key or b"",
                    len(value),
                    digest(value),
                    None,
                    batch.source,
                    batch.stream,
                    batch.run,
                    tagged.zone,
                    batch.t0_ns,
                    batch.wearer_id,
                )
            )
            return
        if batch.kind == consents.KIND:
            self._step.consents += [
                (batch.part(index, index + 1, batch.context), said)
                for index, said in enumerate(consents.records(batch))
            ]
        value_out, headers = (
            (forwarded, record.headers)
            if forwarded is not None
            else (encode(batch, split_from=source_digest), ())
        )
        self._step.outputs.append(
            Output(ZONED, tagged, value=value_out, headers=headers, source_digest=source_digest)
        )
