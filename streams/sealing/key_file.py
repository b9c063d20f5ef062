"""The SQLite file of a key store: its tables, and transactions that are on disk when they end."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from streams.errors import DamagedError, UnavailableError
from streams.limits import KEYS_WAIT_S
from streams.sealing.sealed import STORE_ID_BYTES

FORM = 1
_SCHEMA = """
CREATE TABLE store (form INTEGER NOT NULL, id BLOB NOT NULL, generation INTEGER NOT NULL);
CREATE TABLE mark_key (name TEXT PRIMARY KEY, generation INTEGER NOT NULL, wrapped BLOB NOT NULL)
    WITHOUT ROWID;
CREATE TABLE keys (number INTEGER PRIMARY KEY AUTOINCREMENT, wearer TEXT NOT NULL, days INTEGER NOT NULL,
    day INTEGER NOT NULL, generation INTEGER NOT NULL, wrapped BLOB, state TEXT NOT NULL,
    destroyed_ns INTEGER NOT NULL);
CREATE UNIQUE INDEX present ON keys (wearer, days, day) WHERE state = 'present';
CREATE INDEX due ON keys (day + days) WHERE state = 'present';
CREATE INDEX wrapped_by ON keys (generation) WHERE state = 'present';
CREATE TABLE digest_keys (wearer TEXT PRIMARY KEY, generation INTEGER NOT NULL, wrapped BLOB NOT NULL)
    WITHOUT ROWID;
CREATE INDEX digests_wrapped_by ON digest_keys (generation);
CREATE TABLE releases (at_ns INTEGER NOT NULL, principal TEXT NOT NULL, purpose TEXT NOT NULL,
    policy_version TEXT NOT NULL, verdict TEXT NOT NULL, rule TEXT NOT NULL);
"""


def content() -> bytes:
    """Content of the file of a new key store."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as file:
        file.executescript(_SCHEMA)
        file.execute("INSERT INTO store VALUES (?, ?, 1)", (FORM, secrets.token_bytes(STORE_ID_BYTES)))
        return file.serialize()


class KeyFile:
    """An open file; several threads may use it, one at a time.

    UnavailableError if it is locked for too long or cannot be written, DamagedError if it is no key store.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._lock = path, threading.RLock()
        with self._failing():
            self.file = sqlite3.connect(
                path, timeout=KEYS_WAIT_S, isolation_level=None, check_same_thread=False
            )
            # A rollback journal that is truncated, as a write-ahead log would keep destroyed keys for long.
            for pragma in ("secure_delete = ON", "journal_mode = TRUNCATE", "synchronous = FULL"):
                self.file.execute(f"PRAGMA {pragma}")

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction of the only writer; nothing of it holds if the block or the disk fails."""
        with self._lock, self._failing():
            self.file.execute("BEGIN IMMEDIATE")
            try:
                yield self.file
                self.file.execute("COMMIT")
            except BaseException:
                if self.file.in_transaction:
                    self.file.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One view of the file for several statements."""
        with self._lock, self._failing():
            self.file.execute("BEGIN")
            try:
                yield self.file
            finally:
                if self.file.in_transaction:
                    self.file.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self.file.close()

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                raise DamagedError(
                    f"{self.path}: found no tables of a key store, expected its own; nothing is erased by "
                    "that, bring back the newest one"
                ) from None
            raise UnavailableError(
                f"{self.path}: cannot be used now ({error}); nothing is sealed and nothing opened without it"
            ) from None
        except sqlite3.DatabaseError as error:
            raise DamagedError(
                f"{self.path}: cannot be read ({error}), expected a key store; nothing is erased by that, "
                "bring back the newest one"
            ) from None
