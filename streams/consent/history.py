"""What a wearer agreed to, as intervals: which purposes were in force from when to when, by which record.

An interval is of one device, because data is captured under a record of its own device. It says for which
purposes data that was captured in it might be used then. Nothing is decided here: `Words.effective`, the law
for decisions, is asked at each moment at which its answer can change, and what it says is put into words.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Literal

from msgspec import Struct, structs

from streams.consent.erased import ErasedPlace, Erasure
from streams.consent.view import Consents
from streams.consent.words import GIVEN, NEVER_NS, NOTHING_SAID, WITHDRAWN, Pairing, Reference, Word, Words

#: `replaced`: by another record that takes nothing away. `erased`: it holds on, and what was captured in it
#: is refused.
Ending = Literal["", "withdrawn", "narrowed", "expired", "replaced", "erased"]
#: Who speaks where no device does.
OPERATOR = "operator"


class ConsentInterval(Struct, frozen=True, kw_only=True):
    """The purposes that were in force for what a device captured, by the broker's time.

    `under` is the record that the device named, `begun_by` and `ended_by` are the records, or the operator,
    whose words began and ended it; `ended_by` is empty where time did. `until_ns` is 0 while it is in force,
    `expires_ns` is when it ends by itself, 0 for never. `left` is in force for the device right behind it.
    `notice` is the version of the notice under which the record was given, empty if the device named none.
    """

    under: Reference
    purposes: tuple[str, ...]
    since_ns: int
    until_ns: int = 0
    expires_ns: int = 0
    ended: Ending = ""
    left: tuple[str, ...] = ()
    begun_by: str = ""
    ended_by: str = ""
    notice: str = ""


class ConsentHistory(Struct, frozen=True, kw_only=True):
    """What a wearer's words came to, in order of time.

    `erased_ns` are the times of erasures of the wearer: what was captured up to each is refused, but for what
    was captured before its time in `erased_since_ns` (0: nothing). `erased_at` are those of a place, which
    end no interval: what was captured elsewhere may be used as before.
    `untold` counts erasures of which nothing tells whose they are, because the key store is not at hand.
    `newest_ns` is when the last of all these statements was appended, 0 if there is none.
    """

    intervals: tuple[ConsentInterval, ...]
    erased_ns: tuple[int, ...]
    erased_since_ns: tuple[int, ...]
    erased_at: tuple[ErasedPlace, ...]
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
    erased_ns, since_ns, untold = list[int](), list[int](), 0
    erased_at = list[ErasedPlace]()
    for _, by, statement in consents.between(0, consents.offset):
        if isinstance(statement, Pairing):
            continue
        if isinstance(statement, Erasure):
            if mark is None:
                untold += 1
            elif statement.mark == mark and (where := statement.at_place) is not None:
                telling.reach(statement.at_ns)
                erased_at.append(where)
            elif statement.mark == mark:
                erased_ns.append(telling.erase(statement.at_ns))
                since_ns.append(statement.since_ns)
        elif by == wearer:
            telling.say(statement)
    newest_ns = telling.now_ns
    telling.reach(now_ns)
    return ConsentHistory(
        intervals=telling.told(),
        erased_ns=tuple(erased_ns),
        erased_since_ns=tuple(since_ns),
        erased_at=tuple(erased_at),
        untold=untold,
        newest_ns=newest_ns,
    )


def taken_away(history: ConsentHistory) -> list[TakenAway]:
    """What wearers took back, or let expire, in order of time."""
    moments: dict[tuple[int, str, Ending], list[ConsentInterval]] = {}
    given: dict[tuple[str, str], list[int]] = {}
    for each in history.intervals:
        if each.ended in {"withdrawn", "narrowed", "expired"}:
            moments.setdefault((each.until_ns, each.ended_by, each.ended), []).append(each)
        for purpose in each.purposes:
            given.setdefault((each.under.device, purpose), []).append(each.since_ns)
    rows = list[TakenAway]()
    for (at_ns, by, ended), ends in sorted(moments.items()):
        devices = sorted({each.under.device for each in ends})
        left = {purpose for each in ends for purpose in each.left}
        purposes = sorted({purpose for each in ends for purpose in each.purposes if purpose not in each.left})
        begins = [
            given[device, purpose] for device in devices for purpose in purposes if (device, purpose) in given
        ]
        later = [times[bisect_left(times, at_ns)] for times in begins if times[-1] >= at_ns]
        rows.append(
            TakenAway(
                at_ns=at_ns,
                by=by,
                ended=ended,
                purposes=tuple(purposes),
                left=tuple(sorted(left - set(purposes))),
                devices=tuple(devices),
                again_ns=min(later, default=0),
            )
        )
    return rows


@dataclass(slots=True)
class _Speaker:
    """The record that a device names, as the device itself counts it; number 0: it names none."""

    under: Reference
    newest: int
    notices: dict[Reference, str] = field(default_factory=dict)
    open: ConsentInterval | None = None
    closed: list[ConsentInterval] = field(default_factory=list)

    def hear(self, word: Word) -> None:
        """Take a word of the device: a later one is what it names, unless it gives nothing."""
        if word.incarnation < self.under.incarnation:
            return
        self.notices.setdefault(Reference(word.device, word.incarnation, word.number), word.notice)
        before = self.newest if word.incarnation == self.under.incarnation else 0
        self.newest = max(before, word.number)
        named = self.newest if word.status == GIVEN and word.purposes else 0
        self.under = Reference(word.device, word.incarnation, named)

    def reopened(self, at_ns: int) -> ConsentInterval | None:
        """The interval that a word of the same millisecond ended: only the last of them counts."""
        if self.closed and self.closed[-1].until_ns == at_ns and self.closed[-1].ended != "expired":
            return structs.replace(self.closed.pop(), until_ns=0, ended="", ended_by="")
        return None

    def close(self, interval: ConsentInterval, at_ns: int, ended: Ending, by: str) -> None:
        """End an interval, unless it never was in force."""
        if at_ns > interval.since_ns:
            self.closed.append(structs.replace(interval, until_ns=at_ns, ended=ended, ended_by=by))


@dataclass(slots=True)
class _Telling:
    """The words so far, and for each device the interval that is open."""

    words: Words = NOTHING_SAID
    devices: dict[str, _Speaker] = field(default_factory=dict)
    #: Never decreases, also if the broker's clock was set back.
    now_ns: int = 0

    def say(self, word: Word) -> None:
        """Take a word, which can change what is in force for every device."""
        self.reach(word.at_ns)
        self.words = self.words.after(word)
        if word.device:
            first = Reference(word.device, word.incarnation, 0)
            self.devices.setdefault(word.device, _Speaker(first, 0)).hear(word)
        for device in self.devices.values():
            self._judge(device, word)

    def erase(self, at_ns: int) -> int:
        """Take an erasure, which ends nothing for what follows; returns its time."""
        self.reach(at_ns)
        for device in self.devices.values():
            if device.open is not None:
                device.close(device.open, self.now_ns, "erased", OPERATOR)
                device.open = structs.replace(device.open, since_ns=self.now_ns, begun_by=OPERATOR)
        return self.now_ns

    def told(self) -> tuple[ConsentInterval, ...]:
        """All intervals, in order of their beginnings."""
        rows = list[ConsentInterval]()
        for device in self.devices.values():
            own = [*device.closed, *([device.open] if device.open is not None else [])]
            begun = {each.since_ns: each.purposes for each in own}
            rows += [structs.replace(each, left=begun.get(each.until_ns, ())) for each in own]
        return tuple(sorted(rows, key=lambda each: (each.since_ns, each.under)))

    def reach(self, at_ns: int) -> None:
        """Let time go on, and end what expires meanwhile."""
        self.now_ns = max(self.now_ns, at_ns)
        for device in self.devices.values():
            if device.open is not None and 0 < device.open.expires_ns <= self.now_ns:
                device.close(device.open, device.open.expires_ns, "expired", "")
                device.open = None

    def _judge(self, device: _Speaker, word: Word) -> None:
        """Ask what is in force for what a device captures from now on, after a word."""
        after = self._in_force(device, word)
        if not _alike(device.open, after):
            before = device.open
            if before is None or before.since_ns == self.now_ns:
                before = device.reopened(self.now_ns)
            if before is not None and not _alike(before, after):
                device.close(before, self.now_ns, _ending(before, after, word), record_name(word))
                before = None
            device.open = before or after
        if device.open is not None and after is not None:
            device.open = structs.replace(device.open, expires_ns=after.expires_ns)

    def _in_force(self, device: _Speaker, word: Word) -> ConsentInterval | None:
        effective = self.words.effective(device.under, self.now_ns, self.now_ns)
        if not effective.consent.given or not effective.consent.purposes:
            return None
        return ConsentInterval(
            under=device.under,
            purposes=effective.consent.purposes,
            since_ns=self.now_ns,
            expires_ns=effective.until_ns if effective.until_ns < NEVER_NS else 0,
            begun_by=record_name(word),
            notice=device.notices.get(device.under, ""),
        )


def _alike(before: ConsentInterval | None, after: ConsentInterval | None) -> bool:
    if before is None or after is None:
        return before is after
    return (before.under, before.purposes) == (after.under, after.purposes)


def _ending(before: ConsentInterval, after: ConsentInterval | None, word: Word) -> Ending:
    left = set() if after is None else set(after.purposes)
    if left >= set(before.purposes):
        return "replaced"
    return "withdrawn" if word.status == WITHDRAWN else "narrowed"
