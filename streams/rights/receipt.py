"""What an erasure did, place by place, in a form that a stranger can check and that names nobody.

A receipt names every place of `PLACES` exactly once: one that nobody looked at is `not-verifiable` or
`out-of-scope` and says why, so silence is never taken for absence. The person is a keyed hash under a random
salt that she alone is handed; without it nobody can try pseudonyms until one fits.

The canonical form is that of RFC 8785 (JCS), restricted until every language writes it alike: objects with
sorted names, arrays, printable ASCII, integers from 0 to 2^53 - 1. There are no floats, because their text is
the hardest part of JCS, and no larger integers, because JCS has only doubles: so times are strings of digits.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from itertools import pairwise
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct

from streams.errors import SightlineError
from streams.limits import RECEIPT_BYTES_MAX, RECEIPT_COUNT_MAX, TIME_NS_MAX

#: Stands in what is signed, so a signature under another form is none of a receipt.
FORM = "sightline-receipt-1"
SALT_BYTES = 32
Level = Literal[
    "stopped",  # no decision lets it anywhere any more; its bytes may still lie there
    "hidden",  # nobody is shown it
    "unreadable",  # the keys are destroyed; the ciphertext lies there
    "rewritten",  # files were made again without it
    "absent",  # its bytes were looked for and not there
    "refitted",  # models were fitted again without it
    "not-verifiable",  # something may be there, and nobody here can look
    "out-of-scope",  # the erasure does not reach there
]
PlaceName = Literal[
    "decisions",
    "glasses.captured",
    "glasses.zoned",
    "glasses.derived",
    "glasses.answers",
    "glasses.examples",
    "glasses.models",
    "glasses.consents",
    "glasses.notices",
    "glasses.state",
    "glasses.rejected",
    "glasses.lineage",
    "store",
    "reads",  # the audit log, which has roles of wearers and ids that were asked for
    "logs",  # of processes, and their metrics
    "backups",
    "device",
    "exports",
    "other-consumers",
    "bystanders",
]
LEVELS: tuple[Level, ...] = get_args(Level)
PLACES: tuple[PlaceName, ...] = get_args(PlaceName)
#: Levels that claim nothing, so they have to say why.
UNCLAIMED: tuple[Level, ...] = ("not-verifiable", "out-of-scope")
_ID, _SUBJECT = re.compile(r"[0-9a-f]{32}"), re.compile(r"[0-9a-f]{64}")
_MODEL, _DIGEST = re.compile(r"[a-z0-9/.-]{1,100}"), re.compile(r"[0-9a-f]{16,64}")
_PRINTABLE = re.compile(r"[ -~]*")
_DIGITS = re.compile(r"0|[1-9][0-9]{0,18}")


class InvalidReceiptError(SightlineError):
    """A receipt is incomplete, contradicts itself or was changed, so it is neither signed nor believed."""


class PlaceOutcome(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds at a place since `at_ns` (0 if nobody looked), for so many records, rows, keys or files."""

    place: PlaceName
    level: Level
    count: int = 0
    at_ns: int = 0
    note: str = ""


class KeptItem(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept in spite of the erasure, and on which ground: `GDPR Art. 7(1): proof of consent`."""

    item: str
    reason: str
    count: int = 1


class Refitted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model version that was fitted again without the erased; equal digests mean that nothing changed."""

    model: str
    digest_before: str
    digest_after: str


class Receipt(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an erasure did.

    Attributes
    ----------
    id
        Of the erasure: 32 hexadecimal digits, which say nothing of the person.
    subject
        Who was erased, as `subject_of` gives it.
    scope
        What was to be erased: `all`, `since 2026-09-01T00:00:00Z`, `place home`.
    requested_ns, stopped_ns, keys_destroyed_ns, finished_ns
        When it was asked for, when it was stated, which everybody heeds from the next fetch on, when the keys
        were gone, and the end: in ns since the epoch, in this order.
    places, kept, refitted
        Every place once; what is kept, which at least the receipt itself is; models with their digests.
    """

    id: str
    subject: str
    scope: str
    policy_version: str
    requested_ns: int
    stopped_ns: int
    keys_destroyed_ns: int
    finished_ns: int
    places: tuple[PlaceOutcome, ...]
    kept: tuple[KeptItem, ...]
    refitted: tuple[Refitted, ...] = ()


def new_salt() -> bytes:
    """A random salt for `subject_of`: it is handed to the person, and never stands in a receipt."""
    return secrets.token_bytes(SALT_BYTES)


def subject_of(wearer: str, salt: bytes) -> str:
    """The person in a receipt: HMAC-SHA-256 of the pseudonym, in hexadecimal digits.

    Not BLAKE2b as for our own digests, because the standard library of every language has this one.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError(
            f"salt: found {len(salt)} bytes, expected {SALT_BYTES} of `new_salt`, or it can be guessed"
        )
    return hmac.digest(salt, wearer.encode(), "sha256").hex()


def written(receipt: Receipt) -> bytes:
    """Canonical bytes of a receipt: what is signed. InvalidReceiptError if it may not be."""
    for fault in _faults(receipt):
        raise InvalidReceiptError(f"receipt {receipt.id}: {fault}")
    return canonical(plain(receipt))


def plain(receipt: Receipt) -> dict[str, Any]:
    """A receipt as values of the canonical form."""
    return {"form": FORM, **_times(msgspec.to_builtins(receipt), str)}


def canonical(values: dict[str, Any]) -> bytes:
    """Canonical bytes of values that are those of the canonical form."""
    return msgspec.json.encode(values, order="sorted")


def read(values: dict[str, Any]) -> Receipt:
    """Inverse of `plain`; InvalidReceiptError if they are of another form, or no receipt may say this."""
    form = values.get("form")
    if form != FORM:
        raise InvalidReceiptError(
            f"receipt: found another form than {FORM}; verify it with the version of Sightline that knows it"
        )
    others = {name: value for name, value in values.items() if name != "form"}
    try:
        receipt = msgspec.convert(_times(others, _number), Receipt)
    except msgspec.ValidationError as error:
        raise InvalidReceiptError(f"receipt: {error}, expected what {FORM} has") from None
    for fault in _faults(receipt):
        raise InvalidReceiptError(f"receipt: {fault}")
    return receipt


def refuse_names(receipt: Receipt, names: Collection[str]) -> None:
    """Raise InvalidReceiptError if a name (of a wearer, of a device) stands in a text of a receipt."""
    for path, text in _texts(receipt):
        for name in names:
            # A name may be as short as `g1`, so it only counts as a word of its own.
            if re.search(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", text):
                raise InvalidReceiptError(
                    f"receipt {receipt.id}: {path}: found the name of a wearer or a device, expected none in"
                    " a receipt; say it without"
                )


def _times(value: Any, convert: Callable[[Any], object], name: str = "") -> Any:
    """The values with every time (`*_ns`) converted."""
    if isinstance(value, dict):
        return {key: _times(inner, convert, key) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_times(inner, convert) for inner in value]
    return convert(value) if name.endswith("_ns") else value


def _number(text: object) -> int:
    if not isinstance(text, str) or not _DIGITS.fullmatch(text):
        raise InvalidReceiptError(
            "receipt: found a time that is no string of digits, expected ns since the epoch in one"
        )
    return int(text)


def _faults(receipt: Receipt) -> Iterator[str]:
    """Why a receipt may not be signed, or not be believed."""
    for name, pattern in (("id", _ID), ("subject", _SUBJECT)):
        if not pattern.fullmatch(getattr(receipt, name)):
            yield f"{name}: found another form, expected {pattern.pattern}"
    yield from (
        f"{path}: found characters other than printable ASCII, expected none; write it in ASCII"
        for path, text in _texts(receipt)
        if not _PRINTABLE.fullmatch(text)
    )
    yield from (
        f"{path}: found {count}, expected 0 to {RECEIPT_COUNT_MAX}"
        for path, count in _counts(receipt)
        if not 0 <= count <= RECEIPT_COUNT_MAX
    )
    for name in ("scope", "policy_version"):
        if not getattr(receipt, name):
            yield f"{name}: found nothing, expected which one"
    yield from _untimely(receipt)
    yield from _incomplete(receipt)
    yield from _unexplained(receipt)


def _untimely(receipt: Receipt) -> Iterator[str]:
    names = ("requested_ns", "stopped_ns", "keys_destroyed_ns", "finished_ns")
    times = [(name, getattr(receipt, name)) for name in names]
    for (before, earlier), (after, later) in pairwise(
        [("nothing", 1), *times, ("the end of time", TIME_NS_MAX)]
    ):
        if later < earlier:
            yield f"{after}: found a time before {before}, expected {', '.join(names)} in this order"
    for each in receipt.places:
        if each.at_ns == 0 and each.level not in UNCLAIMED:
            yield f"places: {each.place}: found no time, expected since when it is {each.level}"
        if each.at_ns and not receipt.requested_ns <= each.at_ns <= receipt.finished_ns:
            yield f"places: {each.place}: found a time outside the erasure, expected one of it"


def _incomplete(receipt: Receipt) -> Iterator[str]:
    times = Counter(each.place for each in receipt.places)
    if lacking := [place for place in PLACES if not times[place]]:
        yield (
            f"places: found nothing about {', '.join(lacking)}, expected every place; say"
            f" {' or '.join(UNCLAIMED)} where nobody looked"
        )
    if several := [place for place in PLACES if times[place] > 1]:
        yield f"places: found {', '.join(several)} more than once, expected every place once"


def _unexplained(receipt: Receipt) -> Iterator[str]:
    for each in receipt.places:
        if each.level in UNCLAIMED and not each.note:
            yield f"places: {each.place}: found no note, expected why it is {each.level}"
        if each.level == "refitted" and each.place != "glasses.models":
            yield f"places: {each.place}: found refitted, expected that of glasses.models alone"
    if not receipt.kept:
        yield "kept: found nothing, expected at least this receipt and why it is kept"
    if any(not each.item or not each.reason for each in receipt.kept):
        yield "kept: found one without item or reason, expected both"
    refitted = any(each.level == "refitted" for each in receipt.places)
    if refitted != bool(receipt.refitted):
        yield (
            f"refitted: found {len(receipt.refitted)} models where glasses.models is"
            f" {'' if refitted else 'not '}refitted, expected models if and only if it is"
        )
    for model in receipt.refitted:
        digests = (model.digest_before, model.digest_after)
        if not _MODEL.fullmatch(model.model) or not all(map(_DIGEST.fullmatch, digests)):
            yield "refitted: found another form, expected a model version and two digests of 16 to 64 digits"


def _texts(receipt: Receipt) -> Iterator[tuple[str, str]]:
    """(Where, text) of everything in a receipt that somebody worded."""
    yield from (("scope", receipt.scope), ("policy_version", receipt.policy_version))
    yield from ((f"places: {each.place}: note", each.note) for each in receipt.places)
    for each in receipt.kept:
        yield from (("kept: item", each.item), ("kept: reason", each.reason))
    yield from (("refitted: model", each.model) for each in receipt.refitted)


def _counts(receipt: Receipt) -> Iterator[tuple[str, int]]:
    yield from ((f"places: {each.place}: count", each.count) for each in receipt.places)
    yield from ((f"kept: {number}: count", each.count) for number, each in enumerate(receipt.kept))


def fitting(content: bytes) -> bytes:
    """The bytes of a signed receipt; InvalidReceiptError if they are more than a receipt may have."""
    if len(content) > RECEIPT_BYTES_MAX:
        raise InvalidReceiptError(
            f"receipt: found {len(content):,} bytes, expected at most {RECEIPT_BYTES_MAX:,}; shorten notes"
            " and reasons"
        )
    return content
