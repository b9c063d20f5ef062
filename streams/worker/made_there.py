"""What was made of what a wearer captured at a place, and the keys under which it is sealed."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from streams.consent.erased import Scope
from streams.errors import InputError, MalformedError
from streams.events.codec import Codec
from streams.events.headers import SINCE, content_type_of
from streams.events.record import Received, stamp_ns
from streams.limits import TIME_NS_MAX
from streams.models.version import ModelVersion, ids_of
from streams.queries.spread import time_ns
from streams.sealing.sealed import unopened
from streams.topology import ZONED
from streams.training import gate

#: Stands for the wearer of what cannot be read. No wearer has a name without a letter.
UNREAD = ""
#: Headers have times in microseconds.
_TIME_NS = 999


class MadeThere(NamedTuple):
    """Ids of the examples, and numbers of the keys, which are those of a day and a retention.

    So they may seal values of the same wearer that were made of other data too: `beside` is how many.
    """

    examples: frozenset[str] = frozenset()
    keys: frozenset[int] = frozenset()
    beside: int = 0

    def taught(self, version: ModelVersion) -> bool:
        """Whether a version learned from one of them, or was compared on one."""
        manifest = version.manifest
        return not self.examples.isdisjoint(ids_of(manifest.admitted, manifest.validation, manifest.test))


def made_there(
    records: Iterable[tuple[Received, int]],
    codec: Codec,
    wearer: str,
    devices: Collection[str],
    scope: Scope,
    labelled: Iterable[tuple[str, Received, int]] = (),
) -> MadeThere:
    """Those among records of `glasses.examples` as they were opened, each with the number of its key.

    `labelled` are records under keys of the wearer, of topics on which labels decide whether a value is
    sealed; of those only the keys count, since a model learns from examples alone. One that this process
    cannot read, because it knows fewer kinds than the worker, counts by its headers.

    An example counts if any time from the oldest that it was made of until its feedback lies in a span of the
    scope. One that nobody can open any more counts by its device, as if it were the wearer's.
    """
    examples, keys, elsewhere = set[str](), set[int](), list[int]()
    for record, key in records:
        if unopened(record.headers):
            headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
            of_device = (record.key or b"").decode(errors="replace") in devices
            if of_device and _is_there(scope, *_times(headers)):
                examples.add(headers.get("ce_id", ""))
            continue
        with contextlib.suppress(MalformedError):
            batch, *_ = gate.read(record, codec)
            if batch.wearer_id != wearer:
                continue
            if _is_there(scope, batch.oldest_ns, batch.last_ns):
                examples.add(batch.first_id)
                keys.add(key)
            else:
                elsewhere.append(key)
    for topic, record, key in labelled:
        of, *times = _of(topic, record, codec)
        if of not in {wearer, UNREAD}:
            continue
        if _is_there(scope, *times):
            keys.add(key)
        else:
            elsewhere.append(key)
    keys.discard(0)
    return MadeThere(frozenset(examples), frozenset(keys), sum(key in keys for key in elsewhere))


def _of(topic: str, record: Received, codec: Codec) -> tuple[str, int, int]:
    """Whose a record is (UNREAD if its value cannot be read), and from when to when it was captured (ns)."""
    try:
        batch = codec.decode(
            record.value,
            record.offset,
            stamp_ns(record),
            content_type=content_type_of(record.headers),
            captured=topic == ZONED,
        )
        since_ns, _ = gate.since_of(record)
    except MalformedError:
        headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
        first_ns, last_ns = _times(headers)
        if topic == ZONED and last_ns < TIME_NS_MAX:
            # Captured data has no header of its oldest, which is what its time is of.
            first_ns = last_ns - _TIME_NS
        return UNREAD, first_ns, max(last_ns, stamp_ns(record))
    return batch.wearer_id, since_ns or batch.oldest_ns, batch.last_ns


def _times(headers: Mapping[str, str]) -> tuple[int, int]:
    """From the oldest that an example was made of until its feedback, as its headers say; else ever."""
    # Behind it stands the number of a consent record, but for examples.
    oldest, *_ = headers.get(SINCE, "").split(" ")
    try:
        last_ns = time_ns(headers.get("ce_time", ""), "ce_time") + _TIME_NS
    except InputError:
        last_ns = TIME_NS_MAX
    return int(oldest) if oldest.isdecimal() else 0, last_ns


def _is_there(scope: Scope, first_ns: int, last_ns: int) -> bool:
    return any(each.has(first_ns, last_ns) for each in scope.spans)
