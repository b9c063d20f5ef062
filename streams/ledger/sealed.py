"""What is sealed, compared: by keyed digests with the keys, and by numbers alone without them.

A value is sealed if all of its topic is, or if its label owes it. Its digest in the store is BLAKE2b under a
key of its wearer, and only who has that key can say which bytes of a journal it is of.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import xxhash

from streams import topology
from streams.ledger.journal import Journals, values_of
from streams.ledger.result import SealedCounts
from streams.ledger.runs import Data, halves, intervals, joined
from streams.ledger.sources import HALVES, StoreReader, numbered
from streams.quoting import quoted

_DIGEST_BYTES, _DIGEST = 16, re.compile(r"[0-9a-f]{32}")
_BY_LABEL = frozenset(topology.SEALABLE) - topology.SEALED
#: Why a sealed value has no key any more, as `content-encoding` says it then.
_DESTROYED = frozenset({b"expired", b"erased"})
# A part of a split batch has the digest of the batch that was sent.
_SENT_AS = "coalesce(nullif(split_from, ''), digest)"
_CAPTURED = (
    'SELECT source || \'/\' || stream, "first", "count", {columns} FROM events '
    "JOIN streams USING (source, stream) WHERE captured AND {sealed}"
)


class Keyring(Protocol):
    """The keys of a live pipeline (`streams.sealing.keys.Keys`)."""

    def digest_key(self, wearer: str) -> bytes | None:
        """Key of a wearer's digests; None if an erasure destroyed it, and an error if it is unknown."""

    async def opened(self, topic: str, records: Sequence[Any]) -> Sequence[Any]:
        """The records with their values open; one that has none says why in `content-encoding`."""


def keyed(key: bytes, value: bytes) -> bytes:
    """Digest of a value under a wearer's key (BLAKE2b, RFC 7693), as lineage has it."""
    return hashlib.blake2b(value, key=key, digest_size=_DIGEST_BYTES).digest()


def owing_labels(*stores: StoreReader) -> str:
    """SQL for whether the label of a row owes that its value is sealed, by what the stores know of labels."""
    owed = f"list_contains(obligations, {quoted(topology.SEALED_OBLIGATION)})"
    pairs = {pair for store in stores for pair in store.of_each("labels", "policy_version, label", owed)}
    listed = ", ".join(f"({quoted(version)}, {quoted(label)})" for version, label in sorted(pairs))
    return f"(policy_version, label) IN ({listed})" if listed else "false"


def sealed_values(*stores: StoreReader) -> str:
    """SQL for whether the value of a row of `events` is sealed where it lies."""
    always, owed = (
        ", ".join(map(quoted, sorted(names))) for names in (topology.SEALED, {topology.CAPTURED, *_BY_LABEL})
    )
    return f"topic IN ({always}) OR (topic IN ({owed}) AND {owing_labels(*stores)})"


@dataclass(slots=True)
class Sealed:
    """What of a store is sealed, and what could be said about it.

    Attributes
    ----------
    compared, by_number
        Events of captured batches whose bytes were compared, and those where only the numbers were.
    opened, destroyed, closed
        Records on topics that were opened, whose keys were destroyed, and that nobody tried to open.
    """

    keyring: Keyring | None
    labels: str
    wearers: dict[str, set[str]]
    compared: int = 0
    by_number: int = 0
    opened: int = 0
    destroyed: int = 0
    closed: int = 0
    _keys: dict[str, bytes | None] = field(default_factory=dict)

    @classmethod
    def of(cls, store: StoreReader, keyring: Keyring | None) -> Sealed:
        """Look in a store for what is sealed."""
        wearers, sealed = dict[str, set[str]](), sealed_values(store)
        for stream, wearer in store.rows(f"SELECT DISTINCT {numbered()}, wearer FROM events WHERE {sealed}"):  # noqa: S608
            wearers.setdefault(stream, set()).add(wearer)
        return cls(keyring, owing_labels(store), wearers)

    def counts(self) -> SealedCounts:
        """The counts, as the ledger's result has them."""
        return {
            "events_compared": self.compared,
            "events_by_number": self.by_number,
            "records_opened": self.opened,
            "records_destroyed": self.destroyed,
            "records_closed": self.closed,
        }

    def key(self, wearer: str) -> bytes | None:
        """Key of a wearer's digests; None if it was destroyed, or if no key store is at hand."""
        if self.keyring is None:
            return None
        if wearer not in self._keys:
            self._keys[wearer] = self.keyring.digest_key(wearer)
        return self._keys[wearer]

    def keys(self, stream: str) -> list[bytes | None]:
        """Keys of the digests of everybody of whom a stream has something sealed."""
        return [self.key(wearer) for wearer in self.wearers.get(stream, ())]

    def digest(self, stream: str, wire: bytes, named: bytes, opened: Any) -> bytes:
        """Digest by which a sealed record is compared; `named` is what its header says.

        That is `named`, unless the record was opened and holds something else, or does not open at its place.
        `opened` is the record with its value open, None if nobody tried.
        """
        if opened is None:
            self.closed += 1
            return named
        if opened.value is None:
            if dict(opened.headers).get("content-encoding") not in _DESTROYED:
                return xxhash.xxh3_128_digest(wire)
            self.destroyed += 1
            return named
        keys = self.keys(stream)
        if any(key is not None and keyed(key, opened.value) == named for key in keys):
            self.opened += 1
            return named
        if None in keys:
            self.destroyed += 1
            return named
        return xxhash.xxh3_128_digest(opened.value)

    def stored_data(self, journal: Journals, path: Path, store: StoreReader) -> dict[str, Data]:
        """All captured data in the store with the digests of what was sent, as far as it can be told.

        Where it cannot, the data is taken for what was sent under its numbers.
        """
        stored = store.data(_CAPTURED.format(columns=HALVES.format(_SENT_AS), sealed=f"NOT ({self.labels})"))
        rows = store.rows(_CAPTURED.format(columns=f"wearer, {_SENT_AS}", sealed=self.labels))
        sent = _Sent(journal, path, {key: self.keys(key) for key, *_ in rows})
        pieces: dict[str, list[tuple[int, int, bytes]]] = {}
        for key, first, count, wearer, text in rows:
            named = bytes.fromhex(text) if _DIGEST.fullmatch(text) else bytes(_DIGEST_BYTES)
            digests = [sent.plain.get((key, named), named)]
            if (key, named) in sent.plain or self.key(wearer) is not None:
                self.compared += count
            else:
                self.by_number += count
                digests = sent.at(key, first) or digests
            pieces.setdefault(key, []).extend((first, count, digest) for digest in digests)
        for key, some in pieces.items():
            firsts, counts, several = zip(*some, strict=True)
            data = Data(intervals(firsts, counts), halves(b"".join(several)))
            stored[key] = joined(stored[key], data) if key in stored else data
        return stored


class _Sent:
    """What journals have of streams with sealed data; `keys` are those of each stream.

    `plain` has the digest of what was sent by (stream, digest), keyed or not.
    """

    def __init__(self, journal: Journals, path: Path, keys: Mapping[str, Iterable[bytes | None]]) -> None:
        self.plain: dict[tuple[str, bytes], bytes] = {}
        self._at: dict[str, dict[int, list[bytes]]] = {key: {} for key in keys}
        for key, first, value in values_of(path, keys.keys() & journal.sent.keys()):
            digest = xxhash.xxh3_128_digest(value)
            self.plain[key, digest] = digest
            for each in keys[key]:
                if each is not None:
                    self.plain[key, keyed(each, value)] = digest
            self._at[key].setdefault(first, []).append(digest)
        self._firsts = {key: sorted(at) for key, at in self._at.items()}

    def at(self, key: str, number: int) -> list[bytes]:
        """Digests of all that was sent in the batch with a number of a stream; empty if there is none."""
        place = bisect_right(self._firsts[key], number) - 1
        return self._at[key][self._firsts[key][place]] if place >= 0 else []
