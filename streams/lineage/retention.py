"""Which epochs of a store can be asked about: what the writer keeps apart, and readers answer exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_HOUR_NS = 3_600_000_000_000
_DAY_NS = 24 * _HOUR_NS


def retained(published_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of some epochs, oldest first, can be asked about.

    Those are all of the last hour before the newest, the last of each hour for a day, of each day after. An
    epoch that is not retained will not be retained later either.
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
