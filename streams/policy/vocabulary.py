"""Closed lists of words that labels are made of; a word's position is its bit.

Words are CURIEs of the W3C Data Privacy Vocabulary (DPV 2.3: `dpv:`, `pd:`, `ai:`, `eu-gdpr:`), or `local:`
words where DPV has none; a policy states for each local word why it is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from streams.policy import label as lattice

PREFIXES = ("dpv", "pd", "ai", "eu-gdpr", "local")
#: Names of the closed lists that are masks of a label; errors use these names too.
LISTS = ("categories", "subjects", "purposes", "regions", "obligations")
#: Words of these lists are CURIEs; the others are plain.
CURIES = ("categories", "purposes", "obligations")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words of a policy.

    `retention_days` is ordered from the shortest; `local` states why each local word is needed.
    """

    categories: tuple[str, ...]
    subjects: tuple[str, ...]
    purposes: tuple[str, ...]
    regions: tuple[str, ...]
    obligations: tuple[str, ...]
    retention_days: Mapping[str, int]
    local: Mapping[str, str]

    def mask(self, name: str, words: Iterable[str]) -> int:
        """Bit mask of `words` in the list called `name`; ValueError if one is not in it."""
        known: tuple[str, ...] = getattr(self, name)
        return sum(1 << known.index(word) for word in set(words))

    def words(self, name: str, mask: int) -> tuple[str, ...]:
        """The words of a mask, in the order of the list called `name`."""
        known: tuple[str, ...] = getattr(self, name)
        return tuple(word for bit, word in enumerate(known) if mask >> bit & 1)

    def says(self, packed: bytes) -> dict[str, tuple[str, ...]]:
        """The masks of a label as words, by list."""
        value = lattice.unpack(packed)
        return {name: self.words(name, value[name]) for name in LISTS}

    def retention(self, packed: bytes) -> str:
        """Retention class of a label."""
        return list(self.retention_days)[lattice.unpack(packed)["retention"]]


def translate(packed: bytes, before: Vocabulary, after: Vocabulary) -> bytes:
    """Translate a label of the vocabulary `before` to the bits of the vocabulary `after`.

    The result is empty, and passes nowhere, if a translation would loosen the label: if `after` lacks one of
    its categories, data subjects or obligations, or has no retention class that is as short. A purpose or
    region that `after` lacks is not permitted. The retention class becomes the longest that is not longer.
    """
    if not packed or before == after:
        return packed
    says, value = before.says(packed), lattice.unpack(packed)
    if any(
        word not in getattr(after, name)
        for name in ("categories", "subjects", "obligations")
        for word in says[name]
    ):
        return b""
    kept = {
        name: after.mask(name, (word for word in says[name] if word in getattr(after, name)))
        for name in LISTS
    }
    days = before.retention_days[before.retention(packed)]
    shorter = [position for position, kept in enumerate(after.retention_days.values()) if kept <= days]
    return lattice.pack(**kept, retention=shorter[-1], nature=value["nature"]) if shorter else b""
