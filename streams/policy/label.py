"""The label: a point in a product lattice, packed into 16 bytes.

Join is component-wise and never loosens: categories, data subjects and obligations are united; permitted
purposes and regions are intersected; the retention class is the shortest; the nature is the most derived. The
form follows the decentralised label model (Myers and Liskov, "Protecting privacy using the decentralized
label model", TOSEM 2000): a derived value is at least as restricted as each of its sources.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from functools import lru_cache, reduce
from operator import and_, or_

from streams.limits import LABEL_BYTES, PURPOSES_MAX

#: Components in the order of their bytes: masks, then positions.
_NAMES = ("categories", "purposes", "obligations", "subjects", "regions", "retention", "nature")
_LABEL = struct.Struct("<QHHBBBB")
if _LABEL.size != LABEL_BYTES:
    raise AssertionError("a packed label has the size that its readers expect")
#: From the least to the most derived (DPV: ProvidedPersonalData, Observed..., Derived..., Inferred...).
NATURES = ("provided", "observed", "derived", "inferred")
#: How many words each closed vocabulary can hold.
CAPACITY = {
    "categories": 64,
    "purposes": PURPOSES_MAX,
    "obligations": 16,
    "subjects": 8,
    "regions": 8,
    "retention": 256,
}

#: How each component is joined.
_JOINS: tuple[Callable[[int, int], int], ...] = (or_, and_, or_, or_, and_, min, max)


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
    """Bytes of one label. Bits of masks are positions in the vocabulary; `nature` is a position in `NATURES`.

    `retention` is a position too; 0 is the shortest class.
    """
    return _LABEL.pack(categories, purposes, obligations, subjects, regions, retention, nature)


def unpack(packed: bytes) -> dict[str, int]:
    """Components of a label by name; ValueError if it does not have 16 bytes."""
    if len(packed) != LABEL_BYTES:
        raise ValueError(f"a label has {LABEL_BYTES} bytes, found {len(packed)}")
    return dict(zip(_NAMES, _LABEL.unpack(packed), strict=True))


@lru_cache(maxsize=4096)
def _join_distinct(distinct: frozenset[bytes]) -> bytes:
    columns = zip(*map(_LABEL.unpack, distinct), strict=True)
    return _LABEL.pack(*(reduce(how, column) for how, column in zip(_JOINS, columns, strict=True)))


def join(labels: Iterable[bytes]) -> bytes:
    """Join of packed labels; ValueError if there are none, because then there is no join."""
    distinct = frozenset(labels)
    if not distinct:
        raise ValueError("a join needs at least one label")
    return next(iter(distinct)) if len(distinct) == 1 else _join_distinct(distinct)


def loosens(before: bytes, after: bytes) -> bool:
    """Whether `after` permits anything that `before` does not, which only a declassifier may cause."""
    return join((before, after)) != after
