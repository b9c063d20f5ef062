"""Statements about the rows of a key store's file, within a transaction that the caller has begun."""

from __future__ import annotations

import hmac
import sqlite3
import struct
from typing import Literal, NamedTuple

from streams.sealing.sealed import MARK_BYTES

State = Literal["present", "expired", "erased"]
#: Later than any day.
DAYS_MAX = 2**62


class KeyFor(NamedTuple):
    """What a key is for: a wearer's values of one retention (days) that were appended on one day.

    `day` counts days of UTC since 1970.
    """

    wearer: str
    days: int
    day: int


class Release(NamedTuple):
    """Somebody asked for keys; `rule` is the policy's for the verdict."""

    at_ns: int
    principal: str
    purpose: str
    policy_version: str
    verdict: str
    rule: str


#: Tables of wrapped keys, with the column that names one.
TABLES = {"keys": "number", "digest_keys": "wearer", "mark_key": "name"}
#: Name of the key of the marks. No wearer has a name with a space.
MARKS = "key of marks"
PRESENT = "state = 'present'"
#: Keys whose retention is over on a day: their day, and the days that its values may be kept, have passed.
DUE = f"{PRESENT} AND day + days < ?"
INSERT = (
    "INSERT INTO keys (wearer, days, day, generation, state, destroyed_ns) VALUES (?, ?, ?, ?, 'present', 0)"
)
FIND = (
    "SELECT number, generation, wrapped FROM keys"
    " WHERE wearer = ? AND days = ? AND day = ? AND state = 'present'"
)
SET_WRAPPED = "UPDATE keys SET wrapped = ? WHERE number = ?"


def present(file: sqlite3.Connection, wanted: KeyFor) -> tuple[int, int, bytes] | None:
    """(Number, generation, wrapped key) of a present key."""
    row: tuple[int, int, bytes] | None = file.execute(FIND, wanted).fetchone()
    return row


def outdated(
    file: sqlite3.Connection, table: str, key: str, count: int
) -> list[tuple[int | str, int, bytes]]:
    """(Key column, generation, wrapped key) of some keys that an earlier generation wraps."""
    only = f"AND {PRESENT}" if table == "keys" else ""
    return file.execute(
        f"SELECT {key}, generation, wrapped FROM {table}"  # noqa: S608
        f" WHERE generation < (SELECT generation FROM store) {only} LIMIT {count}"
    ).fetchall()


def generation(file: sqlite3.Connection) -> int:
    """The newest generation of the key-encryption key."""
    return int(file.execute("SELECT generation FROM store").fetchone()[0])


def destroyed(
    file: sqlite3.Connection, state: State, now_ns: int, condition: str, values: tuple[object, ...]
) -> int:
    """Destroy the keys of a condition; returns their number."""
    return file.execute(
        f"UPDATE keys SET wrapped = NULL, wearer = '', state = ?, destroyed_ns = ? WHERE {condition}",  # noqa: S608
        (state, now_ns, *values),
    ).rowcount


def bound_to(store: bytes, number: int) -> bytes:
    """Name that a wrapped key is bound to, so that no two rows can be exchanged."""
    return store + struct.pack(">Q", number)


def named(store: bytes, name: str) -> bytes:
    """The same for a key of digests, by its wearer, and for that of the marks."""
    return store + name.encode()


def mark(key: bytes, number: int) -> bytes:
    """Mark of the name of a key, by the key of the marks."""
    return hmac.digest(key, struct.pack(">Q", number), "sha256")[:MARK_BYTES]
