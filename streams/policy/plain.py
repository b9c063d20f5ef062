"""What the words of policies mean to somebody who wears the glasses, in plain words.

For words that a policy adds and that are not here, its own reason for the word stands, or the word itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from streams.policy.vocabulary import Vocabulary

WORDS: Mapping[str, str] = {
    "pd:Behavioral": "how you move and what you do",
    "local:Gait": "how you walk",
    "pd:GPSCoordinate": "where you are",
    "pd:Location": "which places you are at",
    "pd:VoiceCommunicationRecording": "what you say to the assistant",
    "pd:Intention": "what you want from it",
    "pd:Opinion": "what you think of its answers",
    "pd:DeviceBased": "the state of the glasses",
    "pd:Health": "what tells of health",
    "pd:PhysicalHealth": "your pulse",
    "pd:Household": "what belongs to a home",
    "pd:Biometric": "what can identify you by your body",
    "pd:Picture": "that pictures were taken",
    "pd:MACAddress": "which devices are near",
    "pd:PrivacyPreference": "what you agreed to",
    "local:BystanderPresence": "whether somebody is near",
    "local:Gaze": "where you look",
    "local:AmbientSound": "how loud it is and whether somebody speaks",
    "local:AmbientScene": "light, air and rooms around you",
    "wearer": "you",
    "bystander": "people near you",
    "minor": "children near you",
    "dpv:RequestedServiceProvision": "to do what you ask the glasses for",
    "dpv:ServicePersonalisation": "to fit the service to you",
    "dpv:ServiceOptimisation": "to make the service better",
    "dpv:LegalCompliance": "to do what the law demands",
    "dpv:RightsFulfilment": "to fulfil your rights",
    "ai:ModelTraining": "to train the assistant's model",
    "household": "in your household",
    "clinic": "in the clinic",
    "eu": "in the European Union",
    "world": "anywhere in the world",
}


def plain(word: str, vocabulary: Vocabulary) -> str:
    """A word of a policy in plain words."""
    return WORDS.get(word) or vocabulary.local.get(word) or word


def about_whom(subjects: Collection[str], vocabulary: Vocabulary) -> tuple[str, ...]:
    """Classes of data subjects in plain words, in the order of the vocabulary."""
    return tuple(plain(word, vocabulary) for word in vocabulary.subjects if word in subjects)


def sentence(data: str, used_for: str, where: str, about: Sequence[str], days: int) -> str:
    """What a notice says of one category of data for one purpose; all but `days` is in plain words."""
    within = f"may be used for at most {days:,} day{'s' * (days != 1)}"
    whom = ", ".join(about) or "nobody"
    return f"{data[:1].upper()}{data[1:]}: used {used_for}, {where}; about {whom}; {within}"
