"""Call a core so that one bad record never stops its neighbours; no Kafka in here."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from aiokafka.errors import KafkaError

from streams import limits, metrics
from streams.errors import MalformedError, UnavailableError
from streams.events.record import Core, Fetch, Outcome, Outgoing

log = logging.getLogger(__name__)

State = TypeVar("State")
#: A record's own size must leave room for the batch around it.
OUTPUT_BYTES_MAX = limits.MESSAGE_BYTES_MAX - 4096
#: With any headers that we write.
_SURE_TO_FIT_BYTES = OUTPUT_BYTES_MAX - limits.OUTPUT_HEADROOM_BYTES
_TRIES_MAX = 4
#: Errors that no record is to blame for: a broker, a disk or a child process is away.
OUTSIDE = (UnavailableError, KafkaError, OSError)


class CoreFailedError(Exception):
    """The core fails on a fetch although every record it failed on is already rejected.

    It is a fault of the program, not of the data.
    """


class OversizeError(ValueError):
    """An output is larger than a Kafka record may be; the record that it was made of is rejected."""


async def compute(core: Core[State], state: State, fetch: Fetch, *, silent: bool) -> Outcome[State]:
    """Return the core's outcome for `fetch`, rejecting the records on which it fails.

    A failure is repeated once. When it fails for the same reason again, the shortest failing prefix is found
    by bisection (outputs discarded; the core is pure), its last record is named in `poisoned`, and the whole
    fetch is processed again.

    Raises
    ------
    CoreFailedError
        The core fails on a record that is already poisoned, or fails for ever new reasons.
    UnavailableError, KafkaError, OSError
        Something outside that the core needs is away; no record is rejected for that.
    """
    poisoned: dict[int, str] = {}
    while True:
        outcome, reason = await _tried(core, state, fetch, silent, poisoned)
        if outcome is not None:
            return outcome
        offset = await _first_bad(core, state, fetch, silent, poisoned)
        if offset in poisoned:
            raise CoreFailedError(
                f"{fetch.topic} partition {fetch.partition}: "
                f"the core fails on the rejected offset {offset}: {reason}"
            )
        if offset is not None:
            poisoned[offset] = reason
            metrics.count("poisoned_total", topic=fetch.topic)
            log.error(
                "%s partition %d offset %d is rejected: %s", fetch.topic, fetch.partition, offset, reason
            )


async def _tried(
    core: Core[State], state: State, fetch: Fetch, silent: bool, poisoned: Mapping[int, str]
) -> tuple[Outcome[State] | None, str]:
    """Outcome, or None and the reason that was met twice."""
    reasons: list[str] = []
    while len(reasons) < _TRIES_MAX:
        outcome, reason = await _once(core, state, fetch, silent, poisoned)
        if outcome is not None:
            return outcome, ""
        if reason in reasons:
            return None, reason
        reasons.append(reason)
    raise CoreFailedError(
        f"{fetch.topic} partition {fetch.partition}: "
        f"the core fails for another reason each time: {'; '.join(reasons)}"
    )


async def _once(
    core: Core[State], state: State, fetch: Fetch, silent: bool, poisoned: Mapping[int, str]
) -> tuple[Outcome[State] | None, str]:
    try:
        outcome = await core.process(state, fetch, silent=silent, poisoned=poisoned)
        for output in outcome.outputs:
            if output.value is not None and len(output.value) + len(output.key) > _SURE_TO_FIT_BYTES:
                _check_size(output, output.value)
    except OUTSIDE:
        raise
    except Exception as error:  # noqa: BLE001  whatever the core raises about a record is a reason to reject that record
        return None, _reason(error)
    return outcome, ""


def _reason(error: Exception) -> str:
    """Say why, without a value of the record: messages of foreign exceptions quote what they choke on."""
    if isinstance(error, (MalformedError, OversizeError)):
        return str(error)
    *_, last = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"


def _check_size(output: Outgoing, value: bytes) -> None:
    size = len(value) + len(output.key) + sum(len(name) + len(said) for name, said in output.headers)
    if size > OUTPUT_BYTES_MAX:
        raise OversizeError(f"an output to {output.topic} has {size} bytes; at most {OUTPUT_BYTES_MAX} fit")


async def _first_bad(
    core: Core[State], state: State, fetch: Fetch, silent: bool, poisoned: Mapping[int, str]
) -> int | None:
    """Offset of the last record of the shortest prefix that fails; None when the whole fetch passes now."""
    passes, fails = 0, len(fetch.records)
    outcome, _ = await _once(core, state, fetch, silent, poisoned)
    if outcome is not None:
        return None
    while fails - passes > 1:
        middle = (passes + fails) // 2
        outcome, _ = await _once(
            core, state, replace(fetch, records=fetch.records[:middle]), silent, poisoned
        )
        passes, fails = (middle, fails) if outcome is not None else (passes, middle)
    return fetch.records[fails - 1].offset
