"""Consent records and their receipt in JSON-LD: the fields that DPV's guide demands, in terms that DPV has.

The guide has no shapes, so the schema here is written from its text: each field of which it says that it must
be there, but for those that nobody states, which a record has to list.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from msgspec import structs

from streams.consent.erased import Erasure
from streams.consent.history import history_of
from streams.consent.words import Word
from streams.policy.consent_record import (
    CONTEXT,
    NEVER_STATED,
    Handling,
    Stated,
    handlings_of,
    missing,
    receipt,
    record_id,
)
from streams.policy.load import load, parse
from streams.policy.policy import Policy
from streams.queries.declared import SHIPPED_SYSTEM, asks_consent
from tests.consent.test_history import END_NS, MS_NS, SERVICE, TRAINING, mark, operator, read, word

#: Terms as they stand in `2.3/dpv/dpv.ttl`, `2.3/pd/pd.ttl`, `2.3/ai/ai.ttl` and `2.3/loc/loc.ttl` of
#: github.com/w3c/dpv at f01a55c3, copied by hand.
IN_DPV = {
    "dpv:Consent",
    "dpv:ConsentExpired",
    "dpv:ConsentGiven",
    "dpv:ConsentReceipt",
    "dpv:ConsentRecord",
    "dpv:ConsentWithdrawn",
    "dpv:DataController",
    "dpv:DataSubject",
    "dpv:DataSubjectRight",
    "dpv:Location",
    "dpv:PersonalData",
    "dpv:PrivacyNotice",
    "dpv:Process",
    "dpv:ProvideConsent",
    "dpv:Purpose",
    "dpv:Recipient",
    "dpv:RenewedConsentGiven",
    "dpv:RequestedServiceProvision",
    "dpv:StorageDuration",
    "dpv:StorageLocation",
    "dpv:TemporalDuration",
    "dpv:UntilEventDuration",
    "dpv:UntilTimeDuration",
    "dpv:WithdrawConsent",
    "dpv:hasConsentControl",
    "dpv:hasConsentStatus",
    "dpv:hasContact",
    "dpv:hasDataController",
    "dpv:hasDataSubject",
    "dpv:hasDuration",
    "dpv:hasIdentifier",
    "dpv:hasIndicationMethod",
    "dpv:hasJurisdiction",
    "dpv:hasLegalBasis",
    "dpv:hasLocation",
    "dpv:hasName",
    "dpv:hasNotice",
    "dpv:hasPersonalData",
    "dpv:hasProcess",
    "dpv:hasPurpose",
    "dpv:hasRecipient",
    "dpv:hasRecordOfActivity",
    "dpv:hasRight",
    "dpv:hasStorageCondition",
    "dpv:isExercisedAt",
    "dpv:isImplementedByEntity",
    "dpv:isIndicatedAtTime",
    "dpv:isIndicatedBy",
    "ai:ModelTraining",
    "loc:DE",
    "loc:EU",
    "pd:Behavioural",
    "pd:Biometric",
    "pd:GPSCoordinate",
    "pd:Health",
    "pd:Household",
    "pd:Intention",
    "pd:Location",
    "pd:MACAddress",
    "pd:Opinion",
    "pd:PhysicalHealth",
    "pd:Picture",
    "pd:VoiceCommunicationRecording",
}
_PROFILE = "https://w3id.org/dpv/schema/dpv-27560#"
_TIME = {"type": "string", "format": "date-time"}
_STATUS = {
    "type": "object",
    "required": ["@type", "dpv:hasPurpose", "dpv:isIndicatedAtTime", "dpv:isIndicatedBy"],
    "properties": {
        "@type": {
            "enum": [
                f"dpv:{name}"
                for name in ("ConsentGiven", "RenewedConsentGiven", "ConsentWithdrawn", "ConsentExpired")
            ]
        },
        "dpv:isIndicatedAtTime": _TIME,
        "dpv:isIndicatedBy": {"enum": ["dpv:DataSubject", "dpv:DataController"]},
    },
    # Validity is demanded of what is given.
    "if": {"properties": {"@type": {"enum": ["dpv:ConsentGiven", "dpv:RenewedConsentGiven"]}}},
    "then": {"required": ["dpv:hasDuration"]},
}
_RECORD = {
    "type": "object",
    "required": [
        "@id",
        "dct:identifier",
        "dct:conformsTo",
        "dpv:hasDataSubject",
        "dpv:hasLegalBasis",
        "dpv:hasNotice",
        "dpv:hasDataController",
        "dpv:hasProcess",
        "dpv:hasConsentControl",
        "dpv:hasRight",
        "dpv:hasConsentStatus",
        "rdfs:comment",
    ],
    "properties": {
        "@type": {"const": "dpv:ConsentRecord"},
        "dct:conformsTo": {"const": f"{_PROFILE}record"},
        "dpv:hasDataSubject": {"type": "object", "required": ["dct:identifier"]},
        "dpv:hasDataController": {"type": "object", "required": ["dpv:hasName", "dpv:hasContact"]},
        "dpv:hasNotice": {"type": "object", "required": ["dct:identifier", "dct:language"]},
        "dpv:hasConsentControl": {"type": "object", "required": ["@type", "dpv:isExercisedAt"]},
        "dpv:hasRight": {"type": "object", "required": ["@type", "dpv:isExercisedAt"]},
        "dpv:hasProcess": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": [
                    "dpv:hasPurpose",
                    "dpv:hasPersonalData",
                    "dpv:hasRecipient",
                    "dpv:hasStorageCondition",
                ],
                "properties": {
                    "dpv:hasPersonalData": {"type": "array", "minItems": 1},
                    "dpv:hasRecipient": {"type": "array", "minItems": 1},
                    "dpv:hasStorageCondition": {"type": "array", "minItems": 2},
                },
            },
        },
        "dpv:hasConsentStatus": {"type": "array", "minItems": 1, "items": _STATUS},
    },
}
SCHEMA = {
    "type": "object",
    "required": [
        "@context",
        "@id",
        "dct:identifier",
        "dct:conformsTo",
        "dct:created",
        "dpv:hasRecordOfActivity",
    ],
    "properties": {
        "@type": {"const": "dpv:ConsentReceipt"},
        "dct:conformsTo": {"const": f"{_PROFILE}receipt"},
        "dct:created": _TIME,
        "dpv:hasRecordOfActivity": {"type": "array", "minItems": 1, "items": _RECORD},
    },
}
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=FormatChecker())
OWNED = parse(
    load("household").text.replace('about = "One home', 'owner = "dpo@household"\nabout = "One home'), "p"
)
#: The same with all that a policy can say of who answers for it.
NAMED = parse(
    load("household").text
    + '\n[owner]\nname = "Home GmbH"\ncontact = "privacy@example.org"\njurisdiction = "DE"\n',
    "p",
)
BOTH = (TRAINING, SERVICE)
NOTICE = "5c7d55da271cc036"


def named(number: int, at_ms: int, *purposes: str, device: str = "g1", ends_ms: int = 0) -> Word:
    """A word that names the notice under which it was given."""
    return structs.replace(word(device, number, at_ms, *purposes, ends_ms=ends_ms), notice=NOTICE)


LIFE: list[Word | Erasure] = [
    named(1, 10, *BOTH),
    named(2, 20, SERVICE),
    operator(30),
    named(1, 40, *BOTH, device="g2", ends_ms=60),
    Erasure(mark("w1"), 0, 50 * MS_NS),
    named(3, 70, SERVICE),
]


def stated(_: int, policy: Policy = NAMED) -> Stated:
    return Stated(policy=policy, handlings=handlings_of(policy, asks_consent(policy, SHIPPED_SYSTEM)))


def made(*statements: Word | Erasure, **options: Any) -> dict[str, Any]:
    history = history_of(read(statements or LIFE), "w1", END_NS)
    return receipt("w1", history, options.get("stated", stated))


def words_in(value: object) -> Iterator[str]:
    """All terms with a prefix, as keys or values."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if key not in {"dct:title", "dct:description", "rdfs:comment", "rdf:value", "@context"}:
                yield from words_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from words_in(inner)
    elif isinstance(value, str) and value.partition(":")[0] in CONTEXT:
        yield value


def test_a_receipt_has_what_the_guide_demands() -> None:
    document = made()
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []
    records = document["dpv:hasRecordOfActivity"]
    assert [record["dct:title"] for record in records] == [
        "consent record g1 1 of w1",
        "consent record g1 2 of w1",
        "consent record g2 1 of w1",
        "consent record g1 3 of w1",
    ]
    assert {missing(record) for record in records} == {NEVER_STATED}
    assert {record["dpv:hasNotice"]["dct:identifier"] for record in records} == {NOTICE}


def test_the_controller_and_the_law_are_what_the_policy_says() -> None:
    """A plain owner is an id; what is not said is missing."""
    [named_, *_] = made()["dpv:hasRecordOfActivity"]
    told = {"dpv:hasName": "Home GmbH", "dpv:hasContact": "privacy@example.org"}
    assert named_["dpv:hasDataController"] == {"@type": "dpv:DataController", **told}
    assert named_["dpv:hasJurisdiction"] == "loc:DE"
    [plain, *_] = made(stated=lambda at: stated(at, OWNED))["dpv:hasRecordOfActivity"]
    told = {"dpv:hasIdentifier": "dpo@household"}
    assert plain["dpv:hasDataController"] == {"@type": "dpv:DataController", **told}
    assert missing(plain) == ("jurisdiction", "party name", "party contact", "party address")
    [nobody, *_] = made(stated=lambda at: stated(at, load("household")))["dpv:hasRecordOfActivity"]
    assert not {"dpv:hasDataController", "dpv:hasJurisdiction"} & nobody.keys()
    assert missing(nobody)[0] == "pii controllers"


@pytest.mark.parametrize(
    "field",
    [
        "dpv:hasNotice",
        "dpv:hasDataController",
        "dpv:hasConsentStatus",
        "dpv:hasDataSubject",
        "dct:identifier",
    ],
)
def test_the_schema_sees_what_is_not_there(field: str) -> None:
    document = made()
    del document["dpv:hasRecordOfActivity"][0][field]
    assert not VALIDATOR.is_valid(document)


def test_every_term_is_one_of_dpv() -> None:
    terms = set(words_in(made()))
    ours = {term for term in terms if term.partition(":")[0] in {"dpv", "pd", "ai", "loc"}}
    assert ours <= IN_DPV
    assert {term.partition(":")[0] for term in terms - ours if not term.startswith(("@", "urn:"))} <= {
        *("dct", "rdf", "rdfs", "schema", "skos"),
        "https",
    }
    assert {term for term, rule in CONTEXT.items() if not isinstance(rule, str)} - ours <= {
        *("dct:conformsTo", "dct:created", "dct:isReplacedBy", "schema:recipient", "skos:broader")
    }


def test_each_event_stands_at_the_record_that_it_changed() -> None:
    events = {
        record["dct:title"].split(" of ")[0].removeprefix("consent record "): [
            (
                status["@type"].removeprefix("dpv:"),
                status["dpv:hasPurpose"],
                status["dpv:isIndicatedAtTime"][20:23],
                status["dpv:isIndicatedBy"].removeprefix("dpv:"),
            )
            for status in record["dpv:hasConsentStatus"]
        ]
        for record in made()["dpv:hasRecordOfActivity"]
    }
    assert events == {
        "g1 1": [
            ("ConsentGiven", list(BOTH), "010", "DataSubject"),
            ("ConsentWithdrawn", [TRAINING], "020", "DataSubject"),
        ],
        "g1 2": [
            ("ConsentGiven", [SERVICE], "020", "DataSubject"),
            ("ConsentWithdrawn", [SERVICE], "030", "DataController"),
            # What g2 gives later is given for what g1 captures then, too; nothing else renews it.
            ("RenewedConsentGiven", [SERVICE], "040", "DataSubject"),
            ("ConsentExpired", [SERVICE], "060", "DataSubject"),
        ],
        "g2 1": [
            ("ConsentGiven", list(BOTH), "040", "DataSubject"),
            ("ConsentExpired", list(BOTH), "060", "DataSubject"),
        ],
        "g1 3": [("ConsentGiven", [SERVICE], "070", "DataSubject")],
    }


def test_ids_follow_from_wearer_and_record_alone() -> None:
    first, again = made(), made(*LIFE, word("g1", 4, 80))
    ids = [record["@id"] for record in first["dpv:hasRecordOfActivity"]]
    assert ids == [record["@id"] for record in again["dpv:hasRecordOfActivity"]]
    assert len({*ids}) == len(ids)
    assert {uuid.UUID(identity).version for identity in ids} == {5}
    # The receipt is another one when the wearer said something more.
    assert first["@id"] != again["@id"]
    assert first == made()
    assert record_id("w1", "receipt/1") != record_id("w2", "receipt/1")
    assert first["dpv:hasRecordOfActivity"][0]["dct:isReplacedBy"] == ids[1]
    assert "dct:isReplacedBy" not in first["dpv:hasRecordOfActivity"][1]


def test_a_record_is_replaced_by_one_of_its_own_device_alone() -> None:
    ended, other = made(word("g1", 1, 10, TRAINING), word("g2", 1, 20, SERVICE))["dpv:hasRecordOfActivity"]
    assert [status["@type"] for status in ended["dpv:hasConsentStatus"]][1:] == ["dpv:ConsentWithdrawn"]
    assert "dct:isReplacedBy" not in {*ended, *other}


def test_a_word_that_dpv_does_not_have_stands_under_the_nearest_wider_term() -> None:
    (record,) = made(word("g1", 1, 10, TRAINING))["dpv:hasRecordOfActivity"]
    (process,) = record["dpv:hasProcess"]
    assert process["dpv:hasPurpose"] == TRAINING
    assert process["dpv:hasPersonalData"][:3] == [
        {"skos:broader": "pd:Behavioural", "dct:title": "local:Gait"},
        "pd:Behavioural",
        "pd:GPSCoordinate",
    ]


def test_what_nobody_stated_is_said_to_be_missing() -> None:
    unknown = made(word("g1", 1, 10, *BOTH), stated=lambda _: Stated())["dpv:hasRecordOfActivity"][0]
    assert missing(unknown) == (
        "privacy notice",
        "language",
        "pii controllers",
        "pii information",
        "storage locations",
        "retention period",
        "recipient third parties",
        "jurisdiction",
        "party name",
        "party contact",
        *NEVER_STATED,
    )
    assert unknown["rdfs:comment"] == f"missing: {', '.join(missing(unknown))}"
    assert not VALIDATOR.is_valid(made(stated=lambda _: Stated()))
    household = load("household")
    ownerless = made(stated=lambda _: Stated(policy=household, handlings=stated(0).handlings))
    assert {missing(each) for each in ownerless["dpv:hasRecordOfActivity"]} == {
        ("pii controllers", "jurisdiction", "party name", "party contact", *NEVER_STATED)
    }


def test_what_is_handled_is_what_needs_the_consent() -> None:
    handlings = stated(0).handlings
    assert set(handlings) == {TRAINING, SERVICE, "dpv:ServiceOptimisation"}
    training = handlings[TRAINING]
    assert isinstance(training, Handling)
    assert [each.sink for each in training.recipients] == ["training-run"]
    # As `report ropa training-run` has it: its zones all need the wearer's consent.
    assert training.categories == (
        "local:Gait",
        "pd:Behavioral",
        "pd:GPSCoordinate",
        "pd:Household",
        "pd:Intention",
        "pd:Location",
        "pd:Opinion",
        "pd:VoiceCommunicationRecording",
    )
    assert training.days_max == 182
    # What she agreed to is kept without consent, so no consent is about it.
    assert "pd:PrivacyPreference" not in handlings[SERVICE].categories
