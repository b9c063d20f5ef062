"""A wearer's consent records and a receipt of them, as JSON-LD in DPV's profile of ISO/IEC TS 27560:2023.

The profile is the guide "Consent Records and Receipts as per ISO/IEC TS 27560:2023 using DPV" of 2026-02-15
(github.com/w3c/dpv at f01a55c3, `guides/consent-27560.html`); it has no shapes. All is taken from what the
wearer said and from the policy that was in force then. What neither states is listed as missing and not made
up. Ids follow from the wearer and the record, so that the same record has the same id wherever it is made.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from streams.consent.history import OPERATOR, ConsentHistory, ConsentInterval, record_name
from streams.consent.words import Reference
from streams.events.headers import rfc3339
from streams.policy.dpv import NAMESPACES, TERMS
from streams.policy.policy import Policy
from streams.policy.rules import Owner
from streams.policy.stopping import Asking

PROFILE = "https://w3id.org/dpv/schema/dpv-27560#"
_IRI = {"@type": "@id"}
_TIME = {"@type": "http://www.w3.org/2001/XMLSchema#dateTime"}
#: What the prefixes of terms stand for, and which values are terms or times.
CONTEXT: Mapping[str, Any] = {
    **NAMESPACES,
    "dct": "http://purl.org/dc/terms/",
    "loc": "https://w3id.org/dpv/loc#",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "schema": "https://schema.org/",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    **{
        term: {"@id": term, **_IRI}
        for term in (
            "dct:conformsTo",
            "dct:isReplacedBy",
            "dpv:hasLegalBasis",
            "dpv:hasJurisdiction",
            "dpv:hasLocation",
            "dpv:hasPersonalData",
            "dpv:hasPurpose",
            "dpv:isImplementedByEntity",
            "dpv:isIndicatedBy",
            "schema:recipient",
            "skos:broader",
        )
    },
    **{term: {"@id": term, **_TIME} for term in ("dct:created", "dpv:isIndicatedAtTime")},
}
#: Who runs what is behind a sink, in DPV; a vendor can be a processor or a third party, which no policy says.
_RUN_BY = {"wearer": "dpv:DataSubject", "company": "dpv:DataController"}
_REGIONS = {"eu": "loc:EU"}
#: Fields that every record must have and that no policy and no word states.
NEVER_STATED = ("party address",)


class HandedTo(Struct, frozen=True, kw_only=True):
    """A sink that may receive data of a wearer for a purpose, as the policy describes it."""

    sink: str
    about: str
    run_by: str
    region: str


class Handling(Struct, frozen=True, kw_only=True):
    """What a policy permits for a purpose: which categories, to whom, and for how many days at most."""

    categories: tuple[str, ...]
    recipients: tuple[HandedTo, ...]
    days_max: int


class Stated(Struct, frozen=True, kw_only=True):
    """What was stated when a consent was given: the policy in force, and its handlings by purpose.

    `policy` is None if nothing tells which one was in force.
    """

    policy: Policy | None = None
    handlings: Mapping[str, Handling] = {}


def handlings_of(policy: Policy, flows: Iterable[Asking]) -> dict[str, Handling]:
    """What a policy permits for each purpose of data that needs the wearer's consent, of some flows."""
    categories: dict[str, set[str]] = {}
    recipients: dict[str, dict[str, HandedTo]] = {}
    days: dict[str, set[int]] = {}
    for zone, label, name in flows:
        says = policy.vocabulary.says(label)
        if policy.zones_by_name[zone].without_consent or not says["subjects"]:
            continue
        sink = policy.sinks[name]
        categories.setdefault(sink.purpose, set()).update(says["categories"])
        handed = HandedTo(sink=name, about=sink.about, run_by=sink.run_by, region=sink.region)
        recipients.setdefault(sink.purpose, {})[name] = handed
        days.setdefault(sink.purpose, set()).add(policy.retention_days(label))
    return {
        purpose: Handling(
            categories=tuple(sorted(words)),
            recipients=tuple(recipients[purpose].values()),
            days_max=max(days[purpose]),
        )
        for purpose, words in categories.items()
    }


def record_id(wearer: str, of: Reference | str) -> str:
    """Id of a consent record, or of a receipt: a name-based UUID (RFC 9562, version 5)."""
    name = of if isinstance(of, str) else f"{of.device}/{of.incarnation}/{of.number}"
    return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{PROFILE}record/{wearer}/{name}')}"


def receipt(wearer: str, history: ConsentHistory, stated: Callable[[int], Stated]) -> dict[str, Any]:
    """The receipt with all records that were ever in force; `stated` tells what was stated at a time (ns).

    It is dated by the wearer's last statement, so it is the same until there is another one.
    """
    by_record: dict[Reference, list[ConsentInterval]] = {}
    for each in history.intervals:
        by_record.setdefault(each.under, []).append(each)
    names = {record_name(under): under for under in by_record}
    records = []
    for under, rows in by_record.items():
        successor = names.get(rows[-1].ended_by)
        if successor is not None and successor.device != under.device:
            successor = None
        record = _record(wearer, rows, stated(rows[0].since_ns), _statuses(rows))
        if successor is not None:
            record["dct:isReplacedBy"] = record_id(wearer, successor)
        records.append(record)
    identity = record_id(wearer, f"receipt/{history.newest_ns}")
    return {
        "@context": dict(CONTEXT),
        "@id": identity,
        "@type": "dpv:ConsentReceipt",
        "dct:identifier": identity,
        "dct:conformsTo": f"{PROFILE}receipt",
        "dct:created": rfc3339(history.newest_ns),
        "schema:recipient": "dpv:DataSubject",
        "dpv:hasRecordOfActivity": records,
    }


def _record(
    wearer: str, rows: Sequence[ConsentInterval], stated: Stated, statuses: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    under = rows[0].under
    identity = record_id(wearer, under)
    purposes = rows[0].purposes
    record: dict[str, Any] = {
        "@id": identity,
        "@type": "dpv:ConsentRecord",
        "dct:identifier": identity,
        "dct:conformsTo": f"{PROFILE}record",
        "dct:title": f"consent record {record_name(under)} of {wearer}",
        "dpv:hasDataSubject": {"@type": "dpv:DataSubject", "dct:identifier": wearer},
        "dpv:hasLegalBasis": "dpv:Consent",
    }
    if stated.policy is not None:
        record["dct:source"] = f"policy {stated.policy.name} {stated.policy.version}"
        record |= _controlled(stated.policy.owner)
    if rows[0].notice:
        record["dpv:hasNotice"] = {
            "@type": "dpv:PrivacyNotice",
            "dct:identifier": rows[0].notice,
            "dct:language": "en",
        }
    record |= {
        "dpv:hasProcess": [_process(purpose, stated.handlings.get(purpose)) for purpose in purposes],
        "dpv:hasConsentControl": {
            "@type": ["dpv:ProvideConsent", "dpv:WithdrawConsent"],
            "dpv:isExercisedAt": f"a device that is bound to {wearer}; an operator withdraws for her with"
            f" `sightline consent withdraw --wearer {wearer}`",
        },
        "dpv:hasRight": {
            "@type": "dpv:DataSubjectRight",
            "dct:title": "to withdraw consent, and to have data erased",
            "dpv:isExercisedAt": f"a device that is bound to {wearer}; an operator erases for her with"
            f" `sightline rights erase --wearer {wearer}`",
        },
        "dpv:hasConsentStatus": statuses,
    }
    record["rdfs:comment"] = f"missing: {', '.join(missing(record))}"
    return record


def _controlled(owner: Owner) -> dict[str, Any]:
    """The controller, and whose law holds, as far as a policy says; a plain owner is no more than an id."""
    if not owner.name:
        return {}
    named = {"dpv:hasName": owner.name, "dpv:hasContact": owner.contact}
    controlled: dict[str, Any] = {
        "dpv:hasDataController": {
            "@type": "dpv:DataController",
            **(named if owner.contact else {"dpv:hasIdentifier": owner.name}),
        }
    }
    if owner.jurisdiction:
        controlled["dpv:hasJurisdiction"] = f"loc:{owner.jurisdiction}"
    return controlled


def missing(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields of TS 27560 that must be there and that a record lacks, by the names of the standard."""
    processes, controller = record["dpv:hasProcess"], record.get("dpv:hasDataController", {})
    lacks = {
        "privacy notice": "dpv:hasNotice" not in record,
        "language": "dpv:hasNotice" not in record,
        "pii controllers": "dpv:hasDataController" not in record,
        "pii information": any("dpv:hasPersonalData" not in each for each in processes),
        "storage locations": any("dpv:hasStorageCondition" not in each for each in processes),
        "retention period": any("dpv:hasStorageCondition" not in each for each in processes),
        "recipient third parties": any("dpv:hasRecipient" not in each for each in processes),
        "jurisdiction": "dpv:hasJurisdiction" not in record,
        "party name": "dpv:hasName" not in controller,
        "party contact": "dpv:hasContact" not in controller,
    }
    return (*(name for name, absent in lacks.items() if absent), *NEVER_STATED)


def _process(purpose: str, handling: Handling | None) -> dict[str, Any]:
    process: dict[str, Any] = {"@type": "dpv:Process", "dpv:hasPurpose": _term(purpose, "dpv:Purpose")}
    # A purpose of which the policy permits nothing is agreed to and leads nowhere.
    if handling is None:
        return process
    regions = sorted({each.region for each in handling.recipients})
    return process | {
        "dpv:hasPersonalData": [_term(word, "dpv:PersonalData") for word in handling.categories],
        "dpv:hasRecipient": [_recipient(each) for each in handling.recipients],
        "dpv:hasStorageCondition": [
            {"@type": "dpv:StorageLocation", "dpv:hasLocation": [_location(name) for name in regions]},
            {
                "@type": "dpv:StorageDuration",
                "dpv:hasDuration": {"@type": "dpv:TemporalDuration", "rdf:value": f"P{handling.days_max}D"},
            },
        ],
    }


def _recipient(handed: HandedTo) -> dict[str, Any]:
    run_by = _RUN_BY.get(handed.run_by)
    return {
        "@type": "dpv:Recipient",
        "dct:title": handed.sink,
        "dct:description": handed.about,
        **({"dpv:isImplementedByEntity": run_by} if run_by else {}),
    }


def _location(region: str) -> str | dict[str, Any]:
    return _REGIONS.get(region) or {"@type": "dpv:Location", "dct:title": region}


def _term(word: str, wider: str) -> str | dict[str, Any]:
    """A word of a policy as a term of DPV; what DPV does not have has its word and the nearest wider term."""
    term = TERMS.get(word)
    if term is not None and term.exact:
        return term.term
    return {"skos:broader": wider if term is None else term.term, "dct:title": word}


def _statuses(rows: Sequence[ConsentInterval]) -> list[dict[str, Any]]:
    """The events of a record: what was given, and each time that some of it was taken back or given again."""
    statuses = [_status("dpv:ConsentGiven", rows[0], rows[0].purposes, rows[0].since_ns, rows[0].begun_by)]
    for row, after in zip(rows, (*rows[1:], None), strict=True):
        gone = tuple(purpose for purpose in row.purposes if row.until_ns and purpose not in row.left)
        if gone:
            name = "dpv:ConsentExpired" if row.ended == "expired" else "dpv:ConsentWithdrawn"
            statuses.append(_status(name, row, gone, row.until_ns, row.ended_by))
        if after is not None:
            held = row.purposes if after.since_ns == row.until_ns else ()
            if again := tuple(purpose for purpose in after.purposes if purpose not in held):
                event = _status("dpv:RenewedConsentGiven", after, again, after.since_ns, after.begun_by)
                statuses.append(event)
    return statuses


def _status(name: str, row: ConsentInterval, purposes: Sequence[str], at_ns: int, by: str) -> dict[str, Any]:
    status: dict[str, Any] = {
        "@type": name,
        "dpv:hasPurpose": [_term(purpose, "dpv:Purpose") for purpose in purposes],
        "dpv:isIndicatedAtTime": rfc3339(at_ns),
        # What ends by itself ends when the data subject said that it would.
        "dpv:isIndicatedBy": "dpv:DataController" if by == OPERATOR else "dpv:DataSubject",
    }
    if by:
        method = "an operator, for the wearer" if by == OPERATOR else f"consent record {by} of her device"
        status["dpv:hasIndicationMethod"] = method
    if name in {"dpv:ConsentGiven", "dpv:RenewedConsentGiven"}:
        ends = {"@type": "dpv:UntilEventDuration", "rdf:value": "until it is withdrawn"}
        if row.expires_ns:
            ends = {"@type": "dpv:UntilTimeDuration", "rdf:value": rfc3339(row.expires_ns)}
        status["dpv:hasDuration"] = ends
    return status
