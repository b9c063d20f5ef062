"""What a key store knows of erasures: that each was requested and by whom, and how far it is.

A request is on disk before its first destructive act, so an erasure that was interrupted is finished by the
next one, and a key store that is restored shows by the topics which erasures it lacks. The wearer's name, and
when the wearer was at a place that is erased, stay until the erasure is finished; then only the mark does.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from msgspec import json, structs

from streams.consent.erased import ALL, Scope
from streams.sealing.key_file import KeyFile

#: What an erasure does, in order.
Step = Literal["requested", "stopped", "unreadable", "models", "second", "store", "finished"]
STEPS: tuple[Step, ...] = get_args(Step)
#: Who asked for an erasure: an operator, or the wearer on a paired device. One that is known from the topic
#: alone, because this key store was restored from before it, was asked for elsewhere.
Origin = Literal["operator", "device", "topic"]
_NUMBER_BITS = 48
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS erasures (number INTEGER PRIMARY KEY, mark TEXT NOT NULL,"
    " wearer TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS erasure_steps (number INTEGER NOT NULL, step TEXT NOT NULL,"
    " at_ns INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (number, step)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS erasure_origins (number INTEGER PRIMARY KEY, origin TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS erasure_places (number INTEGER PRIMARY KEY, scope TEXT NOT NULL)",
)


class Done(NamedTuple):
    """When a step was done (ns since the epoch), and on how many things."""

    at_ns: int
    things: int


class Requested(NamedTuple):
    """An erasure: its number, the mark of its wearer, her name until it is finished, and its steps so far.

    Of one whose `origin` is `topic`, steps are those that are known here; the rest was recorded elsewhere.
    The request counts the time (ns) before which nothing is erased: 0 if everything is. `at_place` is the
    scope of one that names a place, without its spans when it is finished.
    """

    number: int
    mark: str
    wearer: str
    steps: Mapping[Step, Done]
    origin: Origin = "operator"
    at_place: Scope | None = None

    @property
    def scope(self) -> Scope:
        """What it takes; everything if that is not known here."""
        if self.at_place is not None:
            return self.at_place
        return Scope(self.steps["requested"].things) if "requested" in self.steps else ALL

    @property
    def next_step(self) -> Step | None:
        """The first step that is to be done here; None if there is none."""
        # One that an older version finished may lack a step that was not known then.
        if self.origin == "topic" or STEPS[-1] in self.steps:
            return None
        return next((step for step in STEPS if step not in self.steps), None)


class Erasures:
    """The erasures in an open key store; each method is one transaction, on disk when it returns."""

    def __init__(self, file: KeyFile) -> None:
        self._file = file
        with file.write() as statements:
            # Key stores of before erasures lack the tables.
            for statement in _SCHEMA:
                statements.execute(statement)

    def request(
        self, wearer: str, mark: str, at_ns: int, origin: Origin = "operator", scope: Scope = ALL
    ) -> Requested:
        """The erasure of a wearer that is not finished; if there is none, a new one, requested at `at_ns`.

        Its number is random, so that no older copy of the key store gives it again. The scope is that of the
        new one.
        """
        with self._file.write() as file:
            row = file.execute("SELECT number FROM erasures WHERE wearer = ?", (wearer,)).fetchone()
            if row is None:
                row = (1 + secrets.randbits(_NUMBER_BITS),)
                file.execute("INSERT INTO erasures VALUES (?, ?, ?)", (*row, mark, wearer))
                file.execute("INSERT INTO erasure_origins VALUES (?, ?)", (*row, origin))
                _note(file, row[0], "requested", Done(at_ns, scope.since_ns))
                if scope.place:
                    file.execute("INSERT INTO erasure_places VALUES (?, ?)", (*row, _text(scope)))
            return _read(file, row[0])

    def adopt(self, number: int, mark: str, stopped: Done, unreadable: Done) -> None:
        """Write down what is known of an erasure whose keys this key store still had, since it was restored.

        That is when it stopped all use, by the topic, and that its keys are destroyed again. One that was
        under way when the key store was copied goes on from there.
        """
        with self._file.write() as file:
            if file.execute("SELECT 1 FROM erasures WHERE number = ?", (number,)).fetchone() is None:
                file.execute("INSERT INTO erasures VALUES (?, ?, '')", (number, mark))
                file.execute("INSERT INTO erasure_origins VALUES (?, 'topic')", (number,))
            _note(file, number, "stopped", stopped)
            _note(file, number, "unreadable", unreadable)

    def done(self, number: int, step: Step, done: Done) -> Requested:
        """Write down that a step is done; the last one takes the wearer's name and stays away."""
        with self._file.write() as file:
            _note(file, number, step, done)
            if step == STEPS[-1]:
                file.execute("UPDATE erasures SET wearer = '' WHERE number = ?", (number,))
                if (scope := _at_place(file, number)) is not None:
                    left = _text(structs.replace(scope, spans=()))
                    file.execute("UPDATE erasure_places SET scope = ? WHERE number = ?", (left, number))
            return _read(file, number)

    def of(self, number: int) -> Requested:
        """The erasure of a number as it is now."""
        with self._file.read() as file:
            return _read(file, number)

    def all(self) -> list[Requested]:
        """All erasures, in the order of what is known of them first."""
        with self._file.read() as file:
            numbers = [number for (number,) in file.execute("SELECT number FROM erasures")]
            erasures = [_read(file, number) for number in numbers]
        return sorted(erasures, key=lambda each: min(done.at_ns for done in each.steps.values()))


def _note(file: sqlite3.Connection, number: int, step: Step, done: Done) -> None:
    """Write down a step; one that is repeated keeps its first time."""
    file.execute("INSERT OR IGNORE INTO erasure_steps VALUES (?, ?, ?, ?)", (number, step, *done))


def _read(file: sqlite3.Connection, number: int) -> Requested:
    mark, wearer = file.execute("SELECT mark, wearer FROM erasures WHERE number = ?", (number,)).fetchone()
    steps = file.execute("SELECT step, at_ns, count FROM erasure_steps WHERE number = ?", (number,))
    done: dict[Step, Done] = {step: Done(at_ns, things) for step, at_ns, things in steps}
    # What was requested before this was written down was an operator's.
    row = file.execute("SELECT origin FROM erasure_origins WHERE number = ?", (number,)).fetchone()
    return Requested(number, mark, wearer, done, row[0] if row else "operator", _at_place(file, number))


def _text(scope: Scope) -> str:
    return json.encode(scope).decode()


def _at_place(file: sqlite3.Connection, number: int) -> Scope | None:
    row = file.execute("SELECT scope FROM erasure_places WHERE number = ?", (number,)).fetchone()
    return None if row is None else json.decode(row[0], type=Scope)
