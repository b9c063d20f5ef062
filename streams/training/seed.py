"""The licensed utterances from which version 1 is made, and those on which every version is measured.

The two files are disjoint.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from streams.events.digest import digest
from streams.topology import SEED_STREAM, TRAINING_SOURCE

SOURCE, STREAM = TRAINING_SOURCE, SEED_STREAM
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Examples:
    """(utterance, intent) pairs in file order, and the XXH3-128 digest of the file."""

    pairs: tuple[tuple[str, str], ...]
    digest: str


def seed() -> Examples:
    """Examples of version 1."""
    return _read(_HERE / "seed.csv")


def evaluation() -> Examples:
    """Examples for measuring accuracy, from which no version learns."""
    return _read(_HERE / "evaluation.csv")


def _read(path: Path) -> Examples:
    content = path.read_bytes()
    rows = csv.DictReader(content.decode("utf-8").splitlines())
    return Examples(tuple((row["utterance"], row["intent"]) for row in rows), digest(content))
