"""Words of wearers about the use of their data, read from `consent_change` events.

A word is in force from its position in the partition on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from streams.consent.words import GIVEN, WITHDRAWN, Word
from streams.errors import MalformedError
from streams.events.batch import Batch
from streams.events.identity import incarnation_of
from streams.limits import CONSENT_CHANGES_PER_HOUR_MAX, NUMBER_MAX

KIND = "consent_change"
#: Status of an event that is no word: the device says that it has shown a notice to its wearer.
ACKNOWLEDGED = "local:NoticeAcknowledged"
#: Status of a consent record in DPV's words, and its effect. Expired, refused, revoked and invalidated have
#: the same effect as withdrawn.
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
    """Raise MalformedError if a change states something impossible.

    That is the consent of another wearer, an end before the beginning, an unknown status or purpose, an
    invalid number, or more changes than are permitted in an hour.
    """
    if batch.run.count > CONSENT_CHANGES_PER_HOUR_MAX:
        raise MalformedError(
            f"n: found {batch.run.count} consent changes in one batch, expected at most"
            f" {CONSENT_CHANGES_PER_HOUR_MAX}"
        )
    for index in range(batch.run.count):
        fields = {name: values[index] for name, values in batch.columns.items()}
        number, expires_ns = fields["consent"], fields["expires_ns"]
        if fields["status"] == ACKNOWLEDGED:
            _check_acknowledgement(fields)
            number = 1
        if type(number) is not int or not 0 < number <= NUMBER_MAX:
            raise MalformedError(
                "consent: found no number of a consent record, expected 1 or more, counted by the device"
            )
        if fields["status"] not in {*STATUSES, ACKNOWLEDGED}:
            raise MalformedError(
                f"status: found another one, expected one of {', '.join((*STATUSES, ACKNOWLEDGED))}"
            )
        if fields["principal"] not in {None, batch.wearer_id}:
            raise MalformedError(
                "principal: found another wearer, expected the one who wears the device: "
                "nobody consents for another"
            )
        if expires_ns is not None and (type(expires_ns) is not int or expires_ns <= batch.time_ns(index)):
            raise MalformedError(
                "expires_ns: found a time that is past, "
                "expected one after the consent was given, or null for no end"
            )
        if not set(fields["purposes"].split()) <= set(purposes):
            raise MalformedError(
                f"purposes: found one that the policy does not know, expected some of {', '.join(purposes)}"
            )


def _check_acknowledgement(fields: Mapping[str, Any]) -> None:
    """Raise MalformedError if an acknowledgement names no notice, or says something about a consent."""
    if not fields.get("notice"):
        raise MalformedError("notice: found none, expected the version of the notice that was shown")
    if fields["consent"] != 0 or fields["purposes"] or fields["expires_ns"] is not None:
        raise MalformedError(
            "consent: found an acknowledgement that says something of a consent, expected the number 0, no"
            " purposes and no end: it gives and takes nothing"
        )


def shown(batch: Batch) -> str:
    """Version of the notice that the only event of a checked batch acknowledges; empty for a word."""
    acknowledges = batch.columns["status"][0] == ACKNOWLEDGED
    return str(batch.columns["notice"][0]) if acknowledges else ""


def word(batch: Batch) -> Word:
    """The word in the only event of a checked batch.

    Only what gives names a notice, so that what takes away is read by workers of before notices were named.
    """
    fields = {name: values[0] for name, values in batch.columns.items()}
    status = STATUSES[fields["status"]]
    return Word(
        batch.source,
        incarnation_of(batch.stream),
        fields["consent"],
        status,
        tuple(sorted(set(fields["purposes"].split()))),
        fields["expires_ns"] or 0,
        batch.appended_ns,
        (fields.get("notice") or "") if status == GIVEN else "",
    )
