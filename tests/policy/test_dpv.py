"""The table of DPV's words: it has the words of the shipped policies, and says of them what DPV says."""

from __future__ import annotations

import pytest

from streams.policy.dpv import NAMESPACES, TERMS, sensitivity_of
from streams.policy.label import NATURES
from streams.policy.load import load
from streams.policy.source import shipped_names

#: Terms and special categories as they stand in `2.3/pd/pd.ttl`, `2.3/dpv/dpv.ttl` and `2.3/ai/ai.ttl` of
#: github.com/w3c/dpv at f01a55c3, copied by hand.
SPECIAL = {"pd:Health", "pd:PhysicalHealth", "pd:Biometric"}
IN_DPV = {
    "pd:Behavioural",
    "pd:GPSCoordinate",
    "pd:Location",
    "pd:VoiceCommunicationRecording",
    "pd:Intention",
    "pd:Opinion",
    "pd:DeviceBased",
    "pd:Health",
    "pd:PhysicalHealth",
    "pd:Biometric",
    "pd:Household",
    "pd:Picture",
    "pd:MACAddress",
    "pd:PrivacyPreference",
    "dpv:RequestedServiceProvision",
    "dpv:ServicePersonalisation",
    "dpv:ServiceOptimisation",
    "dpv:LegalCompliance",
    "dpv:RightsFulfilment",
    "ai:ModelTraining",
    "dpv:DataSubject",
    "dpv:HumanSubject",
    "dpv:Child",
    "dpv:ProvidedPersonalData",
    "dpv:ObservedPersonalData",
    "dpv:DerivedPersonalData",
    "dpv:InferredPersonalData",
    "dpv:PersonalData",
}


def test_every_term_is_one_of_dpv() -> None:
    assert {term.term for term in TERMS.values()} == IN_DPV
    assert {term.term.partition(":")[0] for term in TERMS.values()} <= NAMESPACES.keys()
    assert TERMS["pd:Behavioral"].address == "https://w3id.org/dpv/pd#Behavioural"


def test_special_categories_are_those_that_dpv_lists() -> None:
    told = {word for word, term in TERMS.items() if term.sensitivity == "dpv:SpecialCategoryPersonalData"}
    assert told == SPECIAL


@pytest.mark.parametrize("name", shipped_names())
def test_every_word_of_a_shipped_policy_has_a_term_or_a_reason(name: str) -> None:
    vocabulary = load(name).vocabulary
    for word in (*vocabulary.categories, *vocabulary.subjects, *vocabulary.purposes):
        assert word in TERMS, word
    for word in vocabulary.categories:
        assert TERMS[word].sensitivity, word
    # An obligation is what DPV has no word for; the policy says why.
    assert all(word in TERMS or vocabulary.local[word] for word in vocabulary.obligations)
    assert set(NATURES) <= TERMS.keys()


def test_the_most_sensitive_word_counts() -> None:
    assert sensitivity_of(["pd:Opinion", "pd:Health", "local:Gait"]) == "dpv:SpecialCategoryPersonalData"
    assert sensitivity_of(["pd:Opinion", "local:Gait"]) == "dpv:SensitivePersonalData"
    assert sensitivity_of(["local:NeverHeardOf"]) == "dpv:PersonalData"
    assert sensitivity_of([]) == ""
