"""What a wearer says about the use of the own data.

It is read from `consent_change` events, and in force from its place in the partition on.
"""

from __future__ import annotations

from collections.abc import Collection

from streams.errors import MalformedError
from streams.events.batch import Batch
from streams.events.consent import GIVEN, WITHDRAWN, ConsentRecord, Known
from streams.limits import NUMBER_MAX

KIND = "consent_change"
#: Status of a consent record in DPV's words, and what it comes to. Refused, revoked and invalidated leave as
#: little as withdrawn.
STATUSES = {
    "dpv:ConsentGiven": GIVEN,
    "dpv:ConsentRenewed": GIVEN,
    "dpv:ConsentWithdrawn": WITHDRAWN,
    "dpv:ConsentRefused": WITHDRAWN,
    "dpv:ConsentRevoked": WITHDRAWN,
    "dpv:ConsentExpired": WITHDRAWN,
    "dpv:ConsentInvalidated": WITHDRAWN,
}


def check(batch: Batch, purposes: Collection[str]) -> None:
    """MalformedError when a change says what cannot be.

    That is another wearer's consent, an end before its beginning, an unknown word.
    """
    for index in range(batch.run.count):
        said = {name: values[index] for name, values in batch.columns.items()}
        number, expires_ns = said["consent"], said["expires_ns"]
        if type(number) is not int or not 0 < number <= NUMBER_MAX:
            raise MalformedError(
                "consent: found no number of a consent record, expected 1 or more, counted by the wearer"
            )
        if said["status"] not in STATUSES:
            raise MalformedError(f"status: found another one, expected one of {', '.join(STATUSES)}")
        if said["principal"] not in {None, batch.wearer_id}:
            raise MalformedError(
                "principal: found another wearer, expected the one who wears the device: "
                "nobody consents for another"
            )
        if expires_ns is not None and (type(expires_ns) is not int or expires_ns <= batch.time_ns(index)):
            raise MalformedError(
                "expires_ns: found a time that is past, "
                "expected one after the consent was given, or null for no end"
            )
        if not set(said["purposes"].split()) <= set(purposes):
            raise MalformedError(
                f"purposes: found one that the policy does not know, expected some of {', '.join(purposes)}"
            )


def records(batch: Batch) -> list[ConsentRecord]:
    """What the events of a checked batch say, in order."""
    said = zip(
        *(batch.columns[name] for name in ("consent", "status", "purposes", "expires_ns")), strict=True
    )
    return [
        ConsentRecord(number, STATUSES[status], tuple(sorted(set(purposes.split()))), expires_ns or 0)
        for number, status, purposes, expires_ns in said
    ]


def say(batch: Batch, known: Known, *, refused: bool) -> None:
    """Let a checked batch take effect at its place; of one that policy refuses only what takes back."""
    for record in records(batch):
        if not refused or record.status == WITHDRAWN:
            known.say(batch.wearer_id, batch.position, record)
