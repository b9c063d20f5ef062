r"""Keep a consumer running when a header name is not valid UTF-8.

aiokafka decodes header names strictly while it unpacks a fetch, so a single record with other bytes would
make every read of its partition fail. Here a Kafka batch on which aiokafka's compiled code fails is unpacked
again in Python, with undecodable bytes written as `\xff`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

_LENGTH_OFFSET, _OVERHEAD = 8, 12


class _Text(bytearray):
    """A buffer whose slices can always be decoded."""

    def __getitem__(self, key: Any) -> Any:
        piece = super().__getitem__(key)
        return _Text(piece) if isinstance(key, slice) else piece

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        """Decode the bytes; invalid UTF-8 becomes backslash escapes."""
        return bytes(self).decode(encoding, errors)


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]
    _buffer: Any

    def __iter__(self) -> Any:
        self._maybe_uncompress()
        self._buffer = _Text(self._buffer)
        return self


class _Batch:
    """Wrapper of one Kafka batch for aiokafka's fetcher: unpacked in C, or in Python where that fails."""

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch, self._data = batch, data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(list(self._batch))
        except UnicodeDecodeError:
            return iter(list(_LenientBatch(self._data)))


class TolerantRecords:
    """Kafka batches of one partition in a fetch response; replaces aiokafka's `MemoryRecords`."""

    def __init__(self, data: bytes) -> None:
        self._records, self._data, self._at = MemoryRecords(data), memoryview(data), 0

    def size_in_bytes(self) -> int:
        """Size of the whole response in bytes."""
        return int(self._records.size_in_bytes())

    def has_next(self) -> bool:
        """Whether a complete batch is left."""
        return bool(self._records.has_next())

    def next_batch(self) -> _Batch | None:
        """Return the next batch; None if none is left."""
        batch = self._records.next_batch()
        if batch is None:
            return None
        start = self._at
        (length,) = struct.unpack_from(">i", self._data, start + _LENGTH_OFFSET)
        self._at = start + _OVERHEAD + length
        return _Batch(batch, self._data[start : self._at])


def install() -> None:
    """Make every consumer of this process use `TolerantRecords`. Safe to repeat."""
    fetcher.MemoryRecords = TolerantRecords
