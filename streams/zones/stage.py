"""Stage 1: drop repeated records, tag batches with zone and label, and reject those that the policy refuses.

The order of `glasses.captured` is kept. A batch within one zone is forwarded byte for byte; a batch whose
context changes the zone is split at the changes, and each part carries the digest of the original bytes (laws
2 and 4).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from streams.consent import change
from streams.errors import MalformedError
from streams.events.agreement import check_headers
from streams.events.batch import Batch
from streams.events.codec import Codec
from streams.events.headers import content_type_of
from streams.events.identity import incarnation_of
from streams.events.record import Received, stamp_ns
from streams.events.state import DeviceState, Seen
from streams.limits import STREAMS_PER_DEVICE_MAX
from streams.policy.crossing import Crossing
from streams.policy.step import MALFORMED, Cause, Reject
from streams.zones import names
from streams.zones.notices import Notices
from streams.zones.track import STAGE, Track, rejected

_OTHER_KEY = "key: found another one than device_id, expected the key to be the device, or its order is lost"
_STREAMS = Cause(STAGE, "limits", f"stream: a device has at most {STREAMS_PER_DEVICE_MAX} streams")
_RETIRED = Cause(
    STAGE,
    "incarnation",
    "incarnation: the device has begun a newer one; send with its number, counted from 0 again",
)


@dataclass(slots=True)
class _Device:
    """One device during a fetch: its newest incarnation, what has arrived of its streams, and its notices."""

    incarnation: int
    seen: dict[str, Seen]
    notices: Notices
    tracks: dict[str, Track] = field(default_factory=dict)

    def end(self) -> None:
        """Move what the tracks have seen into `seen`."""
        self.seen |= {stream: track.end() for stream, track in self.tracks.items()}
        self.tracks = {}


def run(
    records: Sequence[Received],
    devices: Mapping[str, DeviceState],
    codec: Codec,
    crossing: Crossing,
    poisoned: Mapping[int, str],
    now_ns: int,
) -> tuple[dict[str, DeviceState], int]:
    """Tag one fetch; return the states of its devices, and the last append time in ns.

    Outputs are in partition order. `now_ns` is the last append time of the fetch before. A record that is
    malformed, forged or named in `poisoned` is rejected with its bytes; a batch that a rule refuses is
    rejected without them.
    """
    # Mutable devices during the fetch: an immutable state per batch would cost more than the rest of the
    # loop.
    met: dict[str, _Device] = {}
    reading = _Reading(records, codec, crossing, poisoned, now_ns)
    for record, batch in reading:
        device = met.get(batch.source)
        if device is None:
            before = devices.get(batch.source) or DeviceState()
            notices = Notices(before.delivered, crossing)
            device = met[batch.source] = _Device(before.incarnation, dict(before.seen), notices)
        track = device.tracks.get(batch.stream) or _track(record, batch, device, codec, crossing)
        if track is not None:
            track.take(record, batch)
    for device in met.values():
        device.end()
    states = {
        source: replace(
            devices.get(source) or DeviceState(),
            incarnation=device.incarnation,
            seen=device.seen,
            notices=device.notices.end(),
        )
        for source, device in met.items()
    }
    return states, reading.now_ns


def _track(record: Received, batch: Batch, device: _Device, codec: Codec, crossing: Crossing) -> Track | None:
    """Make the track of a stream that has none yet in this fetch.

    If the device may not have such a stream, the batch is rejected and the result is None. A newer
    incarnation retires the one before it.
    """
    incarnation, step = incarnation_of(batch.stream), crossing.step
    if collides := names.reserved(batch, names.derived_streams(codec.kinds)):
        step.rejects.append(rejected(record, batch, Cause(STAGE, names.RULE, collides)))
        return None
    if not crossing.consents.bound(batch.source, batch.wearer_id):
        # The record may come from a stranger, so it must not change the state of the device that it names.
        return Track(Seen(), crossing, codec, device.notices)
    if incarnation < device.incarnation:
        step.rejects.append(rejected(record, batch, _RETIRED))
        return None
    if incarnation > device.incarnation:
        device.end()
        device.incarnation, device.seen = incarnation, {}
    if batch.stream not in device.seen and len({*device.seen, *device.tracks}) >= STREAMS_PER_DEVICE_MAX:
        step.rejects.append(Reject.malformed(record, _STREAMS, batch.appended_ns))
        return None
    seen = device.seen.get(batch.stream, Seen())
    track = device.tracks[batch.stream] = Track(seen, crossing, codec, device.notices)
    return track


class _Reading:
    """Iterates over the readable records of a fetch with their batches; the others go to the step's rejects.

    `now_ns` is the highest append time so far, so that it never decreases.
    """

    def __init__(
        self,
        records: Sequence[Received],
        codec: Codec,
        crossing: Crossing,
        poisoned: Mapping[int, str],
        now_ns: int,
    ) -> None:
        self._decode = codec.decode
        self._records, self._crossing, self._poisoned = records, crossing, poisoned
        self.now_ns = now_ns

    def __iter__(self) -> Iterator[tuple[Received, Batch]]:
        step, poisoned = self._crossing.step, self._poisoned
        purposes = self._crossing.policy.vocabulary.purposes
        for record in self._records:
            offset = record.offset
            now_ns = self.now_ns = max(self.now_ns, stamp_ns(record))
            try:
                if offset in poisoned:
                    raise MalformedError(poisoned[offset])  # noqa: TRY301  one door for everything that is refused unread
                batch = self._decode(
                    record.value, offset, now_ns, content_type=content_type_of(record.headers)
                )
                if record.key != batch.source.encode():
                    raise MalformedError(_OTHER_KEY)  # noqa: TRY301
                check_headers(record.headers, batch)
                if batch.kind == change.KIND:
                    change.check(batch, purposes)
            except MalformedError as error:
                rule = "poisoned" if offset in poisoned else MALFORMED
                cause = Cause(STAGE, rule, str(error), MALFORMED)
                step.rejects.append(Reject.malformed(record, cause, now_ns))
            else:
                step.counts.batches += 1
                yield record, batch
