"""States of devices that were not used lately, compressed in a file that only the worker's user can read.

The file is a cache: its content is rebuilt from `glasses.state` on assignment, and it is deleted with the
worker's directory. So it needs neither fsync nor rollback.
"""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from weakref import ref

from msgspec import msgpack

from streams import files, limits, metrics
from streams.events.record import Fetch
from streams.events.state import DeviceState
from streams.pipeline.devices import Devices, Slot

#: Longer states are not compressed: they consist mostly of samples, which compress slowly and badly.
_COMPRESSED_BYTES_MAX = 64 * 1024
_decoder = msgpack.Decoder(DeviceState)


class FileShelf:
    """A `streams.pipeline.devices.Shelf` in a SQLite file, with least-recently-used eviction.

    It keeps the decoded states of a worker within `limits.STATES_BYTES_MAX`. Errors of the file are raised as
    OSError, for which the transport does not blame a record.
    """

    def __init__(self, path: Path) -> None:
        # Created with its final mode: SQLite would create it readable by others.
        files.create(path).close()
        self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE"):
            self._file.execute(f"PRAGMA {pragma}")
        self._file.execute(f"PRAGMA cache_size = {-limits.SHELF_CACHE_BYTES // 1024}")
        self._file.execute("CREATE TABLE states (number INTEGER PRIMARY KEY, value BLOB NOT NULL)")
        # One transaction that never ends: a commit for each state would write pages each time.
        self._file.execute("BEGIN")
        self._used: OrderedDict[int, ref[Slot]] = OrderedDict()
        self._next, self._open = 0, True
        self.held_bytes, self.kept = 0, 0

    def use(self, slot: Slot) -> None:
        """Mark the decoded state of a slot as the one used most recently."""
        key = id(slot)
        if key in self._used:
            self._used.move_to_end(key)
        else:
            self._used[key] = ref(slot)
            self.held_bytes += slot.size_bytes

    def settle(self) -> None:
        """Move the least recently used states to the file until those in memory are within their bound."""
        while self.held_bytes > limits.STATES_BYTES_MAX and self._used:
            slot = next(iter(self._used.values()))()
            if slot is None:
                raise AssertionError("a slot that nobody holds has been forgotten")
            if slot.number is None:
                slot.number = self._written(slot.read())
            slot.state = None
            self._leave(slot)
        metrics.gauge("device_states_bytes", self.held_bytes)
        metrics.gauge("device_states_kept", self.kept)

    def read(self, number: int) -> DeviceState:
        """Read the state that is stored under a number."""
        metrics.count("device_states_loaded_total")
        try:
            ((value,),) = self._file.execute("SELECT value FROM states WHERE number = ?", (number,))
        except sqlite3.Error as error:
            raise OSError(f"the file of devices' states cannot be read: {error}") from error
        return _decoder.decode(zlib.decompress(value))

    def forget(self, slot: Slot) -> None:
        """Delete what is stored for a slot that is no longer referenced."""
        if not self._open:
            return
        self._leave(slot)
        if slot.number is not None:
            self.kept -= 1
            # Called from `Slot.__del__`, which cannot raise. A row that stays only wastes space in a cache.
            with contextlib.suppress(sqlite3.Error):
                self._file.execute("DELETE FROM states WHERE number = ?", (slot.number,))

    def close(self) -> None:
        """Close the file; its content is lost."""
        self._open = False
        self._file.close()

    def _leave(self, slot: Slot) -> None:
        if self._used.pop(id(slot), None) is not None:
            self.held_bytes -= slot.size_bytes

    def _written(self, state: DeviceState) -> int:
        packed = msgpack.encode(state)
        value = zlib.compress(packed, 1 if len(packed) <= _COMPRESSED_BYTES_MAX else 0)
        self._next += 1
        try:
            self._file.execute("INSERT INTO states VALUES (?, ?)", (self._next, value))
        except sqlite3.Error as error:
            raise OSError(f"the file of devices' states cannot be written: {error}") from error
        self.kept += 1
        metrics.count("device_states_shelved_total")
        metrics.count("device_states_shelved_bytes_total", len(value))
        return self._next


def parts(devices: Devices, fetch: Fetch) -> Iterator[Fetch]:
    """Divide a fetch so that the device states of each part fit into half the bound for states in memory."""
    names, size, start = set[bytes](), 0, 0
    for at, record in enumerate(fetch.records):
        key = record.key or b""
        if key in names:
            continue
        slot = devices.slot(key.decode(errors="replace"))
        more = slot.size_bytes if slot is not None else 0
        if names and size + more > limits.STATES_BYTES_MAX // 2:
            yield replace(fetch, records=fetch.records[start:at])
            names, size, start = set(), 0, at
        names.add(key)
        size += more
    yield replace(fetch, records=fetch.records[start:])
