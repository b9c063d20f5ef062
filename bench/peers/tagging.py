"""The work of the zones stage as users of other frameworks would write it: a function of one record.

It decodes the value with this project's compiled codec, compares the headers with it, looks up the wearer's
consent, and evaluates the same policy for zone, label and whether both may pass; results are cached by
everything that they depend on. This is the fastest way that we know for single records: orjson with the same
checks in Python or in NumPy takes longer than the codec. It detects no repeats and no holes, writes no
lineage and keeps no state.
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

#: Function that returns the headers that a peer adds, from key, value, headers and time of a record (the
#: broker's, ms since the epoch). MalformedError if the record must not pass.
Adding = Callable[[bytes, bytes, Headers, int], Headers]
FORWARD, TAG = "forward", "tag"


def adding_of(work: str) -> Adding:
    """The function for the work of that name."""
    return _constant if work == FORWARD else Tagging().headers


def _constant(_key: bytes, _value: bytes, _headers: Headers, _appended_ms: int) -> Headers:
    return ADDED


class Tagging:
    """Zone and label of single records, by the policy and the consents that exist when a race begins."""

    def __init__(self) -> None:
        self._decode = codec_of(SHIPPED).decode
        self._policy = load(settings.POLICY)
        said = consents.known(self._policy)
        self._consents = PartitionConsents(said, said.offset, {})
        self._tag = lru_cache(maxsize=ATTRIBUTE_COMBINATIONS_MAX)(self._decided)

    def headers(self, key: bytes, value: bytes, headers: Headers, appended_ms: int) -> Headers:
        """Zone and label of a record; MalformedError if it is invalid or refused by the policy."""
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
        # The consents hold at all times, so the time of a batch is not needed.
        consent = self._consents.of(wearer, reference(source, stream, number), 1, 0, 1)
        decided = policy.tag_of(kind, stream, context, consent)
        for sink in (ZONED, STORE):
            if not policy.flow(decided.zone, decided.label, sink, consent).passed:
                raise MalformedError("policy: refused")
        return tag(decided.zone, policy.header(decided.label))
