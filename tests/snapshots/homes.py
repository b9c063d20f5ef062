"""Erasures of what she captured at home."""

from __future__ import annotations

from collections.abc import Sequence

from streams.consent.erased import ErasedTime, Erasure, Scope, erasure_of
from tests.snapshots.worlds import HER, mark


def of_home(at_ns: int, spans: Sequence[tuple[int, int]], number: int = 1) -> Erasure:
    """The erasure of what she captured at home, of which these stays are known."""
    scope = Scope(0, 0, "home", tuple(ErasedTime(*span) for span in spans))
    return erasure_of(mark(HER), number, at_ns, scope)
