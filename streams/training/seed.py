"""The licensed utterances from which version 1 is made, and those on which every version is measured.

Both files are parts of one blind draw (`device_sim/draw.py`), so they share no utterance.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from streams.events.digest import digest
from streams.topology import SEED_STREAM, TRAINING_SOURCE

SOURCE, STREAM = TRAINING_SOURCE, SEED_STREAM
#: Licence of the shipped utterances (device_sim/recordings/NOTICE).
LICENCE = "CC-BY-4.0"
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Examples:
    """(utterance, intent) pairs in file order, the XXH3-128 digest of the file, and its licence (SPDX)."""

    pairs: tuple[tuple[str, str], ...]
    digest: str
    licence: str


@dataclass(frozen=True, slots=True)
class Licensed:
    """The examples of version 1, and the validation set, from which no version learns."""

    seed: Examples
    validation: Examples


@cache
def licensed() -> Licensed:
    """The utterances that are shipped."""
    return Licensed(_read(_HERE / "seed.csv"), _read(_HERE / "validation.csv"))


def _read(path: Path) -> Examples:
    content = path.read_bytes()
    rows = csv.DictReader(content.decode("utf-8").splitlines())
    return Examples(tuple((row["utterance"], row["intent"]) for row in rows), digest(content), LICENCE)
