"""Which epochs of a store are kept as moments, so that questions about them have exact answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_HOUR_NS = 3_600_000_000_000
_DAY_NS = 24 * _HOUR_NS


def retained(published_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which epochs are kept as moments: a mask for their times `published_ns` (ns, oldest first).

    Kept are all epochs of the hour before the newest, the last of each hour of the day before it, and the
    last of each earlier day. An epoch that is not kept now will not be kept later either.
    """
    kept = np.zeros(len(published_ns), bool)
    if not len(kept):
        return kept
    age_ns = published_ns[-1] - published_ns
    kept |= age_ns <= _HOUR_NS
    for unit_ns, reach_ns in ((_HOUR_NS, _DAY_NS), (_DAY_NS, 2**62)):
        unit = published_ns // unit_ns
        kept |= np.append(unit[1:] != unit[:-1], True) & (age_ns <= reach_ns)
    return kept
