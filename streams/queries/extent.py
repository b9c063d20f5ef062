"""Which rows of the opened stores are read, and how the epochs of several stores are told apart.

Each store counts its own epochs. Where several are read as one, the epochs of the store at place `i` (from 0)
are counted from `i * APART` on, in every view and table, so that joins by epoch stay right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from streams.queries.parts import Part
from streams.quoting import quoted

#: No store publishes so many epochs: at five a second it would take 6,000 years.
APART = 10**12
#: Views that have the epoch of each row.
_WITH_EPOCH = (
    *("events", "event_records", "edges", "edge_records", "decisions", "rejected", "models", "streams"),
    *(
        "training_runs",
        "promotions",
        "training_checks",
        "training_assets",
        "feedback",
        "inputs",
        "policies",
        "shadow",
        "epochs",
        "zone_runs",
        "io_counts",
    ),
)
_COMMENT = re.compile(r"\A(?:--[^\n]*\n)+")
_FILES = "read_parquet($files)"
_BETWEEN = "epoch > $after AND epoch <= $upto"


class Extent:
    """The rows of some stores up to an epoch of each, or (without `upto`) all rows of the opened epochs."""

    def __init__(self, parts: Sequence[Part], upto: Sequence[int] | None = None) -> None:
        self._parts, self._upto = parts, upto

    @property
    def is_past(self) -> bool:
        """Whether rows of the opened epochs are left out."""
        return self._upto is not None

    @property
    def is_several(self) -> bool:
        """Whether several stores are read as one."""
        return len(self._parts) > 1

    @property
    def condition(self) -> str:
        """SQL condition on the column `epoch` of a view."""
        if self._upto is None:
            return "true"
        if not self.is_several:
            return f"epoch <= {self._upto[0]}"
        return _any_of(
            f"epoch BETWEEN {place * APART} AND {place * APART + upto}"
            for place, upto in enumerate(self._upto)
        )

    def counted(self, files: str) -> str:
        """FROM clause for rows of segments, with their epochs counted as in the views."""
        if not self.is_several:
            return files
        begins = " ".join(
            f"WHEN starts_with(filename, {quoted(f'{part.directory}/')}) THEN {place * APART}"
            for place, part in enumerate(self._parts)
        )
        return f"(SELECT * REPLACE (epoch + CASE {begins} END AS epoch) FROM {files})"  # noqa: S608 - quoted

    def rows(self, files: str) -> str:
        """FROM clause for rows of segments, without later ones."""
        counted = self.counted(files)
        return f"(FROM {counted} WHERE {self.condition})" if self.is_past else counted

    def within(self, statement: str) -> str:
        """Rewrite a trusted statement to see only these rows; it must name views without a schema."""
        if not self.is_past:
            return statement.replace(_FILES, self.counted(_FILES))
        text = _COMMENT.sub("", statement).replace(_FILES, self.rows(_FILES))
        read = [name for name in _WITH_EPOCH if re.search(rf"(?<![.\w]){name}\b", text)]
        if not read:
            return text
        parts = ", ".join(f"{name} AS (FROM store.main.{name} WHERE {self.condition})" for name in read)
        further = text.removeprefix("WITH ")
        return f"WITH {parts}{', ' if further != text else ' '}{further}"


class Span(NamedTuple):
    """The epochs after one of each store and up to another one."""

    after: Sequence[int]
    upto: Sequence[int]

    def within(self, statement: str) -> str:
        """Set the span in a statement that is written for the epochs between `$after` and `$upto`."""
        spans = (
            f"epoch > {place * APART + first} AND epoch <= {place * APART + last}"
            for place, (first, last) in enumerate(zip(self.after, self.upto, strict=True))
        )
        return statement.replace(_BETWEEN, _any_of(spans))


def _any_of(conditions: Iterable[str]) -> str:
    return f"({' OR '.join(f'({condition})' for condition in conditions)})"


def own(epoch: int) -> int:
    """Number of an epoch as its store counts it."""
    return epoch % APART
