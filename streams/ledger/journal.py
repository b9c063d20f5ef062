"""Read the devices' journals: numbers and times of every batch, and the true zones; a few bytes per batch."""

from __future__ import annotations

from array import array
from base64 import b64decode
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import xxhash

from streams.errors import InputError
from streams.ledger.runs import Data, Intervals, column, halves, intervals

#: First numbers and counts by (zone, stream).
_Truths: TypeAlias = "dict[tuple[str, str], tuple[array[int], array[int]]]"


@dataclass(slots=True)
class Batches:
    """Batches of one stream, in columns.

    `sent_ns` (since the epoch) is the time of the first acknowledged send, or of the last send if there is
    none.
    """

    first: array[int] = field(default_factory=lambda: array("q"))
    count: array[int] = field(default_factory=lambda: array("q"))
    sent_ns: array[int] = field(default_factory=lambda: array("q"))
    acked: array[int] = field(default_factory=lambda: array("b"))
    digests: bytearray = field(default_factory=bytearray)
    """XXH3-128 of every value, 16 bytes each."""
    places: dict[int, int] = field(default_factory=dict)
    """Row by first number; of several with one number the latest."""
    others: dict[tuple[int, bytes], int] = field(default_factory=dict)
    """Row by first number and digest, where a number was used for several batches."""

    def sent(self, first: int, count: int, sent_ns: int, digest: bytes) -> None:
        """Add a `sent` line; lines with equal data count as one batch, lines with other data do not."""
        row = self.places.get(first)
        if row is not None and self._digest(row) != digest:
            self.others[first, self._digest(row)] = row
            row = self.others.get((first, digest))
        if row is None:
            row = len(self.first)
            self.first.append(first)
            self.count.append(count)
            self.sent_ns.append(sent_ns)
            self.acked.append(0)
            self.digests += digest
        else:
            self.sent_ns[row] = sent_ns
        self.places[first] = row

    def _digest(self, row: int) -> bytes:
        return bytes(self.digests[16 * row : 16 * row + 16])

    def acknowledged(self, first: int, sent_ns: int) -> None:
        """Add an acknowledgement; it is ignored if the journal does not have the batch."""
        row = self.places.get(first)
        if row is not None:
            self.sent_ns[row] = min(self.sent_ns[row], sent_ns) if self.acked[row] else sent_ns
            self.acked[row] = 1


@dataclass(slots=True)
class Journals:
    """All journals of a directory but what is of erased devices. `truth` has numbers by zone and stream."""

    batches: dict[str, Batches] = field(default_factory=dict)
    sent: dict[str, Intervals] = field(default_factory=dict)
    truth: dict[str, dict[str, Intervals]] = field(default_factory=dict)
    erased: frozenset[str] = frozenset()

    def counts(self, stream: str) -> bool:
        """Whether a stream (`source/stream`) is compared: those of erased devices are not."""
        return stream.partition("/")[0] not in self.erased

    def data(self, key: str) -> Data:
        """All that was sent of a stream, with the digest of every batch."""
        batches = self.batches[key]
        return Data(self.sent[key], halves(batches.digests))

    @property
    def batch_count(self) -> int:
        """Number of batches that were sent."""
        return sum(len(batches.first) for batches in self.batches.values())

    @property
    def unacknowledged_count(self) -> int:
        """Number of batches that no broker acknowledged."""
        return sum(len(batches.acked) - sum(batches.acked) for batches in self.batches.values())


def read_journals(path: Path, erased: frozenset[str] = frozenset()) -> Journals:
    """Read a journal file, or all in a directory, but not what is of erased devices.

    InputError if there is none or a line is not JSON.

    An incomplete last line, which a crash leaves behind, is skipped; its batch was not sent.
    """
    files = _files(path)
    if not files:
        raise InputError(
            f"{path}: found no journal (*.jsonl); name the directory that device-sim --journal wrote to"
        )
    journals = Journals(erased=erased)
    truths: _Truths = {}
    for file in files:
        _read_file(file, journals, truths)
    journals.sent = {
        key: intervals(column(batches.first), column(batches.count))
        for key, batches in journals.batches.items()
    }
    for (zone, key), (first, count) in truths.items():
        journals.truth.setdefault(zone, {})[key] = intervals(column(first), column(count))
    return journals


def values_of(path: Path, streams: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
    """(stream, first number, value) of every batch that was sent of some streams, as journals have them."""
    if not streams:
        return
    for file in _files(path):
        for fields in _lines(file):
            if fields["line"] == "sent" and (key := fields["id"].rpartition("/")[0]) in streams:
                yield key, fields["first"], _value(fields)


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.glob("*.jsonl"))


def _value(fields: Mapping[str, Any]) -> bytes:
    return b64decode(fields["value_base64"]) if "value_base64" in fields else fields["value"].encode()


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    """Lines of a journal; InputError if one is not JSON, unless it is the last and incomplete."""
    with file.open("rb") as text:
        for number, line in enumerate(text, 1):
            try:
                yield orjson.loads(line)
            except orjson.JSONDecodeError:
                if not line.endswith(b"\n"):
                    return
                raise InputError(
                    f"{file}, line {number}: found text that is not JSON; is this a device's journal?"
                ) from None


def _read_file(file: Path, journals: Journals, truths: _Truths) -> None:
    for fields in _lines(file):
        if fields["line"] == "truth":
            if fields["source"] in journals.erased:
                continue
            zones = truths.setdefault(
                (fields["zone"], f"{fields['source']}/{fields['stream']}"), (array("q"), array("q"))
            )
            zones[0].append(fields["first"])
            zones[1].append(fields["n"])
            continue
        key, _, first = fields["id"].rpartition("/")
        if not journals.counts(key):
            continue
        if fields["line"] == "sent":
            journals.batches.setdefault(key, Batches()).sent(
                fields["first"],
                fields["n"],
                fields["sent_ns"],
                xxhash.xxh3_128_digest(_value(fields)),
            )
        elif fields["line"] == "ack" and key in journals.batches:
            journals.batches[key].acknowledged(int(first), fields["sent_ns"])
