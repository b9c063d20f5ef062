"""Python's collector of reference cycles, for processes that create and free many objects at once."""

from __future__ import annotations

import asyncio
import gc

from streams import limits


async def collect_cycles() -> None:
    """Freeze the objects that exist now, and collect the cycles of all others at intervals, until cancelled.

    The interval is COLLECT_INTERVAL_S. A fetch creates some 100,000 objects that are freed without the
    collector. Python's default, a collection per 700 new objects, took a fifth of the worker's CPU; one per
    200,000 let cycles of the Kafka clients keep a hundred megabytes of fetches in memory.
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
