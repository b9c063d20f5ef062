"""How the words of policies stand in the W3C's Data Privacy Vocabulary (DPV): the one table of it.

Policies name data by words of DPV or by local ones (`streams.policy.vocabulary`). For each word this table
has the term of DPV 2.3 that it stands for, or the nearest wider one, and how sensitive that makes the data.

Source: github.com/w3c/dpv at commit f01a55c3c0983e35cdfdf80593ece3353faba7b8 (2026-02-28), the files
`2.3/dpv/dpv.ttl`, `2.3/pd/pd.ttl` and `2.3/ai/ai.ttl`. A term is a special category if DPV lists it in
`pd:specialcategory-classes`. DPV calls location sensitive in the scope note of `dpv:SensitivePersonalData`;
that gait and gaze are as well is a judgement of this project, because they can identify a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

SOURCE = "W3C Data Privacy Vocabulary 2.3, github.com/w3c/dpv at f01a55c3 (2026-02-28)"
#: Addresses that the prefixes of terms stand for.
NAMESPACES: Mapping[str, str] = {
    "dpv": "https://w3id.org/dpv#",
    "pd": "https://w3id.org/dpv/pd#",
    "ai": "https://w3id.org/dpv/ai#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
}
Sensitivity = Literal["", "dpv:PersonalData", "dpv:SensitivePersonalData", "dpv:SpecialCategoryPersonalData"]
_PERSONAL: Sensitivity = "dpv:PersonalData"
_SENSITIVE: Sensitivity = "dpv:SensitivePersonalData"
_SPECIAL: Sensitivity = "dpv:SpecialCategoryPersonalData"
#: From the least to the most.
SENSITIVITIES: tuple[Sensitivity, ...] = ("", _PERSONAL, _SENSITIVE, _SPECIAL)


class Term(Struct, frozen=True):
    """What a word of a policy is in DPV.

    `exact`: the term says the same; otherwise it is the nearest wider one. `sensitivity` is the class of
    personal data that the word belongs to; empty for words that are no category of data.
    """

    word: str
    term: str
    exact: bool
    sensitivity: Sensitivity = ""

    @property
    def address(self) -> str:
        """Address of the term."""
        prefix, _, name = self.term.partition(":")
        return NAMESPACES[prefix] + name


def _same(*words: str, sensitivity: Sensitivity = "") -> tuple[Term, ...]:
    return tuple(Term(word, word, True, sensitivity) for word in words)


def _wider(word: str, term: str, sensitivity: Sensitivity = "") -> Term:
    return Term(word, term, False, sensitivity)


_TABLE: tuple[Term, ...] = (
    *_same("pd:Health", "pd:PhysicalHealth", "pd:Biometric", sensitivity=_SPECIAL),
    *_same("pd:GPSCoordinate", "pd:Location", sensitivity=_SENSITIVE),
    *_same(
        "pd:VoiceCommunicationRecording",
        "pd:Intention",
        "pd:Opinion",
        "pd:DeviceBased",
        "pd:Household",
        "pd:Picture",
        "pd:MACAddress",
        "pd:PrivacyPreference",
        sensitivity=_PERSONAL,
    ),
    # Spelt so up to DPV 2.1; published policies keep their words.
    Term("pd:Behavioral", "pd:Behavioural", True, _PERSONAL),
    _wider("local:Gait", "pd:Behavioural", _SENSITIVE),
    _wider("local:Gaze", "pd:Behavioural", _SENSITIVE),
    _wider("local:AmbientSound", "dpv:PersonalData", _PERSONAL),
    _wider("local:AmbientScene", "dpv:PersonalData", _PERSONAL),
    _wider("local:BystanderPresence", "dpv:PersonalData", _PERSONAL),
    # Data subjects.
    _wider("wearer", "dpv:DataSubject"),
    _wider("bystander", "dpv:HumanSubject"),
    _wider("minor", "dpv:Child"),
    # Purposes; DPV has the last as a kind of processing.
    *_same(
        "dpv:RequestedServiceProvision",
        "dpv:ServicePersonalisation",
        "dpv:ServiceOptimisation",
        "dpv:LegalCompliance",
        "dpv:RightsFulfilment",
        "ai:ModelTraining",
    ),
    # How data came to be.
    Term("provided", "dpv:ProvidedPersonalData", True),
    Term("observed", "dpv:ObservedPersonalData", True),
    Term("derived", "dpv:DerivedPersonalData", True),
    Term("inferred", "dpv:InferredPersonalData", True),
)
TERMS: Mapping[str, Term] = {term.word: term for term in _TABLE}


def sensitivity_of(words: Iterable[str]) -> Sensitivity:
    """The most sensitive class among some categories; a word that the table does not have is personal data.

    Empty if there are no words.
    """
    classes = [TERMS[word].sensitivity if word in TERMS else _PERSONAL for word in words]
    return max(classes, key=SENSITIVITIES.index, default="")


_COUNTRIES = """
EU AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS
BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE
EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM
HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC
LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA
NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW
SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO
TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
"""
#: Countries by ISO 3166-1, and the European Union, as DPV's vocabulary of places (`loc:`) names them.
JURISDICTIONS: frozenset[str] = frozenset(_COUNTRIES.split())
