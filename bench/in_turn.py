"""Two cores that process the same fetches in turn, so that a busy machine is the same for both."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence

from streams.events.record import Fetch, StoredRecord
from streams.metrics import Tally
from streams.pipeline.live import LiveGlasses
from streams.topology import CAPTURED

#: The two are half a second apart.
_FETCH = 1000


async def in_turn(
    cores: Mapping[bool, LiveGlasses],
    records: Sequence[StoredRecord],
    clock_s: Callable[[], float],
    after: Callable[[bool, Fetch, Tally], None] = lambda *_: None,
) -> dict[bool, float]:
    """Process all records by both cores; return the seconds of `clock_s` that each took.

    Which comes first changes from fetch to fetch. What `after` does belongs to the core that it is told.
    """
    states = {which: core.empty(0) for which, core in cores.items()}
    spent_s = dict.fromkeys(cores, 0.0)
    gc.collect()
    gc.disable()
    try:
        for turn, at in enumerate(range(0, len(records), _FETCH)):
            fetch = Fetch(CAPTURED, 0, records[at : at + _FETCH])
            for which in (bool(turn % 2), not turn % 2):
                core, state = cores[which], states[which]
                began_s = clock_s()
                inputs = await core.inputs(state, fetch, silent=False)
                outcome = await core.process(state, fetch, inputs, silent=False, poisoned={})
                states[which] = outcome.state
                after(which, fetch, outcome.tally)
                spent_s[which] += clock_s() - began_s
        return spent_s
    finally:
        gc.enable()
