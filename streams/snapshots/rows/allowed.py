"""The forms that a value in a column of a lineage table can be required to have."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct

from streams.events.kinds import Kinds
from streams.limits import LINEAGE_TEXT_BYTES_MAX
from streams.topology import TRAINING_SOURCE


class Between(Struct, frozen=True):
    """A number from `low` to `high`."""

    low: float
    high: float


class Form(Struct, frozen=True):
    """A text that matches a regular expression completely."""

    pattern: str


class OneOf(Struct, frozen=True):
    """One text of a list."""

    words: tuple[str, ...]


class KindName(Struct, frozen=True):
    """A kind of the poll; with `making`, the maker of an event: a derived kind, or training."""

    making: bool = False

    def words(self, kinds: Kinds) -> OneOf:
        """The names that are allowed."""
        return OneOf(
            (*(kind.name for kind in kinds.derived), TRAINING_SOURCE) if self.making else tuple(kinds)
        )


class Text(Struct, frozen=True):
    """Any text of at most this many bytes in UTF-8."""

    bytes_max: int = LINEAGE_TEXT_BYTES_MAX


class Checked(Struct, frozen=True):
    """A text that a function accepts; few distinct texts are expected."""

    fits: Callable[[str], bool]


class Flag(Struct, frozen=True):
    """True or false."""


Rule: TypeAlias = Between | Form | OneOf | KindName | Text | Checked | Flag
