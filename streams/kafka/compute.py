"""Call a core in such a way that one bad record never stops its neighbours. Independent of Kafka's client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from aiokafka.errors import KafkaError

from streams import limits, metrics
from streams.errors import OperatorError, UnavailableError, called_off, without_values
from streams.events.record import Core, Fetch, Outcome, Outgoing, Received

log = logging.getLogger(__name__)

State = TypeVar("State")
#: Leaves room for the overhead of the Kafka batch around a record.
OUTPUT_BYTES_MAX = limits.MESSAGE_BYTES_MAX - 4096
#: Key and value of this size fit together with any headers that stages write.
_SURE_TO_FIT_BYTES = OUTPUT_BYTES_MAX - limits.OUTPUT_HEADROOM_BYTES
_TRIES_MAX = 4
#: Rejected records of one fetch that are logged one by one, so that many of them do not flood the log.
_SAID_MAX = 3
#: Errors that no record causes: a broker, a disk or a child process is unavailable.
OUTSIDE = (UnavailableError, KafkaError, OSError)


class CoreFailedError(Exception):
    """The core fails on a fetch even with the failing record rejected, which is a fault of the program."""


class OversizeError(ValueError):
    """An output is larger than a Kafka record may be; its source record is rejected."""


async def compute(
    core: Core[State], state: State, fetch: Fetch, inputs: Any, *, silent: bool
) -> Outcome[State]:
    """Return the core's outcome for `fetch`, rejecting the records on which it fails.

    A fetch that fails is divided into halves, down to single records; each half starts with the state that
    the half before it left. This is safe because results do not depend on the division into fetches. A single
    record that fails twice for the same reason is passed to the core in `poisoned`. So a record passes
    through the core at most log2(records of the fetch) + 4 times, however many are bad. All parts use the
    same `inputs`; between two parts, other tasks may run.

    Raises
    ------
    CoreFailedError
        The core fails on a record that is already poisoned, or fails for a new reason each time.
    UnavailableError, KafkaError, OSError
        Something that the core needs is unavailable; no record is rejected for that.
    """
    outputs, checkpoint, rejected = list[Outgoing](), False, 0
    tally = metrics.Tally()
    waiting: list[Sequence[Received]] = [fetch.records]
    while waiting:
        records = waiting.pop()
        part = replace(fetch, records=records)
        outcome, reason = await _once(core, state, part, inputs, silent, {})
        if outcome is None and len(records) > 1:
            middle = len(records) // 2
            waiting += [records[middle:], records[:middle]]
            await asyncio.sleep(0)
            continue
        if outcome is None:
            outcome, reason = await _alone(core, state, part, inputs, silent, reason)
            rejected += bool(reason)
            if reason and rejected <= _SAID_MAX:
                log.error(
                    "%s partition %d offset %d is rejected: %s",
                    fetch.topic,
                    fetch.partition,
                    records[0].offset,
                    reason,
                )
            await asyncio.sleep(0)
        state, checkpoint = outcome.state, checkpoint or outcome.checkpoint
        outputs += outcome.outputs
        tally.merge(outcome.tally)
    if rejected:
        metrics.count("poisoned_total", rejected, topic=fetch.topic)
    if rejected > _SAID_MAX:
        log.error(
            "%s partition %d offsets %d to %d: %d more records are rejected; each is on glasses.rejected",
            fetch.topic,
            fetch.partition,
            fetch.records[0].offset,
            fetch.records[-1].offset,
            rejected - _SAID_MAX,
        )
    return Outcome(state, outputs, checkpoint, tally)


async def _alone(
    core: Core[State], state: State, part: Fetch, inputs: Any, silent: bool, reason: str
) -> tuple[Outcome[State], str]:
    """Outcome of one record that failed for `reason`, and why it is rejected ("" if it passes on a retry)."""
    place = f"{part.topic} partition {part.partition}"
    reasons = [reason]
    while len(reasons) < _TRIES_MAX:
        outcome, again = await _once(core, state, part, inputs, silent, {})
        if outcome is not None:
            return outcome, ""
        if again in reasons:
            break
        reasons.append(again)
    else:
        raise CoreFailedError(f"{place}: the core fails for another reason each time: {'; '.join(reasons)}")
    offset = part.records[0].offset
    outcome, still = await _once(core, state, part, inputs, silent, {offset: again})
    if outcome is None:
        raise CoreFailedError(f"{place}: the core fails on the rejected offset {offset}: {still}")
    return outcome, again


async def _once(
    core: Core[State],
    state: State,
    fetch: Fetch,
    inputs: Any,
    silent: bool,
    poisoned: Mapping[int, str],
) -> tuple[Outcome[State] | None, str]:
    try:
        outcome = await core.process(state, fetch, inputs, silent=silent, poisoned=poisoned)
        for output in outcome.outputs:
            if output.value is not None and len(output.value) + len(output.key) > _SURE_TO_FIT_BYTES:
                _check_size(output, output.value)
    except (*OUTSIDE, *called_off()):
        raise
    except BaseException as error:  # noqa: BLE001  anything that the core raises is a reason to reject the record
        return None, _reason(error)
    return outcome, ""


def _reason(error: BaseException) -> str:
    """Reason of an error without values of the record, which messages of foreign exceptions may quote."""
    if isinstance(error, OperatorError):
        return f"operator {error.operator} failed: {_reason(error.__cause__ or error)}"
    return str(error) if isinstance(error, OversizeError) else without_values(error)


def _check_size(output: Outgoing, value: bytes) -> None:
    size = len(value) + len(output.key) + sum(len(name) + len(value) for name, value in output.headers)
    if size > OUTPUT_BYTES_MAX:
        raise OversizeError(f"an output to {output.topic} has {size} bytes; at most {OUTPUT_BYTES_MAX} fit")
