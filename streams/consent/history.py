"""What a wearer agreed to, as intervals: which purposes were in force from when to when, by which record.

An interval is of one device, because data is captured under a record of its own device. It says for which
purposes data that was captured in it might be used then. Nothing is decided here: `Words.effective`, the law
for decisions, is asked at each moment at which its answer can change, and what it says is put into words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from msgspec import Struct, structs

from streams.consent.view import Consents
from streams.consent.words import (
    GIVEN,
    NEVER_NS,
    NOTHING_SAID,
    WITHDRAWN,
    Erasure,
    Pairing,
    Reference,
    Word,
    Words,
)

#: `replaced`: by another record that takes nothing away. `erased`: it holds on, and what was captured in it
#: is refused.
Ending = Literal["", "withdrawn", "narrowed", "expired", "replaced", "erased"]
#: Who speaks where no device does.
OPERATOR = "operator"


class ConsentInterval(Struct, frozen=True, kw_only=True):
    """The purposes that were in force for what a device captured, by the broker's time.

    `under` is the record that the device named, `begun_by` and `ended_by` are the records, or the operator,
    whose words began and ended it; `ended_by` is empty where time did. `until_ns` is 0 while it is in force,
    `expires_ns` is when it ends by itself, 0 for never.
    """

    under: Reference
    purposes: tuple[str, ...]
    since_ns: int
    until_ns: int = 0
    expires_ns: int = 0
    ended: Ending = ""
    begun_by: str = ""
    ended_by: str = ""


class ConsentHistory(Struct, frozen=True, kw_only=True):
    """What a wearer's words came to, in order of time.

    `erased_ns` are the times of erasures of the wearer: what was captured up to the last one is refused.
    `untold` counts erasures of which nothing tells whose they are, because the key store is not at hand.
    `newest_ns` is when the last of all these statements was appended, 0 if there is none.
    """

    intervals: tuple[ConsentInterval, ...]
    erased_ns: tuple[int, ...]
    untold: int
    newest_ns: int


class TakenAway(Struct, frozen=True, kw_only=True):
    """Purposes that were taken back at one moment, or expired then, from what these devices capture.

    `left` are those that stayed in force, and `again_ns` is when one of them was given again, 0 if none was.
    """

    at_ns: int
    by: str
    ended: Ending
    purposes: tuple[str, ...]
    left: tuple[str, ...]
    devices: tuple[str, ...]
    again_ns: int = 0


def record_name(of: Reference | Word) -> str:
    """A consent record in words: `g1 3`, `g1~2 1`; `operator` for a word that is on no device."""
    if not of.device:
        return OPERATOR
    device = f"{of.device}~{of.incarnation}" if of.incarnation > 1 else of.device
    return f"{device} {of.number}"


def history_of(consents: Consents, wearer: str, now_ns: int) -> ConsentHistory:
    """What the words of a wearer came to until `now_ns`, over all that was read of `glasses.consents`."""
    mark = None if consents.mark is None else consents.mark(wearer)
    telling = _Telling()
    erased_ns, untold = list[int](), 0
    for _, by, statement in consents.between(0, consents.offset):
        if isinstance(statement, Pairing):
            continue
        if isinstance(statement, Erasure):
            if mark is None:
                untold += 1
            elif statement.mark == mark:
                erased_ns.append(telling.erase(statement.at_ns))
        elif by == wearer:
            telling.say(statement)
    newest_ns = telling.now_ns
    telling.reach(now_ns)
    return ConsentHistory(
        intervals=telling.told(), erased_ns=tuple(erased_ns), untold=untold, newest_ns=newest_ns
    )


def left_after(history: ConsentHistory, ended: ConsentInterval) -> set[str]:
    """The purposes that are in force for a device right behind an interval."""
    device, at_ns = ended.under.device, ended.until_ns
    after = (each for each in history.intervals if (each.under.device, each.since_ns) == (device, at_ns))
    return {purpose for each in after for purpose in each.purposes}


def taken_away(history: ConsentHistory) -> list[TakenAway]:
    """What wearers took back, or let expire, in order of time."""
    moments: dict[tuple[int, str, Ending], dict[str, set[str]]] = {}
    left: dict[tuple[int, str, Ending], set[str]] = {}
    for each in history.intervals:
        if each.ended in {"withdrawn", "narrowed", "expired"}:
            gone = set(each.purposes) - left_after(history, each)
            key: tuple[int, str, Ending] = (each.until_ns, each.ended_by, each.ended)
            moments.setdefault(key, {})[each.under.device] = gone
            left.setdefault(key, set()).update(left_after(history, each))
    rows = list[TakenAway]()
    for moment, devices in sorted(moments.items()):
        at_ns, by, ended = moment
        purposes = set().union(*devices.values())
        again = [
            each.since_ns
            for each in history.intervals
            if each.since_ns >= at_ns and each.under.device in devices and purposes & set(each.purposes)
        ]
        rows.append(
            TakenAway(
                at_ns=at_ns,
                by=by,
                ended=ended,
                purposes=tuple(sorted(purposes)),
                left=tuple(sorted(left[moment] - purposes)),
                devices=tuple(sorted(devices)),
                again_ns=min(again, default=0),
            )
        )
    return rows


@dataclass(slots=True)
class _Device:
    """The record that a device names, as the device itself counts it; number 0: it names none."""

    under: Reference
    newest: int
    open: ConsentInterval | None = None

    def hear(self, word: Word) -> None:
        """Take a word of the device: a later one is what it names, unless it gives nothing."""
        if word.incarnation < self.under.incarnation:
            return
        before = self.newest if word.incarnation == self.under.incarnation else 0
        self.newest = max(before, word.number)
        named = self.newest if word.status == GIVEN and word.purposes else 0
        self.under = Reference(word.device, word.incarnation, named)


@dataclass(slots=True)
class _Telling:
    """The words so far, and for each device the interval that is open."""

    words: Words = NOTHING_SAID
    devices: dict[str, _Device] = field(default_factory=dict)
    closed: list[ConsentInterval] = field(default_factory=list)
    #: Never decreases, also if the broker's clock was set back.
    now_ns: int = 0

    def say(self, word: Word) -> None:
        """Take a word, which can change what is in force for every device."""
        self.reach(word.at_ns)
        self.words = self.words.after(word)
        if word.device:
            first = Reference(word.device, word.incarnation, 0)
            self.devices.setdefault(word.device, _Device(first, 0)).hear(word)
        for device in self.devices.values():
            self._judge(device, word)

    def erase(self, at_ns: int) -> int:
        """Take an erasure, which ends nothing for what follows; returns its time."""
        self.reach(at_ns)
        for device in self.devices.values():
            if device.open is not None:
                self._close(device.open, self.now_ns, "erased", OPERATOR)
                device.open = structs.replace(device.open, since_ns=self.now_ns, begun_by=OPERATOR)
        return self.now_ns

    def told(self) -> tuple[ConsentInterval, ...]:
        """All intervals, in order; those in force last."""
        still = [device.open for device in self.devices.values() if device.open is not None]
        return tuple(sorted((*self.closed, *still), key=lambda each: (each.since_ns, each.under)))

    def reach(self, at_ns: int) -> None:
        """Let time go on, and end what expires meanwhile."""
        self.now_ns = max(self.now_ns, at_ns)
        for device in self.devices.values():
            if device.open is not None and 0 < device.open.expires_ns <= self.now_ns:
                self._close(device.open, device.open.expires_ns, "expired", "")
                device.open = None

    def _judge(self, device: _Device, word: Word) -> None:
        """Ask what is in force for what a device captures from now on, after a word."""
        before, after = device.open, None
        effective = self.words.effective(device.under, self.now_ns, self.now_ns)
        purposes = effective.consent.purposes
        if effective.consent.given and purposes:
            ends_ns = effective.until_ns if effective.until_ns < NEVER_NS else 0
            after = ConsentInterval(
                under=device.under,
                purposes=purposes,
                since_ns=self.now_ns,
                expires_ns=ends_ns,
                begun_by=record_name(word),
            )
            if before is not None and (before.under, before.purposes) == (after.under, after.purposes):
                after = structs.replace(before, expires_ns=ends_ns)
                before = None
        if before is not None:
            ended = _ending(before, after, word)
            self._close(before, self.now_ns, ended, record_name(word))
        device.open = after

    def _close(self, interval: ConsentInterval, at_ns: int, ended: Ending, by: str) -> None:
        # Of two words in one millisecond only the last one was ever in force.
        if at_ns > interval.since_ns:
            self.closed.append(structs.replace(interval, until_ns=at_ns, ended=ended, ended_by=by))


def _ending(before: ConsentInterval, after: ConsentInterval | None, word: Word) -> Ending:
    left = set() if after is None else set(after.purposes)
    if left >= set(before.purposes):
        return "replaced"
    return "withdrawn" if word.status == WITHDRAWN else "narrowed"
