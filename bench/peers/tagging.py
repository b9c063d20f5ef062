"""The zones stage's work as a user of another framework would write it: a function of one record.

It reads the value with this project's compiled codec, compares the headers with it, looks up the wearer's
consent and asks the same policy for zone, label and whether both may go on, which is remembered by all that
it depends on. That is the fastest we know for a single record: orjson with the same checks in Python or in
numpy takes longer than the codec. It knows no repeats and no holes, writes no lineage and keeps no state.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from bench import consents
from bench.peers import ADDED
from streams import settings
from streams.consent.view import PartitionConsents
from streams.consent.words import reference
from streams.errors import MalformedError
from streams.events.agreement import check_headers
from streams.events.batch import Context
from streams.events.codec import codec_of
from streams.events.headers import content_type_of, tag
from streams.events.record import Headers
from streams.events.shipped import SHIPPED
from streams.limits import ATTRIBUTE_COMBINATIONS_MAX
from streams.policy.load import load
from streams.topology import STORE, ZONED

#: What a peer adds to a record: of its key, value, headers and time (ms since the epoch, the broker's).
#: MalformedError where the record must not go on.
Adding = Callable[[bytes, bytes, Headers, int], Headers]
FORWARD, TAG = "forward", "tag"


def adding_of(work: str) -> Adding:
    """What the work of that name adds to a record."""
    return _constant if work == FORWARD else Tagging().headers


def _constant(_key: bytes, _value: bytes, _headers: Headers, _appended_ms: int) -> Headers:
    return ADDED


class Tagging:
    """Zone and label of single records, by the policy and the consents that a race begins with."""

    def __init__(self) -> None:
        self._decode = codec_of(SHIPPED).decode
        self._policy = load(settings.POLICY)
        said = consents.known(self._policy)
        self._consents = PartitionConsents(said, said.offset, {})
        self._tag = lru_cache(maxsize=ATTRIBUTE_COMBINATIONS_MAX)(self._decided)

    def headers(self, key: bytes, value: bytes, headers: Headers, appended_ms: int) -> Headers:
        """Zone and label of a record; MalformedError when it is wrong, or policy refuses it."""
        batch = self._decode(value, 0, appended_ms * 1_000_000, content_type=content_type_of(headers))
        if key != batch.source.encode():
            raise MalformedError("key: found another one than device_id, expected the key to be the device")
        check_headers(headers, batch)
        low_ns = batch.appended_ns - self._policy.clock_old_ns
        high_ns = batch.appended_ns + self._policy.clock_ahead_ns
        times_ns = batch.t_ns or (batch.t0_ns, batch.t0_ns + batch.dt_ns * (batch.run.count - 1))
        if min(times_ns) < low_ns or max(times_ns) > high_ns:
            raise MalformedError("clock: captured too far before or after the broker took it")
        return self._tag(batch.kind, batch.source, batch.stream, batch.wearer_id, batch.context)

    def _decided(self, kind: str, source: str, stream: str, wearer: str, context: Context | None) -> Headers:
        policy, number = self._policy, 0 if context is None else context.consent
        if not self._consents.bound(source, wearer):
            raise MalformedError("pairing: the device is not bound to the wearer that it names")
        # Their consents hold from the beginning of time and without end, so no time of a batch is asked for.
        consent = self._consents.of(wearer, reference(source, stream, number), 1, 0, 1)
        decided = policy.tag_of(kind, stream, context, consent)
        for sink in (ZONED, STORE):
            if not policy.flow(decided.zone, decided.label, sink, consent).passed:
                raise MalformedError("policy: refused")
        return tag(decided.zone, policy.header(decided.label))
