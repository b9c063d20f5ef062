"""Python's collector of reference cycles, for processes that make and free many objects at once."""

from __future__ import annotations

import asyncio
import gc

from streams import limits


async def collect_cycles() -> None:
    """Let the cycle collector pass over what stays; it looks at the rest at intervals, until cancelled.

    It does so every COLLECT_INTERVAL_S. A fetch makes some 100,000 objects that are freed without it. Python
    looks after every 700, which took a fifth of the worker's CPU; looking after 200,000 instead let the
    cycles that clients leave hold a hundred megabytes of fetches.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        while True:
            await asyncio.sleep(limits.COLLECT_INTERVAL_S)
            gc.collect()
    finally:
        gc.enable()
        gc.unfreeze()
