"""Compare the packed lattice with the same lattice in plain Python sets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.policy import label as lattice


@dataclass(frozen=True)
class Plain:
    """The oracle: sets and numbers."""

    categories: frozenset[int]
    purposes: frozenset[int]
    obligations: frozenset[int]
    subjects: frozenset[int]
    regions: frozenset[int]
    retention: int
    nature: int

    def join(self, other: Plain) -> Plain:
        return Plain(
            self.categories | other.categories,
            self.purposes & other.purposes,
            self.obligations | other.obligations,
            self.subjects | other.subjects,
            self.regions & other.regions,
            min(self.retention, other.retention),
            max(self.nature, other.nature),
        )

    def packed(self) -> bytes:
        def mask(bits: frozenset[int]) -> int:
            return sum(1 << bit for bit in bits)

        return lattice.pack(
            categories=mask(self.categories),
            purposes=mask(self.purposes),
            obligations=mask(self.obligations),
            subjects=mask(self.subjects),
            regions=mask(self.regions),
            retention=self.retention,
            nature=self.nature,
        )


def bits(count: int) -> st.SearchStrategy[frozenset[int]]:
    return st.frozensets(st.integers(0, count - 1), max_size=6)


LABELS = st.builds(
    Plain, bits(64), bits(16), bits(16), bits(8), bits(8), st.integers(0, 255), st.integers(0, 3)
)


@given(st.lists(LABELS, min_size=1, max_size=6))
def test_join_equals_the_oracle(labels: list[Plain]) -> None:
    assert lattice.join(label.packed() for label in labels) == reduce(Plain.join, labels).packed()


@given(LABELS, LABELS, LABELS)
def test_join_is_associative_commutative_idempotent_and_never_loosens(a: Plain, b: Plain, c: Plain) -> None:
    x, y, z = a.packed(), b.packed(), c.packed()
    assert lattice.join((lattice.join((x, y)), z)) == lattice.join((x, lattice.join((y, z))))
    assert lattice.join((x, y)) == lattice.join((y, x))
    assert lattice.join((x, x)) == x
    assert not lattice.loosens(x, lattice.join((x, y)))


@given(LABELS, LABELS)
def test_loosens_says_what_the_oracle_says(a: Plain, b: Plain) -> None:
    assert lattice.loosens(a.packed(), b.packed()) == (a.join(b) != b)


@given(LABELS)
def test_a_label_is_16_bytes_that_say_what_was_packed(a: Plain) -> None:
    assert len(a.packed()) == 16
    assert lattice.pack(**lattice.unpack(a.packed())) == a.packed()
    for odd in (b"", a.packed()[1:], a.packed() * 2):
        with pytest.raises(ValueError, match="16 bytes"):
            lattice.unpack(odd)
