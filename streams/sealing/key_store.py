"""The keys of sealed values, in a file of their own: which are present, and which were destroyed and when.

A key is random, and is of one wearer, one retention class and one day of append time. So there are two acts
and one mechanism: *retention* destroys the keys of days that are over, *erasure* those of a wearer. A key is
never derived from anything, because what can be derived cannot be destroyed. A destroyed key keeps its row
without the wearer, so that an unknown key is never taken for a destroyed one: a lost, foreign or restored
key store must not look like an erasure.

Bytes that SQLite or a disk left of a destroyed key are worthless once the key-encryption key is another:
`renew` wraps the survivors under a new one and destroys the old one.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import struct
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from streams import files
from streams.errors import DamagedError, InputError, UnavailableError
from streams.limits import KEYS_AT_ONCE, KEYS_WAIT_S
from streams.sealing.sealed import KEY_BYTES, STORE_ID_BYTES, KeyName
from streams.sealing.wrapping import FileWrapping, Wrapping

FORM = 1
_FILE, _KEK = "keys.sqlite", "key-encryption-key"
_DAY_NS = 86_400_000_000_000
State = Literal["present", "expired", "erased"]

_SCHEMA = """
CREATE TABLE store (form INTEGER NOT NULL, id BLOB NOT NULL, generation INTEGER NOT NULL);
CREATE TABLE keys (number INTEGER PRIMARY KEY AUTOINCREMENT, wearer TEXT NOT NULL, days INTEGER NOT NULL,
    day INTEGER NOT NULL, wrapped BLOB, state TEXT NOT NULL, destroyed_ns INTEGER NOT NULL);
CREATE UNIQUE INDEX present ON keys (wearer, days, day) WHERE state = 'present';
CREATE INDEX due ON keys (day + days) WHERE state = 'present';
CREATE TABLE digest_keys (wearer TEXT PRIMARY KEY, wrapped BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE releases (at_ns INTEGER NOT NULL, principal TEXT NOT NULL, purpose TEXT NOT NULL,
    policy_version TEXT NOT NULL, verdict TEXT NOT NULL, rule TEXT NOT NULL);
"""


class KeyFor(NamedTuple):
    """What a key is for: a wearer's values of one retention (days) that were appended on one day.

    `day` counts days of UTC since 1970.
    """

    wearer: str
    days: int
    day: int


class Key(NamedTuple):
    """A key of 32 bytes, and its name."""

    name: KeyName
    key: bytes


class Kept(NamedTuple):
    """What a key store knows of a key: its state, the key if it is present, or else when it was destroyed."""

    state: State
    key: bytes
    destroyed_ns: int


class Release(NamedTuple):
    """Somebody asked for keys; `rule` is the policy's for the verdict."""

    at_ns: int
    principal: str
    purpose: str
    policy_version: str
    verdict: str
    rule: str


def day_of(appended_ns: int) -> int:
    """Day of an append time (ns), as `KeyFor` counts them."""
    return appended_ns // _DAY_NS


class KeyStore:
    """Keys in a directory; several processes of one machine may have it open.

    Each method is one transaction that is on disk when it returns. UnavailableError if the file is locked for
    too long or cannot be written, DamagedError if it is no key store or the key-encryption key is not its.
    """

    def __init__(self, directory: Path, wrapping: Wrapping | None = None) -> None:
        self.path = directory / _FILE
        if not self.path.is_file():
            raise InputError(
                f"{self.path}: found no key store, expected the one under whose keys the topics are sealed;"
                " bring it back from where it is kept. A worker makes one where nothing is sealed yet"
            )
        self._wrapping = wrapping or FileWrapping(directory / _KEK)
        self._lock = threading.RLock()
        with _failing(self.path):
            self._file = _opened(self.path)
        with self._read() as file:
            row = file.execute("SELECT form, id FROM store").fetchone()
        if row is None or row[0] != FORM:
            raise DamagedError(f"{self.path}: found another form, expected a key store of form {FORM}")
        self.id: bytes = row[1]

    @classmethod
    def made(cls, directory: Path, wrapping: Wrapping | None = None) -> KeyStore:
        """The key store in a directory, which is made if absent."""
        files.make_directory(directory)
        path = directory / _FILE
        if not path.exists():
            wrapping = wrapping or FileWrapping(directory / _KEK)
            wrapping.begin(1)
            # Another process may make it at the same time; then that one is used.
            with contextlib.suppress(InputError), files.added(path) as file:
                file.write(_made())
                file.flush()
                os.fsync(file.fileno())
        return cls(directory, wrapping)

    def ensure(self, wanted: Collection[KeyFor]) -> dict[KeyFor, Key]:
        """The keys for `wanted`; those that are absent are made."""
        with self._write() as file:
            absent = [each for each in dict.fromkeys(wanted) if _present(file, each) is None]
            numbers = [file.execute(_INSERT, each).lastrowid or 0 for each in absent]
            fresh = [(secrets.token_bytes(KEY_BYTES), _bound_to(self.id, number)) for number in numbers]
            generation = _generation(file)
            wrapped = self._wrapping.wrap(generation, fresh)
            file.executemany(_SET_WRAPPED, list(zip(wrapped, numbers, strict=True)))
            kept = {each: row for each in wanted if (row := _present(file, each)) is not None}
            keys = self._wrapping.unwrap(
                generation, [(of, _bound_to(self.id, number)) for number, of in kept.values()]
            )
        return {
            each: Key(KeyName(self.id, number), key)
            for (each, (number, _)), key in zip(kept.items(), keys, strict=True)
        }

    def find(self, names: Collection[KeyName]) -> dict[KeyName, Kept]:
        """What is known of keys; DamagedError if this store never had one of them, or lost it."""
        with self._read() as file:
            rows = {name: self._row(file, name) for name in names}
            present = [(name, row[1]) for name, row in rows.items() if row[0] == "present"]
            keys = self._wrapping.unwrap(
                _generation(file), [(wrapped, _bound_to(self.id, name.number)) for name, wrapped in present]
            )
        opened = {name: key for (name, _), key in zip(present, keys, strict=True)}
        return {name: Kept(row[0], opened.get(name, b""), row[2]) for name, row in rows.items()}

    def _row(self, file: sqlite3.Connection, name: KeyName) -> tuple[State, bytes, int]:
        if name.store != self.id:
            raise DamagedError(
                f"{self.path}: found a value that is sealed under key store {name.store.hex()}, expected one"
                f" of this one, {self.id.hex()}; nothing is erased by that, name the right one"
            )
        row: tuple[State, bytes, int] | None = file.execute(
            "SELECT state, wrapped, destroyed_ns FROM keys WHERE number = ?", (name.number,)
        ).fetchone()
        if row is None:
            raise DamagedError(
                f"{self.path}: found a value that is sealed under key {name.number}, which was never in this"
                " key store, expected one that it has; it is older than the topics. Nothing is erased,"
                " bring back the newest one"
            )
        return row

    def digest_keys(self, wearers: Collection[str]) -> dict[str, bytes]:
        """Keys of wearers' digests (32 bytes each), made if absent; each lives until an erasure."""
        with self._read() as file:
            kept = self._digest_keys(file, wearers)
        if absent := [wearer for wearer in wearers if wearer not in kept]:
            with self._write() as file:
                fresh = [(secrets.token_bytes(KEY_BYTES), _digests_of(self.id, wearer)) for wearer in absent]
                wrapped = self._wrapping.wrap(_generation(file), fresh)
                # Another process may have made some of them since.
                file.executemany(
                    "INSERT OR IGNORE INTO digest_keys VALUES (?, ?)", list(zip(absent, wrapped, strict=True))
                )
                kept |= self._digest_keys(file, absent)
        return kept

    def _digest_keys(self, file: sqlite3.Connection, wearers: Collection[str]) -> dict[str, bytes]:
        """Those of the wearers that have one."""
        rows = [
            (wearer, *row)
            for wearer in dict.fromkeys(wearers)
            for row in file.execute("SELECT wrapped FROM digest_keys WHERE wearer = ?", (wearer,))
        ]
        named = [(wrapped, _digests_of(self.id, wearer)) for wearer, wrapped in rows]
        keys = self._wrapping.unwrap(_generation(file), named) if named else []
        return {wearer: key for (wearer, _), key in zip(rows, keys, strict=True)}

    def digest_key(self, wearer: str) -> bytes | None:
        """The key of a wearer's digests; None if there is none, or none any more."""
        with self._read() as file:
            return self._digest_keys(file, [wearer]).get(wearer)

    def due(self, now_ns: int) -> int:
        """How many keys retention destroys at a time of the broker (ns)."""
        with self._read() as file:
            (count,) = file.execute(f"SELECT count(*) FROM keys WHERE {_DUE}", (day_of(now_ns),)).fetchone()  # noqa: S608
        return int(count)

    def expire(self, now_ns: int) -> int:
        """Destroy the keys whose retention is over at a time of the broker (ns); returns their number.

        That is when the newest value that one of them can have sealed has expired.
        """
        with self._write() as file:
            return _destroyed(file, "expired", now_ns, _DUE, (day_of(now_ns),))

    def erase(self, wearer: str, now_ns: int) -> int:
        """Destroy all keys of a wearer, that of the digests among them; returns their number."""
        with self._write() as file:
            count = _destroyed(file, "erased", now_ns, f"{_PRESENT} AND wearer = ?", (wearer,))
            # Keys that retention destroyed have no wearer any more, so nothing else names her.
            return count + file.execute("DELETE FROM digest_keys WHERE wearer = ?", (wearer,)).rowcount

    def renew(self) -> int:
        """Wrap all keys under a new key-encryption key and destroy the old one; returns their number.

        If it is interrupted before its transaction ends, the old one holds; behind it, the next `renew` or
        `settle` destroys what is left of the old one.
        """
        with self._write() as file:
            old = _generation(file)
            self._wrapping.begin(old + 1)
            count = self._rewrapped(file, old, "keys", "number", f"AND {_PRESENT}")
            count += self._rewrapped(file, old, "digest_keys", "wearer", "")
            file.execute("UPDATE store SET generation = ?", (old + 1,))
        self.settle()
        return count

    def settle(self) -> None:
        """Destroy what an interrupted `renew` left: every key-encryption key but the one in use."""
        # The lock on the file keeps another process from beginning a generation meanwhile.
        with self._write() as file:
            self._wrapping.end(_generation(file))

    def record(self, release: Release) -> None:
        """Write down that somebody asked for keys."""
        with self._write() as file:
            file.execute("INSERT INTO releases VALUES (?, ?, ?, ?, ?, ?)", release)

    def releases(self) -> list[Release]:
        """Who asked for keys, in order."""
        with self._read() as file:
            return [Release(*row) for row in file.execute("SELECT * FROM releases ORDER BY rowid")]

    def counts(self) -> Mapping[State, int]:
        """Number of keys by state."""
        with self._read() as file:
            return dict(file.execute("SELECT state, count(*) FROM keys GROUP BY state ORDER BY state"))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _rewrapped(self, file: sqlite3.Connection, old: int, table: str, key: str, condition: str) -> int:
        count, last = 0, None
        while True:
            rows: Sequence[tuple[int | str, bytes]] = file.execute(
                f"SELECT {key}, wrapped FROM {table} WHERE (?1 IS NULL OR {key} > ?1) {condition}"  # noqa: S608
                f" ORDER BY {key} LIMIT {KEYS_AT_ONCE}",
                (last,),
            ).fetchall()
            if not rows:
                return count
            last, count = rows[-1][0], count + len(rows)
            names = [
                _bound_to(self.id, each) if isinstance(each, int) else _digests_of(self.id, each)
                for each, _ in rows
            ]
            keys = self._wrapping.unwrap(
                old, [(wrapped, name) for (_, wrapped), name in zip(rows, names, strict=True)]
            )
            again = self._wrapping.wrap(old + 1, list(zip(keys, names, strict=True)))
            file.executemany(
                f"UPDATE {table} SET wrapped = ? WHERE {key} = ?",  # noqa: S608
                [(wrapped, each) for wrapped, (each, _) in zip(again, rows, strict=True)],
            )

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _failing(self.path):
            self._file.execute("BEGIN IMMEDIATE")
            try:
                yield self._file
            except BaseException:
                self._file.execute("ROLLBACK")
                raise
            self._file.execute("COMMIT")

    @contextlib.contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _failing(self.path):
            self._file.execute("BEGIN")
            try:
                yield self._file
            finally:
                self._file.execute("COMMIT")


@contextlib.contextmanager
def _failing(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise UnavailableError(
            f"{path}: cannot be used now ({error}); without it nothing is sealed and nothing is opened"
        ) from None
    except sqlite3.DatabaseError as error:
        raise DamagedError(
            f"{path}: cannot be read ({error}), expected a key store; nothing is erased by that, bring back"
            " the newest one"
        ) from None


_PRESENT = "state = 'present'"
#: Keys whose retention is over on a day: their day, and the days that its values may be kept, have passed.
_DUE = f"{_PRESENT} AND day + days < ?"
_INSERT = "INSERT INTO keys (wearer, days, day, state, destroyed_ns) VALUES (?, ?, ?, 'present', 0)"
_SET_WRAPPED = "UPDATE keys SET wrapped = ? WHERE number = ?"


def _opened(path: Path) -> sqlite3.Connection:
    file = sqlite3.connect(path, timeout=KEYS_WAIT_S, isolation_level=None, check_same_thread=False)
    # A rollback journal that is truncated, and no write-ahead log, which would keep destroyed keys for long.
    for pragma in ("secure_delete = ON", "journal_mode = TRUNCATE", "synchronous = FULL"):
        file.execute(f"PRAGMA {pragma}")
    return file


def _made() -> bytes:
    """Content of the file of a new key store."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as file:
        file.executescript(_SCHEMA)
        file.execute("INSERT INTO store VALUES (?, ?, 1)", (FORM, secrets.token_bytes(STORE_ID_BYTES)))
        return file.serialize()


def _present(file: sqlite3.Connection, wanted: KeyFor) -> tuple[int, bytes] | None:
    row: tuple[int, bytes] | None = file.execute(
        f"SELECT number, wrapped FROM keys WHERE wearer = ? AND days = ? AND day = ? AND {_PRESENT}",  # noqa: S608
        wanted,
    ).fetchone()
    return row


def _generation(file: sqlite3.Connection) -> int:
    return int(file.execute("SELECT generation FROM store").fetchone()[0])


def _destroyed(
    file: sqlite3.Connection, state: State, now_ns: int, condition: str, values: tuple[object, ...]
) -> int:
    return file.execute(
        f"UPDATE keys SET wrapped = NULL, wearer = '', state = ?, destroyed_ns = ? WHERE {condition}",  # noqa: S608
        (state, now_ns, *values),
    ).rowcount


def _bound_to(store: bytes, number: int) -> bytes:
    """Name that a wrapped key is bound to, so that no two rows can be exchanged."""
    return store + struct.pack(">Q", number)


def _digests_of(store: bytes, wearer: str) -> bytes:
    return store + wearer.encode()
