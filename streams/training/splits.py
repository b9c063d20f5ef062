"""Which examples a run learns from, and which are kept: by wearer and time, the same in every generation.

The time of a wearer is divided into slots. Of SPLIT_SLOTS in a row, one is kept for validation and one for
the test; which, is drawn for each wearer from SPLIT_SEED. So every wearer gives the same share to each split,
the examples of one conversation stay together, and the split of an example depends on nothing but its wearer,
its capture time and the seed: no example that was ever learned from is measured on later, or the other way
round.
"""

from __future__ import annotations

from typing import Literal

from streams.events.digest import digest
from streams.limits import SPLIT_SEED, SPLIT_SLOT_NS, SPLIT_SLOTS

Split = Literal["train", "validation", "test"]
#: Slots of SPLIT_SLOTS that are kept. They are no neighbours, so that a wearer who uses the glasses for a
#: minute is learned from.
_KEPT: dict[int, Split] = {SPLIT_SLOTS // 2 - 1: "validation", SPLIT_SLOTS - 1: "test"}


def split_of(wearer: str, t_ns: int, seed: int = SPLIT_SEED) -> Split:
    """Split of an example of `wearer` that was captured at `t_ns`, in ns since the Unix epoch."""
    begins = int(digest(f"{seed}/{wearer}".encode())[:8], 16)
    return _KEPT.get((t_ns // SPLIT_SLOT_NS + begins) % SPLIT_SLOTS, "train")


def key_of(utterance: str) -> str:
    """Digest of an utterance; those that differ only in case, spaces or punctuation have the same."""
    return digest("".join(filter(str.isalnum, utterance.casefold())).encode())
