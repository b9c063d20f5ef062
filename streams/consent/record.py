"""Encodings of the words of wearers, and of the statements of operators.

They are records of `glasses.consents`, values of recorded inputs, and a partition's own words in its state.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import orjson
from msgspec import DecodeError, Meta, Struct, ValidationError, convert, json, to_builtins

from streams.consent.erased import ALL, ErasedTime, Erasure, Scope, erasure_of
from streams.consent.view import Consents, Own
from streams.consent.words import NOBODY, STATUSES, WITHDRAWN, Pairing, Statement, Word
from streams.errors import MalformedError
from streams.events.batch import Place
from streams.events.identity import EventId
from streams.events.record import Outgoing, Received, stamp_ns
from streams.limits import (
    CONSENT_BYTES_MAX,
    CONSENT_TAKEUP_BYTES_MAX,
    ERASED_KEYS_MAX,
    ERASED_SPANS_MAX,
    NUMBER_MAX,
    PURPOSES_MAX,
    TIME_NS_MAX,
    TOKEN_CHARACTERS_MAX,
)
from streams.topology import CONSENTS, ERASURE_KEY, OPERATOR_KEY, PAIRING_KEY, WORD_KEY

_JSON = (("content-type", b"application/json"),)
#: Timestamp of outgoing records; the broker replaces it by the append time on this topic.
_BROKERS_MS = 0
_NOT_OURS = (
    "consent: its version, status or key is another, expected what the zones stage or an operator writes"
)

_DRAWN_BYTES = 16
_DRAWN = re.compile(rb"[0-9a-f]{%d}" % (2 * _DRAWN_BYTES))
_MS_NS = 1_000_000
# What a partition takes up is recorded as an input, so numbers must fit in 64 bits and texts must be short.
_Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
_Time = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Captured = Annotated[int, Meta(ge=0, le=TIME_NS_MAX)]
_Name = Annotated[str, Meta(max_length=TOKEN_CHARACTERS_MAX)]
_Purposes = Annotated[tuple[_Name, ...], Meta(max_length=PURPOSES_MAX)]


class _Value(Struct, forbid_unknown_fields=True):
    """Value of a wearer's word on `glasses.consents`: who said what on which device, in which event.

    Version 1, from Sightline 0.1.0 before devices were bound to wearers, has neither device nor time.
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
    notice: _Name = ""


class _Bound(Struct, forbid_unknown_fields=True):
    device: _Name
    wearer: _Name
    bound: bool
    at_ns: _Time


class _Pairing(Struct, forbid_unknown_fields=True):
    """Value of an operator's pairing on `glasses.consents`."""

    v: int
    pairing: _Bound


class _ErasedAs(Struct, forbid_unknown_fields=True):
    """`at_ns` is in records of the first erasures alone, and was always 0.

    `until_ns`, `spans` and `keys` are only there with a `place`.
    """

    mark: Annotated[str, Meta(pattern=r"\A[0-9a-f]{1,128}\Z")]
    number: _Number
    at_ns: Annotated[int, Meta(ge=0, le=0)] = 0
    since_ns: _Captured = 0
    until_ns: _Captured = 0
    place: Literal["", Place] = ""
    spans: Annotated[tuple[tuple[_Captured, _Captured], ...], Meta(max_length=ERASED_SPANS_MAX)] = ()
    keys: Annotated[tuple[_Number, ...], Meta(max_length=ERASED_KEYS_MAX)] = ()

    @property
    def scope(self) -> Scope:
        """What it takes."""
        spans = tuple(ErasedTime(*span) for span in self.spans)
        return Scope(self.since_ns, self.until_ns, self.place, spans, self.keys)


class _Erased(Struct, forbid_unknown_fields=True):
    """Value of an operator's erasure on `glasses.consents`; the broker alone says when it was."""

    v: int
    erasure: _ErasedAs


def learn_consent(consents: Consents, record: Received) -> None:
    """Process one record of `glasses.consents`.

    MalformedError if neither a zones stage nor an operator can have written it; then only its offset is kept.
    A record without a value says nothing: it lets compaction take what stands before it under its key.
    """
    consents.offset = max(consents.offset, record.offset + 1)
    if record.value is None:
        return
    if len(record.value or b"") > CONSENT_BYTES_MAX:
        raise MalformedError(f"consent: found more than {CONSENT_BYTES_MAX} bytes, expected fewer")
    try:
        first, *others = (record.key or b"").split(b"/")
        if first == PAIRING_KEY.encode() and len(others) == 2:
            wearer, statement = _pairing(record)
        elif first == ERASURE_KEY.encode() and len(others) == 2:
            wearer, statement = _erasure(record)
        else:
            wearer, statement = _word(record)
    except (DecodeError, UnicodeDecodeError):
        raise MalformedError("consent: found something else, expected what the zones stage writes") from None
    consents.learn(record.offset, wearer, statement, appended_ms=record.timestamp)


def _pairing(record: Received) -> Statement:
    value = json.decode(record.value or b"", type=_Pairing)
    bound = value.pairing
    *place, last = (record.key or b"").split(b"/")
    named = last == bound.wearer.encode()
    if value.v != 2 or place != [PAIRING_KEY.encode(), bound.device.encode()] or not (named or _drawn(last)):
        raise MalformedError(_NOT_OURS)
    return bound.wearer, Pairing(bound.device, bound.bound, bound.at_ns or stamp_ns(record))


def _erasure(record: Received) -> Statement:
    value = json.decode(record.value or b"", type=_Erased)
    erased = value.erasure
    if value.v != 2 or record.key != f"{ERASURE_KEY}/{erased.mark}/{erased.number}".encode():
        raise MalformedError(_NOT_OURS)
    # To the end of the millisecond in which the broker took it.
    at_ns = stamp_ns(record) + _MS_NS - 1
    return NOBODY, erasure_of(erased.mark, erased.number, at_ns, erased.scope)


def _word(record: Received) -> Statement:
    value = json.decode(record.value or b"", type=_Value)
    if value.v not in {1, 2} or value.status not in STATUSES or not _is_key_of(value, record.key or b""):
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
        value.notice,
    )


def _is_key_of(value: _Value, key: bytes) -> bool:
    """Whether a word can stand under a key; keys of before have the wearer's name in place of `word`."""
    if key in {word_key(value.event), f"{value.wearer}/{value.event}".encode()}:
        return True
    by_operator, _, last = key.rpartition(b"/")
    return (
        value.event.startswith(f"{OPERATOR_KEY}/") and by_operator == word_key(value.event) and _drawn(last)
    )


def _drawn(part: bytes) -> bool:
    """Whether a part of a key is one that `_draw` can have drawn."""
    return _DRAWN.fullmatch(part) is not None


def _draw() -> str:
    """Part of a key in place of the wearer, so that compaction keeps what was said of each; it tells nothing.

    It is drawn and no hash: a hash can be tried with every pseudonym, and who binds devices need not have
    the key store.
    """
    return secrets.token_hex(_DRAWN_BYTES)


def word_key(event: str) -> bytes:
    """Key of what was said in an event. It names no wearer, so it may outlive the value."""
    return f"{WORD_KEY}/{event}".encode()


def pairing_record(device: str, wearer: str, *, bound: bool) -> Outgoing:
    """Record of an operator for `glasses.consents`: from here on, a device is bound to a wearer, or not."""
    fields = {"device": device, "wearer": wearer, "bound": bound, "at_ns": 0}
    key = f"{PAIRING_KEY}/{device}/{_draw()}".encode()
    return Outgoing(CONSENTS, 0, key, orjson.dumps({"v": 2, "pairing": fields}), _JSON, _BROKERS_MS)


def withdrawal_record(wearer: str, number: int) -> Outgoing:
    """Record of an operator for `glasses.consents`: a wearer withdraws; `number` counts such words from 0.

    It names no device and no consent record, because it only takes away and gives nothing.
    """
    event = f"{OPERATOR_KEY}/{number}"
    word = to_builtins(Word("", 0, 0, WITHDRAWN, (), 0, 0))
    value = {"v": 2, "wearer": wearer, "event": event, **word}
    key = word_key(event) + b"/" + _draw().encode()
    return Outgoing(CONSENTS, 0, key, orjson.dumps(value), _JSON, _BROKERS_MS)


def erasure_record(mark: str, number: int, scope: Scope = ALL) -> Outgoing:
    """Record of an operator for `glasses.consents`: what a wearer captured until now is erased."""
    key = f"{ERASURE_KEY}/{mark}/{number}".encode()
    value = {"v": 2, "erasure": {"mark": mark, "number": number, **to_builtins(scope)}}
    return Outgoing(CONSENTS, 0, key, orjson.dumps(value), _JSON, _BROKERS_MS)


def consents_text(statements: Iterable[Statement]) -> str:
    """Value of a consent take-up: the statements in order."""
    return orjson.dumps([[wearer, to_builtins(statement)] for wearer, statement in statements]).decode()


def take_ups_of(statements: Iterable[Statement]) -> list[str]:
    """Values of consent take-ups at one position: the statements in order, in parts of bounded length.

    Each part fits in a row, however many statements there are. Parts after the first begin with their number.
    """
    parts: list[list[Statement]] = [[]]
    size = 0
    for statement in statements:
        length = len(consents_text([statement]))
        if parts[-1] and size + length > CONSENT_TAKEUP_BYTES_MAX:
            parts.append([])
            size = 0
        parts[-1].append(statement)
        size += length
    first, *others = map(consents_text, parts)
    return [first, *(f"[{number},{text[1:]}" for number, text in enumerate(others, 1))]


def part_of(text: str) -> int:
    """Number of the part of a take-up that a value of `take_ups_of` is; 0 for the first."""
    number = text[1:].partition(",")[0]
    return int(number) if number.isdecimal() else 0


def consents_of(text: str | bytes) -> list[Statement]:
    """Inverse of `consents_text`, and of each part of `take_ups_of`; MalformedError if the text is neither.

    Take-ups of Sightline 0.1.0 before devices were bound to wearers have neither device nor time. Their words
    get the device "", which has no consent records.
    """
    try:
        rows = orjson.loads(text)
        if not isinstance(rows, list):
            raise TypeError  # noqa: TRY301  an empty object would be taken for an empty list
        return [_statement(row) for row in (rows[1:] if rows and type(rows[0]) is int else rows)]
    except (ValidationError, LookupError, TypeError, ValueError):
        raise MalformedError("consents: found something else, expected a list of what was said") from None


def _statement(row: Any) -> Statement:
    wearer, content = str(row[0]), row[1]
    if isinstance(content, dict) and "bound" in content:
        return wearer, convert(content, Pairing)
    if isinstance(content, dict) and "mark" in content:
        return wearer, convert(content, Erasure)
    if isinstance(content, dict):
        word = convert(content, Word)
    else:
        number, status, expires_ns, *purposes = row[1:]
        fields = {"number": number, "status": status, "purposes": purposes, "expires_ns": expires_ns}
        word = convert({"device": "", "incarnation": 0, **fields, "at_ns": 0}, Word)
    if word.status not in STATUSES:
        raise ValueError
    return wearer, word


def own_of(fields: Mapping[str, object]) -> dict[str, tuple[tuple[int, Word], ...]]:
    """A partition's own words; the inverse of `own_fields`."""
    own: dict[str, tuple[tuple[int, Word], ...]] = {}
    for position, text in fields.items():
        for wearer, word in consents_of(str(text)):
            if isinstance(word, Word):
                own[wearer] = (*own.get(wearer, ()), (int(position.partition(".")[0]), word))
    return own


def own_fields(own: Own) -> dict[str, str]:
    """A partition's own words as a mapping that JSON can encode, in the order of their positions."""
    listed = sorted(
        ((position, wearer, word) for wearer, words in own.items() for position, word in words),
        key=lambda row: row[:2],
    )
    return {
        f"{position}.{at}": consents_text([(wearer, word)])
        for at, (position, wearer, word) in enumerate(listed)
    }
