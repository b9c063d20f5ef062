"""Stage 1: read captured records, drop repeats, tag every batch with its zone and label, refuse what policy refuses.

Order is that of `glasses.captured`. A batch of one zone is forwarded byte for byte; one whose context changes the zone
is split at the changes and its parts carry the digest of the bytes they came from (laws 2 and 4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from streams.errors import MalformedError
from streams.events.agreement import check_headers
from streams.events.batch import Batch
from streams.events.codec import check_columns, decode, digest, encode
from streams.events.headers import forged_header
from streams.events.record import Received, stamp_ns
from streams.events.state import DeviceState, Intervals
from streams.events.step import Output, Reject, Step, Tagged
from streams.limits import KEY_BYTES_MAX, REJECTED_BYTES_MAX, STREAMS_PER_DEVICE_MAX
from streams.policy.attributes import attributes_of
from streams.policy.flow import STORE, decide
from streams.policy.policy import Policy
from streams.topology import ZONED
from streams.zones.seen import add, unseen


@dataclass(frozen=True, slots=True)
class _Decoded:
    record: Received
    batch: Batch


def run(records: Sequence[Received], devices: Mapping[str, DeviceState], policy: Policy,
        poisoned: Mapping[int, str]) -> tuple[Step, dict[str, DeviceState]]:
    """Tag one fetch; return the step and the states of the devices it touched.

    Outputs are in partition order. A record that cannot be understood, is forged, or is named in `poisoned` is
    rejected with its bytes; a run that policy refuses is rejected without them.
    """
    step = Step()
    # Plain dictionaries while the fetch lasts: a new state per batch would cost more than the rest of this loop.
    seen: dict[str, dict[str, Intervals]] = {}
    for item in _understood(records, poisoned, step):
        batch = item.batch
        if batch.source not in seen:
            seen[batch.source] = dict(devices[batch.source].seen) if batch.source in devices else {}
        streams = seen[batch.source]
        ranges = streams.get(batch.stream, ())
        if not ranges and len(streams) >= STREAMS_PER_DEVICE_MAX:
            step.rejects.append(_malformed(item.record, f"stream: a device has at most {STREAMS_PER_DEVICE_MAX} streams", "limits"))
            continue
        parts = unseen(ranges, batch.run.first, batch.run.last)
        _count(step, item, parts, late=bool(ranges) and batch.run.first <= ranges[-1][1])
        if parts:
            streams[batch.stream] = add(ranges, batch.run.first, batch.run.last)
        whole = parts == [(batch.run.first, batch.run.last)]
        for low, high in parts:
            if whole:
                _tag(item.record, batch, policy, step, whole=True)
            else:
                for start, end, context in batch.spans():
                    start_here = max(start, low - batch.run.first)
                    end_here = min(end, high - batch.run.first + 1)
                    if start_here < end_here:
                        _tag(item.record, batch.part(start_here, end_here, context), policy, step, whole=False)
    return step, {source: replace(devices.get(source) or DeviceState(), seen=streams) for source, streams in seen.items()}


def _understood(records: Sequence[Received], poisoned: Mapping[int, str], step: Step) -> list[_Decoded]:
    """Decode what can be decoded; the rest goes to the step's rejects."""
    decoded: list[_Decoded] = []
    for record in records:
        try:
            batch = _read(record, poisoned.get(record.offset))
        except MalformedError as error:
            step.rejects.append(_malformed(record, str(error), "poisoned" if record.offset in poisoned else "malformed"))
        else:
            decoded.append(_Decoded(record, batch))
    bad = check_columns([item.batch for item in decoded])
    step.rejects += [_malformed(decoded[i].record, reason, "malformed") for i, reason in bad.items()]
    return [item for i, item in enumerate(decoded) if i not in bad]


def _read(record: Received, poison: str | None) -> Batch:
    """Batch of a record; MalformedError for bad bytes, a forged tag, or headers that disagree with the value."""
    if poison is not None:
        raise MalformedError(poison)
    forged = forged_header(record.headers)
    if forged is not None:
        raise MalformedError(f"headers: found {forged}, which only the zones stage may write; send the batch without it")
    batch = decode(record.value, record.offset)
    if record.key != batch.source.encode():
        raise MalformedError("key: found another one than device_id, expected the key to be the device, or its order is lost")
    check_headers(record.headers, batch)
    return batch


def _malformed(record: Received, reason: str, rule: str) -> Reject:
    value = record.value or b""
    return Reject(reason, rule, "zones", record.offset, (record.key or b"")[:KEY_BYTES_MAX], len(value), digest(value),
                  value[:REJECTED_BYTES_MAX], zone="malformed", t_ns=stamp_ns(record))


def _count(step: Step, item: _Decoded, parts: Sequence[tuple[int, int]], *, late: bool) -> None:
    """Count the batch, and name what of it arrived again or late."""
    batch = item.batch
    fresh = sum(high - low + 1 for low, high in parts)
    step.counts.batches += 1
    step.counts.events += fresh
    step.counts.late += fresh if late else 0
    if fresh < batch.run.count:
        step.counts.repeated += batch.run.count - fresh
        value = item.record.value or b""
        step.rejects.append(Reject("arrived before; dropped", "repeat", "zones", batch.position, item.record.key or b"", len(value),
                                   digest(value), None, batch.source, batch.stream, batch.run, "", batch.t0_ns))


def _tag(record: Received, batch: Batch, policy: Policy, step: Step, *, whole: bool) -> None:
    """Find the zones of a batch and hand each part on; a batch of one zone stays as it is."""
    spans = batch.spans()
    combinations = [attributes_of(batch.kind, batch.stream, context) for _, _, context in spans]
    zones = [policy.zone_of(combination) for combination in combinations]
    value = record.value or b""
    if len({zone for zone, _ in zones}) == 1:
        parts, zones = [batch], zones[:1]
        forwarded = value if whole else None
    else:
        parts, forwarded = [batch.part(*span) for span in spans], None
    source_digest = "" if forwarded is not None else digest(value)
    for part, (zone, rule), combination in zip(parts, zones, combinations, strict=False):
        label = policy.label_of(part.kind, zone) or b""
        tagged = Tagged(part, zone, label, rule, combination.text())
        if decide(tagged, ZONED, policy, step) and decide(tagged, STORE, policy, step):
            bytes_out = forwarded if forwarded is not None else encode(part, split_from=source_digest)
            headers = record.headers if forwarded is not None else ()
            step.outputs.append(Output(ZONED, tagged, value=bytes_out, headers=headers, source_digest=source_digest))
        else:
            refused = step.decisions[-1]
            step.rejects.append(Reject(f"policy: {refused.rule}", refused.rule, "zones", part.position, record.key or b"", len(value),
                                       digest(value), None, part.source, part.stream, part.run, zone, part.t0_ns))
