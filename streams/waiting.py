"""Nothing waits for long without saying for what."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from streams import limits

log = logging.getLogger(__name__)


@asynccontextmanager
async def saying(what: str | Callable[[], Awaitable[str]]) -> AsyncIterator[None]:
    """Say once what is waited for, if the block lasts longer than WAIT_SAID_S.

    `what` goes on behind *waiting for*; a callable is asked for it only then, and what it raises is left out.
    """

    async def say() -> None:
        await asyncio.sleep(limits.WAIT_SAID_S)
        said = what if isinstance(what, str) else await what()
        log.warning("Waiting for %s (since %g s)", said, limits.WAIT_SAID_S)

    talking = asyncio.create_task(say())
    try:
        yield
    finally:
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)
