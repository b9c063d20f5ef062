"""Erasures that the store knows, and the runs of erased events, in the hot file and in memory.

Neither a wearer nor a device or stream stands in them: each by a hash under a key of the key store (`Mark`),
so rows that name no wearer are recognised when they arrive later, and nobody reads from them whose they were.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache

import pyarrow as pa
from msgspec import Struct
from msgspec.structs import astuple, replace

from streams.consent.erased import NOTHING_ERASED, ErasedParts, Erasure, Mark
from streams.events.headers import rfc3339
from streams.limits import NAMES_KNOWN_MAX, TIME_NS_MAX
from streams.lineage.selection import KNOWN
from streams.snapshots.epochs.hot import Hot

#: Revision in `erased_runs` of a device: one that nobody else wore, and one that perhaps nobody else wore.
ALONE, PERHAPS_ALONE = -1, -2
#: (place, revision), and (low, high) for each of its runs.
_Runs = dict[tuple[str, int], list[tuple[int, int]]]


class Applied(Struct, frozen=True):
    """An erasure as the store has applied it.

    `rows` were removed or lost a part, `files` written again or removed. `owed`: rows of it arrived since
    that may be in segments.
    """

    mark: str
    number: int
    at_ns: int
    epoch: int
    rows: int
    files: int
    rewritten_ns: int
    absent_ns: int
    owed: bool


class Names:
    """Tells of a name whether an erasure that the store knows took it, and gives the mark of that erasure.

    Parameters
    ----------
    applied
        Stated erasures, and how each was applied.
    runs
        See `Erasures`.
    """

    def __init__(
        self, mark: Mark, applied: Iterable[tuple[Erasure, Applied | None]], runs: Mapping[str, _Runs]
    ) -> None:
        self._mark = mark
        #: The newest erasure by its mark.
        self.numbers: dict[str, int] = {}
        #: By the mark of those of whom nothing stays: the time until which a name means what is erased.
        self._until: dict[str, str] = {}
        for each, done in sorted(applied, key=lambda pair: pair[0].at_ns):
            self.numbers[each.mark] = each.number
            if each.leaves_nothing:
                self._until[each.mark] = rfc3339((done and done.absent_ns) or TIME_NS_MAX)
        self._places: dict[tuple[str, int], list[tuple[str, Sequence[tuple[int, int]]]]] = {}
        for name, some in runs.items():
            for place, each_runs in some.items():
                self._places.setdefault(place, []).append((name, each_runs))

    def of_word(self, word: str, at: str) -> str:
        """The mark of a wearer of whom all is erased, or of whose device alone it was; empty if of none.

        `at` is when it was said, as the audit log has it: afterwards a name is of what is captured later.
        """
        name = self._mark(word)
        devices = self._places.get((_place(self._mark, word, ""), ALONE), ())
        names = (name, *(owner for owner, runs in devices if any(not low for low, _ in runs)))
        return next((each for each in names if each in self._until and at <= self._until[each]), "")

    def of_event(self, source: str, stream: str, number: int, revision: int) -> str:
        """The mark of whose erased event it was; empty if it was nobody's."""
        of = self._places.get((_place(self._mark, source, stream), revision), ())
        return next((name for name, runs in of if any(low <= number <= high for low, high in runs)), "")


class Erasures:
    """Those of a store; call `read` after the hot file was opened again."""

    def __init__(self, hot: Hot) -> None:
        self._hot = hot
        #: Whether the newest catalog does not show them as they are.
        self.changed = False
        self._stated: dict[tuple[str, int], Erasure] = {}
        self._mark: Mark | None = None
        self.read()

    def read(self) -> None:
        """Read what the hot file has."""
        rows = self._hot.connection.execute("FROM erasures ORDER BY at_ns, number").fetchall()
        self._applied = {(row[0], row[1]): Applied(*row) for row in rows}
        self._runs: dict[str, _Runs] = {}
        for mark, place, revision, low, high in self._hot.connection.execute("FROM erased_runs").fetchall():
            self._runs.setdefault(mark, {}).setdefault((place, revision), []).append((low, high))

    def state(self, erasures: Iterable[Erasure], mark: Mark) -> None:
        """Learn which erasures are stated; `mark` tells whose they are."""
        # Names are marked again with every poll.
        self._mark = lru_cache(NAMES_KNOWN_MAX)(mark)
        self._stated |= {(each.mark, each.number): each for each in erasures}

    @property
    def mark(self) -> Mark | None:
        """How wearers, devices and streams are marked; None as long as no erasure was stated."""
        return self._mark if self._stated else None

    def parts(self, wearers: Iterable[str]) -> dict[str, ErasedParts]:
        """What is erased of those wearers of whom anything is."""
        if (mark := self.mark) is None:
            return {}
        parts: dict[str, ErasedParts] = {}
        for each in self._stated.values():
            parts[each.mark] = parts.get(each.mark, NOTHING_ERASED).after(each)
        return {wearer: parts[name] for wearer in wearers if wearer and (name := mark(wearer)) in parts}

    def pending(self) -> list[Erasure]:
        """Stated erasures that are not applied, or owed again, oldest first."""
        wanted = [
            each
            for key, each in self._stated.items()
            if (applied := self._applied.get(key)) is None or applied.owed
        ]
        return sorted(wanted, key=lambda each: (each.at_ns, each.number))

    def owed(self) -> bool:
        """Whether an applied erasure must be looked at again."""
        return any(each.owed for each in self._applied.values())

    def applied(self, erasure: Erasure) -> Applied | None:
        """How an erasure was applied; None if it was not."""
        return self._applied.get((erasure.mark, erasure.number))

    def waiting(self) -> list[Applied]:
        """Applied erasures of which files of before may still be there."""
        return [each for each in self._applied.values() if not each.absent_ns]

    def keep(self, applied: Applied) -> None:
        """Write down an applied erasure; within a transaction."""
        self._hot.connection.execute(
            "DELETE FROM erasures WHERE mark = ? AND number = ?", [applied.mark, applied.number]
        )
        self._hot.connection.execute(
            "INSERT INTO erasures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", astuple(applied)
        )
        self._applied[applied.mark, applied.number] = applied
        self.changed = True

    def absent(self, now_ns: int) -> None:
        """Write down that nothing is left of any applied erasure."""
        with self._hot.transaction():
            for each in self.waiting():
                self.keep(replace(each, absent_ns=now_ns))

    def remember(self, runs: pa.Table, *, alone: int) -> bool:
        """Keep runs of erased events (rows of KNOWN) by their marks; returns whether any are new.

        `alone` is the revision by which devices are kept (without a stream). It is within a transaction.
        """
        if (mark := self.mark) is None:
            return False
        rows = []
        for wearer, source, stream, revision, low, high in zip(
            *(column.to_pylist() for column in runs.columns), strict=True
        ):
            name, place = mark(wearer), _place(mark, source, stream)
            known = self._runs.setdefault(name, {}).setdefault((place, revision if stream else alone), [])
            if not any(begin <= low and high <= end for begin, end in known):
                known.append((low, high))
                rows.append((name, place, revision if stream else alone, low, high))
        if rows:
            columns = ("mark", "place", "revision", "low", "high")
            content = dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))
            with self._hot.incoming(pa.table(content)):
                self._hot.connection.execute("INSERT INTO erased_runs BY NAME FROM incoming")
        return bool(rows)

    def owe(self, wearers: Iterable[str]) -> None:
        """Write down that events of erased wearers arrived, so that what names no wearer is looked for."""
        self._owe({self._mark(wearer) for wearer in wearers} if self._mark else set())

    def owe_of(self, events: Iterable[tuple[str, str, int, int, int]]) -> None:
        """The same of erased events that others' rows name: (source, stream, revision, lowest, highest)."""
        if (mark := self.mark) is None:
            return
        named = {
            ((_place(mark, source, stream), revision), lowest, highest)
            for source, stream, revision, lowest, highest in events
        }
        self._owe(
            {
                name
                for name, runs in self._runs.items()
                for key, lowest, highest in named
                if any(low <= highest and high >= lowest for low, high in runs.get(key, ()))
            }
        )

    def _owe(self, marks: Collection[str]) -> None:
        for key, each in [*self._applied.items()]:
            if each.mark in marks and not each.owed:
                self._hot.connection.execute(
                    "UPDATE erasures SET owed = true WHERE mark = ? AND number = ?", [*key]
                )
                self._applied[key] = replace(each, owed=True)

    def known(self, streams: Sequence[tuple[str, str]], wearers: Iterable[str], *, certain: bool) -> pa.Table:
        """Remembered runs in some streams and on their devices, as rows of KNOWN.

        A run is of one of `wearers` if that is its mark, and else of nobody who is named. With `certain`,
        devices that somebody else may have worn are left out.
        """
        if (mark := self.mark) is None or not self._runs:
            return KNOWN.empty_table()
        names = {mark(wearer): wearer for wearer in wearers}
        places = {_place(mark, *stream): stream for stream in streams}
        places |= {_place(mark, source, ""): (source, "") for source, _ in streams}
        rows = [
            (names.get(name, ""), *places[place], revision, low, high)
            for name, runs in self._runs.items()
            for (place, revision), some in runs.items()
            if place in places and not (certain and revision == PERHAPS_ALONE)
            for low, high in some
        ]
        columns = zip(*rows, strict=True) if rows else [()] * len(KNOWN)
        return pa.table(
            [pa.array(column, kind) for column, kind in zip(columns, KNOWN.types, strict=True)], KNOWN
        )

    def names(self) -> Names | None:
        """What tells whether a name is of a stated erasure; None if there is none."""
        if (mark := self.mark) is None:
            return None
        applied = [(each, self._applied.get(key)) for key, each in self._stated.items()]
        return Names(mark, applied, self._runs)

    def forget_within(self, events: Iterable[tuple[str, str, int, int, int]]) -> None:
        """Take the numbers of events that are not erased out of the remembered runs.

        `events` are (source, stream, revision, lowest, highest). It is within a transaction.
        """
        if (mark := self.mark) is None:
            return
        for source, stream, revision, lowest, highest in events:
            key = (_place(mark, source, stream), revision)
            for name, runs in self._runs.items():
                if any(low <= highest and high >= lowest for low, high in runs.get(key, ())):
                    left = [part for run in runs[key] for part in _without(run, lowest, highest)]
                    self._hot.connection.execute(
                        "DELETE FROM erased_runs WHERE mark = ? AND place = ? AND revision = ?", [name, *key]
                    )
                    runs[key] = left
                    for low, high in left:
                        self._hot.connection.execute(
                            "INSERT INTO erased_runs VALUES (?, ?, ?, ?, ?)", [name, *key, low, high]
                        )


def _place(mark: Mark, source: str, stream: str) -> str:
    # No wearer has a name with a slash, so no place has the mark of a wearer.
    return mark(f"{source}/{stream}")


def _without(run: tuple[int, int], lowest: int, highest: int) -> list[tuple[int, int]]:
    low, high = run
    parts = [(low, min(high, lowest - 1)), (max(low, highest + 1), high)]
    return [part for part in parts if part[0] <= part[1]]
