"""A message about what a process waits for, if the wait is long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streams import limits

log = logging.getLogger(__name__)


@asynccontextmanager
async def saying(awaited: str) -> AsyncIterator[None]:
    """Log once what is waited for if the block takes longer than WAIT_SAID_S."""
    warning = asyncio.get_running_loop().call_later(
        limits.WAIT_SAID_S, log.warning, "Waiting for %s (since %g s)", awaited, limits.WAIT_SAID_S
    )
    try:
        yield
    finally:
        warning.cancel()
