"""What wearers and operators said, on its way.

Records of `glasses.consents`, values of recorded inputs, a partition's own words in its state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import orjson
from msgspec import DecodeError, Meta, Struct, ValidationError, convert, json, to_builtins

from streams.consent.view import Consents, Own
from streams.consent.words import STATUSES, WITHDRAWN, Pairing, Said, Word
from streams.errors import MalformedError
from streams.events.identity import EventId
from streams.events.record import Outgoing, Received, stamp_ns
from streams.limits import (
    CONSENT_BYTES_MAX,
    CONSENT_TAKEUP_BYTES_MAX,
    NUMBER_MAX,
    PURPOSES_MAX,
    TOKEN_CHARACTERS_MAX,
)
from streams.topology import CONSENTS, OPERATOR_KEY, PAIRING_KEY

_JSON = (("content-type", b"application/json"),)
_NOT_OURS = (
    "consent: its version, status or key is another, expected what the zones stage or an operator writes"
)


# What is taken up is recorded as an input, and must fit there: 64 bits, and not too long.
_Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
_Time = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Name = Annotated[str, Meta(max_length=TOKEN_CHARACTERS_MAX)]
_Purposes = Annotated[tuple[_Name, ...], Meta(max_length=PURPOSES_MAX)]


class _Value(Struct, forbid_unknown_fields=True):
    """Value of a wearer's word on `glasses.consents`: who said what on which device, in which event.

    Version 1, of Sightline 0.1.0 before devices were bound, says neither device nor time.
    """

    v: int
    wearer: _Name
    event: str
    number: _Number
    status: str
    purposes: _Purposes
    expires_ns: _Time
    device: _Name = ""
    incarnation: _Number = 0
    at_ns: _Time = 0


class _Bound(Struct, forbid_unknown_fields=True):
    device: _Name
    wearer: _Name
    bound: bool
    at_ns: _Time


class _Pairing(Struct, forbid_unknown_fields=True):
    """Value of an operator's pairing on `glasses.consents`."""

    v: int
    pairing: _Bound


def learn_consent(consents: Consents, record: Received) -> None:
    """Take in one record of `glasses.consents`.

    MalformedError when neither a zones stage nor an operator wrote it, and then only its place counts.
    """
    consents.offset = max(consents.offset, record.offset + 1)
    if len(record.value or b"") > CONSENT_BYTES_MAX:
        raise MalformedError(f"consent: found more than {CONSENT_BYTES_MAX} bytes, expected fewer")
    try:
        if (record.key or b"").count(b"/") == 2 and (record.key or b"").startswith(b"pairing/"):
            wearer, said = _pairing(record)
        else:
            wearer, said = _word(record)
    except (DecodeError, UnicodeDecodeError):
        raise MalformedError("consent: found something else, expected what the zones stage writes") from None
    consents.learn(record.offset, wearer, said)


def _pairing(record: Received) -> Said:
    value = json.decode(record.value or b"", type=_Pairing)
    one = value.pairing
    if value.v != 2 or record.key != f"{PAIRING_KEY}/{one.device}/{one.wearer}".encode():
        raise MalformedError(_NOT_OURS)
    return one.wearer, Pairing(one.device, one.bound, one.at_ns or stamp_ns(record))


def _word(record: Received) -> Said:
    value = json.decode(record.value or b"", type=_Value)
    if (
        value.v not in {1, 2}
        or value.status not in STATUSES
        or record.key != f"{value.wearer}/{value.event}".encode()
    ):
        raise MalformedError(_NOT_OURS)
    device, incarnation = value.device, value.incarnation
    if value.v == 1:
        said_in = EventId.parse(value.event)
        device, incarnation = said_in.source, said_in.incarnation
    return value.wearer, Word(
        device,
        incarnation,
        value.number,
        value.status,
        value.purposes,
        value.expires_ns,
        value.at_ns or stamp_ns(record),
    )


def pairing_record(device: str, wearer: str, *, bound: bool) -> Outgoing:
    """An operator's word for `glasses.consents`: from here on a device is bound to a wearer, or no longer."""
    said = {"device": device, "wearer": wearer, "bound": bound, "at_ns": 0}
    key = f"{PAIRING_KEY}/{device}/{wearer}".encode()
    return Outgoing(CONSENTS, 0, key, orjson.dumps({"v": 2, "pairing": said}), _JSON)


def withdrawal_record(wearer: str, number: int) -> Outgoing:
    """An operator's word for `glasses.consents`: a wearer withdraws; such a word's `number` counts from 0.

    No device said it, and it stands on no record: it takes away and gives nothing.
    """
    event = f"{OPERATOR_KEY}/{number}"
    word = to_builtins(Word("", 0, 0, WITHDRAWN, (), 0, 0))
    value = {"v": 2, "wearer": wearer, "event": event, **word}
    return Outgoing(CONSENTS, 0, f"{wearer}/{event}".encode(), orjson.dumps(value), _JSON)


def consents_text(said: Iterable[Said]) -> str:
    """Value of a consent take-up: what was said, in order."""
    return orjson.dumps([[wearer, to_builtins(one)] for wearer, one in said]).decode()


def take_ups_of(said: Iterable[Said]) -> list[str]:
    """Values of consent take-ups at one place: what was said, in order, in parts of bounded length.

    A part after the first begins with its number: however much was said at once, each fits its row.
    """
    parts: list[list[Said]] = [[]]
    size = 0
    for one in said:
        length = len(consents_text([one]))
        if parts[-1] and size + length > CONSENT_TAKEUP_BYTES_MAX:
            parts.append([])
            size = 0
        parts[-1].append(one)
        size += length
    first, *others = map(consents_text, parts)
    return [first, *(f"[{number},{text[1:]}" for number, text in enumerate(others, 1))]


def part_of(text: str) -> int:
    """Which part of a take-up a value of `take_ups_of` is; 0 for the first."""
    number = text[1:].partition(",")[0]
    return int(number) if number.isdecimal() else 0


def consents_of(text: str | bytes) -> list[Said]:
    """Inverse of `consents_text`, and of each part of `take_ups_of`; MalformedError when it is none.

    Take-ups of Sightline 0.1.0 before devices were bound name neither device nor time: those are all of
    device "", of which nothing stands on record.
    """
    try:
        said = orjson.loads(text)
        return [_said(one) for one in (said[1:] if said and type(said[0]) is int else said)]
    except (ValidationError, LookupError, TypeError, ValueError):
        raise MalformedError("consents: found something else, expected a list of what was said") from None


def _said(one: Any) -> Said:
    wearer, what = str(one[0]), one[1]
    if isinstance(what, dict) and "bound" in what:
        return wearer, convert(what, Pairing)
    if isinstance(what, dict):
        word = convert(what, Word)
    else:
        number, status, expires_ns, *purposes = one[1:]
        said = {"number": number, "status": status, "purposes": purposes, "expires_ns": expires_ns}
        word = convert({"device": "", "incarnation": 0, **said, "at_ns": 0}, Word)
    if word.status not in STATUSES:
        raise ValueError
    return wearer, word


def own_of(fields: Mapping[str, object]) -> dict[str, tuple[tuple[int, Word], ...]]:
    """A partition's own words from what `own_fields` made of them."""
    found: dict[str, tuple[tuple[int, Word], ...]] = {}
    for position, text in fields.items():
        for wearer, word in consents_of(str(text)):
            if isinstance(word, Word):
                found[wearer] = (*found.get(wearer, ()), (int(position.partition(".")[0]), word))
    return found


def own_fields(own: Own) -> dict[str, str]:
    """A partition's own words as a JSON-able mapping, in the order of their positions."""
    listed = sorted(
        ((position, wearer, word) for wearer, said in own.items() for position, word in said),
        key=lambda one: one[:2],
    )
    return {
        f"{position}.{at}": consents_text([(wearer, word)])
        for at, (position, wearer, word) in enumerate(listed)
    }
