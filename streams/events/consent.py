"""Consent: what each wearer has said about the use of the own data, and what that leaves of an earlier word.

A consent record has the fields of ISO/IEC TS 27560:2023 that a decision needs: record id (`number`, counted
by the wearer), the person (`wearer`), status, purposes, expiry. A record binds what was captured under it and
under every earlier one: withdrawing or narrowing reaches back, widening does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from streams.limits import CONSENTS_PER_WEARER_MAX

GIVEN, WITHDRAWN = "given", "withdrawn"
STATUSES = (GIVEN, WITHDRAWN)
#: State of data whose device knows of no consent, and of data whose consent is claimed by the device but not
#: on record.
NONE, CLAIMED, EXPIRED = "none", "claimed", "expired"


class ConsentRecord(Struct, frozen=True):
    """One word of a wearer. `purposes` are sorted vocabulary words; `expires_ns` is 0 for never."""

    number: int
    status: str
    purposes: tuple[str, ...]
    expires_ns: int = 0


class Consent(Struct, frozen=True):
    """Where a run of events stands: the state, and the purposes that are left (None: not limited)."""

    state: str
    purposes: tuple[str, ...] | None = None

    @property
    def given(self) -> bool:
        """Whether there is a consent that still stands."""
        return self.state in {GIVEN, CLAIMED}

    def permits(self, purpose: str) -> bool:
        """Whether the wearer lets data be used for `purpose`; the zones say what needs no consent."""
        return self.purposes is None or purpose in self.purposes

    def text(self) -> str:
        """State as the store keeps it: `given for A B` names the purposes that are left."""
        return f"{GIVEN} for {' '.join(self.purposes or ())}".rstrip() if self.state == GIVEN else self.state

    @classmethod
    def parse(cls, text: str) -> Consent:
        """Inverse of `text`; ValueError when it is none."""
        state, _, rest = text.partition(" for")
        if state == GIVEN:
            return cls(state, tuple(rest.split()))
        if text not in _PLAIN:
            raise ValueError(
                f"consent state: found another word, expected one of {', '.join((GIVEN, *_PLAIN))}"
            )
        return _PLAIN[text]


_PLAIN: Mapping[str, Consent] = {
    NONE: Consent(NONE),
    CLAIMED: Consent(CLAIMED),
    EXPIRED: Consent(EXPIRED, ()),
    WITHDRAWN: Consent(WITHDRAWN, ()),
}
NO_CONSENT, CLAIMED_CONSENT = _PLAIN[NONE], _PLAIN[CLAIMED]

Records = tuple[ConsentRecord, ...]
#: A partition's own records by wearer, each with its position, in order.
Own = Mapping[str, tuple[tuple[int, ConsentRecord], ...]]
_NEVER_NS = 2**63


def add(records: Records, record: ConsentRecord) -> Records:
    """`records` (sorted by number) with one more.

    A withdrawal of a number stands, whatever comes for it later.

    Beyond CONSENTS_PER_WEARER_MAX the two oldest become one that permits what both did.
    """
    by_number = {one.number: one for one in records}
    known = by_number.get(record.number)
    if known is not None and known.status == WITHDRAWN:
        return records
    by_number[record.number] = record
    merged = [by_number[number] for number in sorted(by_number)]
    while len(merged) > CONSENTS_PER_WEARER_MAX:
        merged[:2] = [_both(merged[0], merged[1])]
    return tuple(merged)


def _both(first: ConsentRecord, second: ConsentRecord) -> ConsentRecord:
    status = WITHDRAWN if WITHDRAWN in {first.status, second.status} else GIVEN
    ends = [one.expires_ns for one in (first, second) if one.expires_ns]
    return ConsentRecord(
        second.number, status, tuple(sorted({*first.purposes} & {*second.purposes})), min(ends, default=0)
    )


def standing(number: int, records: Sequence[ConsentRecord], t_ns: int) -> Consent:
    """Where data captured under consent `number` stands at `t_ns`, given all that its wearer has said.

    Number 0 stands for no consent. Every record from that number on binds. One that was never written down is
    the device's claim, and later records bind it too.
    """
    if not number:
        return NO_CONSENT
    purposes: tuple[str, ...] | None = None
    for record in records:
        if record.number < number:
            continue
        if record.status == WITHDRAWN:
            return _PLAIN[WITHDRAWN]
        if record.expires_ns and record.expires_ns <= t_ns:
            return _PLAIN[EXPIRED]
        purposes = (
            record.purposes if purposes is None else tuple(one for one in purposes if one in record.purposes)
        )
    return CLAIMED_CONSENT if purposes is None else Consent(GIVEN, purposes)


class Consents:
    """What every wearer has said, by wearer: the records of `glasses.consents` in the order of their offsets.

    A state that has taken them up to an offset asks for that offset, so that what arrives meanwhile changes
    nothing.
    """

    def __init__(self) -> None:
        self.offset = 0  #: next one to read
        self._by_wearer: dict[str, list[tuple[int, ConsentRecord]]] = {}

    def learn(self, offset: int, wearer: str, record: ConsentRecord) -> None:
        """Take the record at `offset`."""
        self._by_wearer.setdefault(wearer, []).append((offset, record))
        self.offset = max(self.offset, offset + 1)

    def of(self, wearer: str, below: int, own: Iterable[ConsentRecord] = ()) -> Records:
        """What `wearer` had said below an offset, and what is known besides (`own`)."""
        records: Records = ()
        for offset, record in self._by_wearer.get(wearer, ()):
            if offset < below:
                records = add(records, record)
        for record in own:
            records = add(records, record)
        return records

    def between(self, low: int, high: int) -> list[tuple[int, str, ConsentRecord]]:
        """(offset, wearer, record) of what lies from `low` to below `high`, in order."""
        return sorted(
            (
                (offset, wearer, record)
                for wearer, said in self._by_wearer.items()
                for offset, record in said
                if low <= offset < high
            ),
            key=lambda one: one[0],
        )


class Known:
    """What one partition knows of consents while a fetch lasts.

    That is what `taken` up to an offset says, and its own records by position.

    Asked for a place in the partition it answers as of that place, so that it does not matter how fetches
    were cut.
    """

    def __init__(self, consents: Consents, taken: int, own: Own) -> None:
        self._consents, self._taken, self.own = consents, taken, dict(own)
        self._memo: dict[tuple[str, int], tuple[int, int, Consent]] = {}

    def say(self, wearer: str, position: int, record: ConsentRecord) -> None:
        """Take a record that stands at `position` of this partition."""
        self.own[wearer] = (*self.own.get(wearer, ()), (position, record))
        self._memo.clear()

    def of(self, wearer: str, number: int, position: int, t_ns: int) -> Consent:
        """Where data of `wearer` stands at `position` and `t_ns` that was captured under consent `number`."""
        if not number:
            return NO_CONSENT
        known = self._memo.get((wearer, number))
        if known is not None and position >= known[0] and t_ns < known[1]:
            return known[2]
        own = self.own.get(wearer, ())
        records = self._consents.of(wearer, self._taken, [record for at, record in own if at <= position])
        found = standing(number, records, t_ns)
        if not own or own[-1][0] <= position:
            ends = (record.expires_ns for record in records if record.expires_ns > t_ns)
            self._memo[wearer, number] = (position, min(ends, default=_NEVER_NS), found)
        return found
