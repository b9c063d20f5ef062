"""Consents and policies on the topics, read once: for a worker that starts, and for commands.

Commands read them without what a worker imports, and so answer sooner.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence

from streams.consent.record import learn_consent, pairing_record
from streams.consent.view import Consents
from streams.errors import MalformedError
from streams.events.record import Received, stamp_ns
from streams.kafka.publish import publish_now
from streams.kafka.reader import read_all
from streams.policy.policy import Policy
from streams.policy.versions import CURRENT_KEY, Check, PolicyTable
from streams.settings.kafka import Broker
from streams.topology import CONSENTS

log = logging.getLogger(__name__)


async def consents_of_topic(broker: Broker) -> Consents:
    """Read `glasses.consents`; a malformed record is logged and skipped."""
    consents = Consents()
    for record in await read_all(broker, CONSENTS):
        try:
            learn_consent(consents, record)
        except MalformedError as error:
            log.error("%s offset %d is passed over: %s", CONSENTS, record.offset, error)  # noqa: TRY400
    return consents


async def bind(broker: Broker, pairs: Sequence[tuple[str, str]]) -> int:
    """Publish pairings (device, wearer) that are new; return their number.

    A pairing that an operator has ended stays ended, which is logged. Delivery: all pairings or none.
    """
    if not pairs:
        return 0
    known = (await consents_of_topic(broker)).pairings
    for device, wearer in pairs:
        if known.get((device, wearer)) is False:
            log.warning(
                "The pairing of %s with %s was ended and stays so; bind it again with `sightline pair`",
                device,
                wearer,
            )
    fresh = [pair for pair in dict.fromkeys(pairs) if pair not in known]
    if fresh:
        await publish_now(broker, [pairing_record(*pair, bound=True) for pair in fresh])
    return len(fresh)


async def policies_of(records: Sequence[Received], checker: Check) -> PolicyTable:
    """Read the policy versions in records of `glasses.policies`, and the one in force.

    A record that is neither a policy nor a pointer to an earlier policy is added to `refused`.
    """
    policies = PolicyTable()
    for record in records:
        with contextlib.suppress(MalformedError):
            await policies.learn(record, checker)
    return policies


async def in_force_since(records: Sequence[Received], checker: Check) -> list[tuple[int, Policy]]:
    """The policies that were put in force by records of `glasses.policies`, with the times (ns) of that.

    The topic is compacted, so which policy was in force before the first of them may not be known.
    """
    policies, moments = PolicyTable(), list[tuple[int, Policy]]()
    for record in records:
        with contextlib.suppress(MalformedError):
            await policies.learn(record, checker)
            if record.key == CURRENT_KEY:
                moments.append((stamp_ns(record), policies.now.version(policies.now.current)))
    return moments
