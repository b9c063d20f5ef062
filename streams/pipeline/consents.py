"""What wearers said, on its way.

It is in records of `glasses.consents`, in values of recorded inputs and, what is a partition's own, in its
state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import orjson
from msgspec import DecodeError, Struct, json

from streams.errors import MalformedError
from streams.events.consent import STATUSES, ConsentRecord, Consents, Own
from streams.events.record import Received

#: A wearer, and what was said.
Said = tuple[str, ConsentRecord]


def learn_consent(consents: Consents, record: Received) -> None:
    """Take in one record of `glasses.consents`.

    MalformedError when no zones stage wrote it, and then only its place counts.
    """
    consents.offset = max(consents.offset, record.offset + 1)
    try:
        said = json.decode(record.value or b"", type=_Value)
    except DecodeError:
        raise MalformedError("consent: found something else, expected what the zones stage writes") from None
    if said.v != 1 or said.status not in STATUSES or record.key != f"{said.wearer}/{said.event}".encode():
        raise MalformedError(
            "consent: its version, status or key is another, expected what the zones stage writes"
        )
    consents.learn(
        record.offset, said.wearer, ConsentRecord(said.number, said.status, said.purposes, said.expires_ns)
    )


class _Value(Struct, forbid_unknown_fields=True):
    """Value of a record of `glasses.consents`: who said what, in which event."""

    v: int
    wearer: str
    event: str
    number: int
    status: str
    purposes: tuple[str, ...]
    expires_ns: int


def consents_text(said: Iterable[Said]) -> str:
    """Value of a consent take-up: what was said, in order."""
    return orjson.dumps(
        [[wearer, one.number, one.status, one.expires_ns, *one.purposes] for wearer, one in said]
    ).decode()


def consents_of(text: str | bytes) -> list[Said]:
    """Inverse of `consents_text`; MalformedError when it is none."""
    try:
        said = [
            (wearer, ConsentRecord(number, status, tuple(purposes), expires_ns))
            for wearer, number, status, expires_ns, *purposes in orjson.loads(text)
        ]
    except (orjson.JSONDecodeError, TypeError, ValueError):
        raise MalformedError("consents: found something else, expected a list of what wearers said") from None
    for wearer, one in said:
        if (
            not isinstance(wearer, str)
            or type(one.number) is not int
            or one.status not in STATUSES
            or type(one.expires_ns) is not int
            or (not all(isinstance(purpose, str) for purpose in one.purposes))
        ):
            raise MalformedError(
                "consents: found a field of another type, expected wearer, number, "
                "status, expiry and purposes"
            )
    return said


def own_of(fields: Mapping[str, object]) -> dict[str, tuple[tuple[int, ConsentRecord], ...]]:
    """A partition's own records from what `own_fields` made of them."""
    found: dict[str, tuple[tuple[int, ConsentRecord], ...]] = {}
    for position, text in fields.items():
        for wearer, record in consents_of(str(text)):
            found[wearer] = (*found.get(wearer, ()), (int(position.partition(".")[0]), record))
    return found


def own_fields(own: Own) -> dict[str, str]:
    """A partition's own records as a JSON-able mapping, in the order of their positions."""
    listed = sorted(
        ((position, wearer, record) for wearer, said in own.items() for position, record in said),
        key=lambda one: one[:2],
    )
    return {
        f"{position}.{at}": consents_text([(wearer, record)])
        for at, (position, wearer, record) in enumerate(listed)
    }
