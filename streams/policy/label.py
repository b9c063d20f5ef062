"""The label: a point in a product lattice, packed into 16 bytes, joined with numpy.

Join is component-wise and never loosens: categories, data subjects and obligations are united; permitted
purposes and regions are intersected; the retention class is the shortest; the nature is the most derived. The
form follows the decentralised label model (Myers and Liskov, "Protecting privacy using the decentralized
label model", TOSEM 2000): a derived value is at least as restricted as each of its sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.limits import LABEL_BYTES

LABEL = np.dtype(
    [
        ("categories", "<u8"),
        ("purposes", "<u2"),
        ("obligations", "<u2"),
        ("subjects", "u1"),
        ("regions", "u1"),
        ("retention", "u1"),
        ("nature", "u1"),
    ]
)
if LABEL.itemsize != LABEL_BYTES:
    raise AssertionError("a packed label has the size that its readers expect")
#: From the least to the most derived (DPV: ProvidedPersonalData, Observed..., Derived..., Inferred...).
NATURES = ("provided", "observed", "derived", "inferred")
#: How many words each closed vocabulary can hold.
CAPACITY = {
    "categories": 64,
    "purposes": 16,
    "obligations": 16,
    "subjects": 8,
    "regions": 8,
    "retention": 256,
}

_UNITE = ("categories", "subjects", "obligations")
_INTERSECT = ("purposes", "regions")

Labels = NDArray[Any]


def pack(
    *,
    categories: int,
    purposes: int,
    obligations: int,
    subjects: int,
    regions: int,
    retention: int,
    nature: int,
) -> bytes:
    """Bytes of one label; masks by vocabulary position, `nature` in `NATURES`.

    `retention` is by position too, 0 the shortest.
    """
    return np.array(
        [(categories, purposes, obligations, subjects, regions, retention, nature)], dtype=LABEL
    ).tobytes()


def unpack(packed: Iterable[bytes]) -> Labels:
    """Structured array of labels, shape (n,); ValueError when one has not 16 bytes."""
    return np.frombuffer(b"".join(packed), dtype=LABEL)


def join_groups(labels: Labels, starts: Sequence[int]) -> Labels:
    """Join each group of consecutive labels.

    `starts` are the groups' first positions, as for `numpy.ufunc.reduceat`.
    """
    joined = np.empty(len(starts), dtype=LABEL)
    for name in _UNITE:
        joined[name] = np.bitwise_or.reduceat(labels[name], starts)
    for name in _INTERSECT:
        joined[name] = np.bitwise_and.reduceat(labels[name], starts)
    joined["retention"] = np.minimum.reduceat(labels["retention"], starts)
    joined["nature"] = np.maximum.reduceat(labels["nature"], starts)
    return joined


@lru_cache(maxsize=4096)
def _join_distinct(distinct: frozenset[bytes]) -> bytes:
    return join_groups(unpack(distinct), [0]).tobytes()


def join(labels: Iterable[bytes]) -> bytes:
    """Join of packed labels; ValueError when there are none, since nothing has no label."""
    distinct = frozenset(labels)
    if not distinct:
        raise ValueError("a join needs at least one label")
    return next(iter(distinct)) if len(distinct) == 1 else _join_distinct(distinct)


def loosens(before: bytes, after: bytes) -> bool:
    """Whether `after` permits anything that `before` does not: true only across a declassifier."""
    return join((before, after)) != after
