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
import hashlib
import hmac
import os
import secrets
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from streams import files
from streams.errors import DamagedError, InputError
from streams.limits import KEYS_AT_ONCE
from streams.sealing import key_rows
from streams.sealing.erasures import Erasures
from streams.sealing.key_file import FORM, KeyFile, content
from streams.sealing.key_rows import DAYS_MAX, KeyFor, Release, State
from streams.sealing.sealed import KEY_BYTES, KeyName
from streams.sealing.wrapping import FileWrapping, Wrapping

_FILE, _KEK = "keys.sqlite", "key-encryption-key"
#: Bytes of the mark of a wearer.
ERASED_MARK_BYTES = 16
_DIGEST_KEYS = "SELECT wearer, generation, wrapped FROM digest_keys WHERE wearer"
#: Names in one statement; SQLite permits more.
_AT_ONCE = 500
_DAY_NS = 86_400_000_000_000


class Key(NamedTuple):
    """A key of 32 bytes, and its name."""

    name: KeyName
    key: bytes


class Kept(NamedTuple):
    """What a key store knows of a key: its state, the key if it is present, or else when it was destroyed.

    `broken` is what no key store of these topics named.
    """

    state: State | Literal["broken"]
    key: bytes
    destroyed_ns: int


def day_of(appended_ns: int) -> int:
    """Day of an append time (ns), as `KeyFor` counts them."""
    return appended_ns // _DAY_NS


class Marked(Protocol):
    """What names a wearer by a mark alone, as an erasure on `glasses.consents` does."""

    @property
    def mark(self) -> str:
        """The mark (`KeyStore.mark_of`)."""


class KeyStore:
    """Keys in a directory; several processes of one machine may have it open.

    Each method is one transaction that is on disk when it returns, but for `renew` and `settle`, which are
    several. UnavailableError if the file is locked for too long or cannot be written, DamagedError if it is
    no key store or the key-encryption key is not its.
    """

    def __init__(self, directory: Path, wrapping: Wrapping | None = None) -> None:
        self.path = directory / _FILE
        if not self.path.is_file():
            raise InputError(
                f"{self.path}: found no key store, expected the one under whose keys the topics are sealed;"
                " bring it back from where it is kept. A worker makes one where nothing is sealed yet"
            )
        self._wrapping = wrapping or FileWrapping(directory / _KEK)
        self._file = KeyFile(self.path)
        with self._file.read() as file:
            row = file.execute("SELECT form, id FROM store").fetchone()
        if row is None or row[0] != FORM:
            raise DamagedError(f"{self.path}: found another form, expected a key store of form {FORM}")
        self.id: bytes = row[1]
        self.erasures = Erasures(self._file)
        self._mark_key = b""

    @staticmethod
    def is_in(directory: Path) -> bool:
        """Whether a directory has a key store."""
        return (directory / _FILE).exists()

    @classmethod
    def made(cls, directory: Path, wrapping: Wrapping | None = None) -> KeyStore:
        """The key store in a directory, which is made if absent."""
        files.make_directory(directory)
        path = directory / _FILE
        if not cls.is_in(directory):
            wrapping = wrapping or FileWrapping(directory / _KEK)
            wrapping.begin(1)
            # Another process may make it at the same time; then that one is used.
            with contextlib.suppress(InputError), files.added(path) as file:
                file.write(content())
                file.flush()
                os.fsync(file.fileno())
        return cls(directory, wrapping)

    def ensure(self, wanted: Collection[KeyFor]) -> dict[KeyFor, Key]:
        """The keys for `wanted`; those that are absent are made."""
        marks = self._marks()
        with self._file.write() as file:
            generation = key_rows.generation(file)
            absent = [each for each in dict.fromkeys(wanted) if key_rows.present(file, each) is None]
            numbers = [file.execute(key_rows.INSERT, (*each, generation)).lastrowid or 0 for each in absent]
            fresh = [
                (secrets.token_bytes(KEY_BYTES), key_rows.bound_to(self.id, number)) for number in numbers
            ]
            wrapped = self._wrapping.wrap(generation, fresh)
            file.executemany(key_rows.SET_WRAPPED, list(zip(wrapped, numbers, strict=True)))
            kept = {each: row for each in wanted if (row := key_rows.present(file, each)) is not None}
            keys = self._unwrapped(
                [(of, key, key_rows.bound_to(self.id, number)) for number, of, key in kept.values()]
            )
        return {
            each: Key(KeyName(self.id, number, key_rows.mark(marks, number)), key)
            for (each, (number, *_)), key in zip(kept.items(), keys, strict=True)
        }

    def find(self, names: Collection[KeyName]) -> dict[KeyName, Kept]:
        """What is known of keys; DamagedError if this store lost one of them.

        A name of another key store, or one that this store cannot have given, is `broken`.
        """
        marks = self._marks()
        with self._file.read() as file:
            rows = {name: self._row(file, name, marks) for name in names}
            present = [name for name, row in rows.items() if row[0] == "present"]
            keys = self._unwrapped(
                [(rows[name][3], rows[name][1], key_rows.bound_to(self.id, name.number)) for name in present]
            )
        opened = dict(zip(present, keys, strict=True))
        return {name: Kept(row[0], opened.get(name, b""), row[2]) for name, row in rows.items()}

    def _row(
        self, file: sqlite3.Connection, name: KeyName, marks: bytes
    ) -> tuple[State | Literal["broken"], bytes, int, int]:
        if name.store != self.id or not hmac.compare_digest(name.mark, key_rows.mark(marks, name.number)):
            return "broken", b"", 0, 0
        row: tuple[State, bytes, int, int] | None = file.execute(
            "SELECT state, wrapped, destroyed_ns, generation FROM keys WHERE number = ?", (name.number,)
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
        kept = self.digest_keys_there(wearers)
        if absent := [wearer for wearer in wearers if wearer not in kept]:
            with self._file.write() as file:
                generation = key_rows.generation(file)
                fresh = [
                    (secrets.token_bytes(KEY_BYTES), key_rows.named(self.id, wearer)) for wearer in absent
                ]
                wrapped = self._wrapping.wrap(generation, fresh)
                # Another process may have made some of them since.
                file.executemany(
                    "INSERT OR IGNORE INTO digest_keys VALUES (?, ?, ?)",
                    [(wearer, generation, key) for wearer, key in zip(absent, wrapped, strict=True)],
                )
                kept |= self._digest_keys(file, absent)
        return kept

    def _digest_keys(self, file: sqlite3.Connection, wearers: Collection[str]) -> dict[str, bytes]:
        """Those of the wearers that have one."""
        asked = list(dict.fromkeys(wearers))
        rows = [
            row
            for begin in range(0, len(asked), _AT_ONCE)
            for some in [asked[begin : begin + _AT_ONCE]]
            for row in file.execute(f"{_DIGEST_KEYS} IN ({', '.join('?' * len(some))})", some)
        ]
        named = [(of, wrapped, key_rows.named(self.id, wearer)) for wearer, of, wrapped in rows]
        return {wearer: key for (wearer, *_), key in zip(rows, self._unwrapped(named), strict=True)}

    def digest_keys_there(self, wearers: Collection[str]) -> dict[str, bytes]:
        """Keys of the digests of those of the wearers who have one."""
        with self._file.read() as file:
            return self._digest_keys(file, wearers)

    def digest_key(self, wearer: str) -> bytes | None:
        """The key of a wearer's digests, of whom something was sealed; None if an erasure destroyed it.

        DamagedError if it is neither there nor was destroyed.
        """
        key = self.digest_keys_there([wearer]).get(wearer)
        if key is None and self.mark_of(wearer) not in {each.mark for each in self.erasures.all()}:
            raise DamagedError(
                f"{self.path}: found no key for digests of a wearer of whom something is sealed, expected it;"
                " it is older than the topics, or not theirs. Nothing is erased, bring back the newest one"
            )
        return key

    def due(self, now_ns: int) -> int:
        """How many keys retention destroys at a time of the broker (ns)."""
        counted = f"SELECT count(*) FROM keys WHERE {key_rows.DUE}"  # noqa: S608
        with self._file.read() as file:
            return int(file.execute(counted, (day_of(now_ns),)).fetchone()[0])

    def due_days(self) -> list[tuple[int, int]]:
        """(Day on which retention destroys keys, how many), in order; days are counted as `KeyFor` does."""
        counted = f"SELECT day + days + 1, count(*) FROM keys WHERE {key_rows.PRESENT} GROUP BY 1 ORDER BY 1"  # noqa: S608
        with self._file.read() as file:
            return list(file.execute(counted))

    def expire(self, now_ns: int) -> int:
        """Destroy the keys whose retention is over at a time of the broker (ns); returns their number.

        That is when the newest value that one of them can have sealed has expired.
        """
        with self._file.write() as file:
            count = key_rows.destroyed(file, "expired", now_ns, key_rows.DUE, (day_of(now_ns),))
            return self._begun(file, count)

    def wearers(self) -> set[str]:
        """Everybody who has a key."""
        with self._file.read() as file:
            named = f"SELECT wearer FROM keys WHERE {key_rows.PRESENT} UNION SELECT wearer FROM digest_keys"  # noqa: S608
            return {wearer for (wearer,) in file.execute(named)}

    def numbers_of(self, wearer: str) -> set[int]:
        """Numbers of a wearer's keys, as the names of what they seal have them."""
        hers = f"SELECT number FROM keys WHERE {key_rows.PRESENT} AND wearer = ?"  # noqa: S608
        with self._file.read() as file:
            return {number for (number,) in file.execute(hers, (wearer,))}

    def count_of(self, wearer: str, *, from_day: int = 0) -> int:
        """How many keys an erasure of a wearer would destroy, from a day on."""
        hers = f"SELECT count(*) FROM keys WHERE {key_rows.PRESENT} AND wearer = ? AND day >= ?"  # noqa: S608
        of_digests = "SELECT count(*) FROM digest_keys WHERE wearer = ?"
        with self._file.read() as file:
            (keys,) = file.execute(hers, (wearer, from_day)).fetchone()
            (digests,) = (0,) if from_day else file.execute(of_digests, (wearer,)).fetchone()
        return int(keys + digests)

    def erase(self, wearer: str, now_ns: int, *, from_day: int = 0, until_day: int = DAYS_MAX) -> int:
        """Destroy all keys of a wearer, that of the digests among them; returns their number.

        `from_day` and `until_day` are the first and the last day whose keys go, as `KeyFor` counts them. The
        key of the digests stays if earlier days do, whose digests it makes.
        """
        hers = f"{key_rows.PRESENT} AND wearer = ? AND day BETWEEN ? AND ?"
        with self._file.write() as file:
            count = key_rows.destroyed(file, "erased", now_ns, hers, (wearer, from_day, until_day))
            if from_day:
                return self._begun(file, count)
            # Keys that retention destroyed have no wearer any more, so nothing else names her.
            count += file.execute("DELETE FROM digest_keys WHERE wearer = ?", (wearer,)).rowcount
            return self._begun(file, count)

    def erase_numbers(self, wearer: str, numbers: Collection[int], now_ns: int) -> int:
        """Destroy those of a wearer's keys that have one of these numbers; returns how many that are."""
        hers = f"{key_rows.PRESENT} AND wearer = ? AND number = ?"
        with self._file.write() as file:
            counts = [
                key_rows.destroyed(file, "erased", now_ns, hers, (wearer, number)) for number in numbers
            ]
            return self._begun(file, sum(counts))

    def renew(self) -> int:
        """Wrap all keys under a new key-encryption key and destroy the old one; returns their number.

        It is several short transactions, so that others can use the keys meanwhile. What an interruption
        leaves, the next `renew` or `settle` finishes.
        """
        with self._file.write() as file:
            self._begun(file, 1)
        return self.settle()

    def _begun(self, file: sqlite3.Connection, count: int) -> int:
        """Begin another generation if keys were destroyed, so that `settle` is owed from then on."""
        if count:
            generation = key_rows.generation(file) + 1
            self._wrapping.begin(generation)
            file.execute("UPDATE store SET generation = ?", (generation,))
        return count

    def settle(self) -> int:
        """Wrap what earlier key-encryption keys wrap under the newest one, and destroy those.

        Returns the number of keys that were wrapped again.
        """
        self._marks()
        count = 0
        while some := sum(self._rewrapped(*of) for of in key_rows.TABLES.items()):
            count += some
        with self._file.write() as file:
            # Within the transaction, so that nobody begins another generation meanwhile.
            if not any(key_rows.outdated(file, table, "1", 1) for table in key_rows.TABLES):
                self._wrapping.end(key_rows.generation(file))
        return count

    def _marks(self) -> bytes:
        """The key by which the store marks the names that it gives, made with the first of them."""
        if not self._mark_key:
            name = key_rows.named(self.id, key_rows.MARKS)
            with self._file.write() as file:
                generation = key_rows.generation(file)
                row = file.execute("SELECT generation, wrapped FROM mark_key").fetchone()
                if row is None:
                    (wrapped,) = self._wrapping.wrap(generation, [(secrets.token_bytes(KEY_BYTES), name)])
                    row = (generation, wrapped)
                    file.execute("INSERT INTO mark_key VALUES (?, ?, ?)", (key_rows.MARKS, *row))
                (self._mark_key,) = self._unwrapped([(*row, name)])
        return self._mark_key

    def mark_of(self, wearer: str) -> str:
        """Mark by which an erasure names a wearer (hexadecimal); without the key store it tells nothing.

        It begins with the id of the key store, so that another one is recognised.
        """
        hashed = hashlib.blake2b(
            wearer.encode(), key=self._marks(), digest_size=ERASED_MARK_BYTES, person=b"erasure"
        )
        return self.id.hex() + hashed.hexdigest()

    def refuse_foreign(self, erasures: Sequence[Marked]) -> None:
        """Raise InputError if another key store made all of the marks: this one finds nobody, as if erased.

        A few among those of this one are somebody's noise.
        """
        own = self.id.hex()
        if erasures and not any(each.mark.startswith(own) for each in erasures):
            raise InputError(
                f"{self.path}: found key store {own}, and an erasure on glasses.consents that was made"
                f" with {erasures[-1].mark[: len(own)]}, expected that one, because this one cannot tell"
                " whose it is; name it with --keys"
            )

    def record(self, release: Release) -> None:
        """Write down that somebody asked for keys."""
        with self._file.write() as file:
            file.execute("INSERT INTO releases VALUES (?, ?, ?, ?, ?, ?)", release)

    def releases(self) -> list[Release]:
        """Who asked for keys, in order."""
        with self._file.read() as file:
            return [Release(*row) for row in file.execute("SELECT * FROM releases ORDER BY rowid")]

    def counts(self) -> Mapping[State, int]:
        """Number of keys by state."""
        with self._file.read() as file:
            return dict(file.execute("SELECT state, count(*) FROM keys GROUP BY state ORDER BY state"))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _unwrapped(self, rows: Sequence[tuple[int, bytes, bytes]]) -> list[bytes]:
        """Keys of rows of (generation, wrapped key, name that it is bound to)."""
        keys = dict[int, bytes]()
        for generation in {row[0] for row in rows}:
            at = [number for number, row in enumerate(rows) if row[0] == generation]
            named = [(rows[number][1], rows[number][2]) for number in at]
            keys |= zip(at, self._wrapping.unwrap(generation, named), strict=True)
        return [keys[number] for number in range(len(rows))]

    def _rewrapped(self, table: str, key: str) -> int:
        """Wrap some outdated keys of a table under the newest generation; returns their number."""
        with self._file.write() as file:
            generation, rows = key_rows.generation(file), key_rows.outdated(file, table, key, KEYS_AT_ONCE)
            names = [
                key_rows.bound_to(self.id, each) if isinstance(each, int) else key_rows.named(self.id, each)
                for each, *_ in rows
            ]
            keys = self._unwrapped(
                [(of, wrapped, name) for (_, of, wrapped), name in zip(rows, names, strict=True)]
            )
            again = self._wrapping.wrap(generation, list(zip(keys, names, strict=True))) if rows else []
            file.executemany(
                f"UPDATE {table} SET wrapped = ?, generation = ? WHERE {key} = ?",  # noqa: S608
                [(wrapped, generation, each) for wrapped, (each, *_) in zip(again, rows, strict=True)],
            )
            return len(rows)
