"""The notice of a policy to those who wear the glasses: what it lets be done with data, in plain words.

It follows from the policy alone, so that every process makes the same one and names it by the same version.
`sightline report notice` says what was observed beside that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from msgspec import Struct

from streams.limits import LABEL_BYTES, POLICIES_KEPT
from streams.policy.plain import about_whom, plain, sentence
from streams.policy.policy import Policy
from streams.policy.possible import zones_of_captured
from streams.topology import TRAINING_RUN

NOBODY = "nobody named"


class _Use(NamedTuple):
    """What several categories of data are used for alike; `about` is in plain words."""

    purpose: str
    region: str
    about: tuple[str, ...]
    days: int


class PolicyNotice(Struct, frozen=True, kw_only=True):
    """A notice; `version` is the first 64 bits of the SHA-256 of its words, hexadecimal.

    Policies that say the same have the same version. `controller` answers for the policy; `lines` are
    sentences, one for all data that is used for one purpose in one region alike.
    """

    version: str
    controller: str
    lines: tuple[str, ...]


@lru_cache(maxsize=POLICIES_KEPT)
def notice_of(policy: Policy) -> PolicyNotice:
    """The notice of a policy: what may be done with what devices capture, and with what is derived of it.

    Nothing is said of data about nobody, nor of purposes of which the policy permits nothing.
    """
    told: dict[tuple[str, str, str], tuple[set[str], set[int]]] = {}
    for label in dict.fromkeys(_labels(policy)):
        says, days = policy.vocabulary.says(label[1]), policy.retention_days(label[1])
        for sink in policy.sinks.values():
            if not says["subjects"] or not _permitted(policy, *label, sink.name):
                continue
            for category in says["categories"]:
                subjects, within = told.setdefault((category, sink.purpose, sink.region), (set(), set()))
                subjects.update(says["subjects"])
                within.add(days)
    words = policy.vocabulary
    order = {word: at for at, word in enumerate((*words.categories, *words.purposes, *words.regions))}
    alike: dict[_Use, list[str]] = {}
    for category, purpose, region in sorted(told, key=lambda place: [order[word] for word in place]):
        subjects, within = told[category, purpose, region]
        use = _Use(purpose, region, about_whom(subjects, words), max(within))
        alike.setdefault(use, []).append(plain(category, words))
    lines = tuple(
        sentence(", ".join(data), plain(use.purpose, words), plain(use.region, words), use.about, use.days)
        for use, data in sorted(alike.items(), key=lambda row: [order[row[0].purpose], order[row[0].region]])
    )
    controller = policy.owner.says or NOBODY
    text = "\n".join((controller, *lines))
    return PolicyNotice(
        version=hashlib.sha256(text.encode()).hexdigest()[:16], controller=controller, lines=lines
    )


def _labels(policy: Policy) -> Iterator[tuple[str, bytes]]:
    """(zone, label) of what is captured, and of what is derived of it where that says more.

    A derived kind says more in a zone if nothing that is captured there is of its categories. Without consent
    only answers to requests are derived.
    """
    inside = zones_of_captured(policy)
    for zone in policy.zones:
        captured = [policy.label_of(kind, zone.name) or b"" for kind in inside if zone.name in inside[kind]]
        captured = [label for label in captured if len(label) == LABEL_BYTES]
        yield from ((zone.name, label) for label in captured)
        if not captured or zone.without_consent:
            continue
        covered = {label: policy.vocabulary.says(label)["categories"] for label in captured}
        least = min(captured, key=lambda label: len(covered[label]))
        for kind, own in policy.derived.items():
            if not set(policy.vocabulary.says(own)["categories"]) <= set().union(*covered.values()):
                yield zone.name, policy.inherited_label(kind, (least,))


def _permitted(policy: Policy, zone: str, label: bytes, sink: str) -> bool:
    if len(label) != LABEL_BYTES or policy.flow(zone, label, sink).verdict != "allow":
        return False
    return sink != TRAINING_RUN or policy.permits(label, policy.served_purposes)
