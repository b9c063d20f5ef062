"""What every worker reads whole: policies, models, consents.

Also the rows that say when an agent took something of it up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import islice

from streams.consent.view import Consents, Own
from streams.consent.words import Statement
from streams.errors import UnavailableError
from streams.events.record import Fetch, Loss, Outgoing, stamp_ns
from streams.limits import POLICY_REFUSALS_PER_FETCH_MAX
from streams.lineage.record import Row, blocks, encode
from streams.lineage.tables import LOST_RECORDS, LOST_STATE
from streams.models.registry import Models
from streams.policy.policy import Policy
from streams.policy.step import MALFORMED, Reject
from streams.policy.versions import Policies, Refusal
from streams.topology import CONSENTS, POLICIES, POLICIES_READ


async def _nothing_new() -> None:
    """There is nowhere to read from."""


async def _nothing_older(_number: int) -> None:
    """There is nowhere to read from."""


async def _nowhere() -> int:
    """There is no topic."""
    return 0


@dataclass
class Tables:
    """Policies, models and consents as this worker knows them. Cores look at them between fetches only."""

    policies: Policies
    models: Models = field(default_factory=Models)
    consents: Consents = field(default_factory=Consents)
    #: Reads policies to the end as it is now. What somebody labelled under one that this worker has not read
    #: yet can be told so from what nobody published.
    refresh: Callable[[], Awaitable[None]] = _nothing_new
    #: Reads a model version that a state names and that is no longer in memory.
    recall: Callable[[int], Awaitable[None]] = _nothing_older
    #: Offset at which `glasses.consents` ends now.
    consents_end: Callable[[], Awaitable[int]] = _nowhere

    def label(self, label: bytes, version: str, policy: Policy) -> bytes:
        """A label that policy `version` gave, in the words of `policy`.

        It is empty where that cannot be said (it passes nowhere).
        """
        return policy.adopted(label, self.policies.version(version)) if version != policy.version else label

    async def hold(self, policy_version: str, model_version: int, consents_taken: int) -> bool:
        """Whether the topics hold what a restored state says that it has taken up ("" or 0: nothing).

        A state that names what is on no topic would wait for it for ever.
        """
        if policy_version and policy_version not in self.policies.versions:
            await self.refresh()
        if model_version and model_version not in self.models.versions:
            await self.recall(model_version)
        return (
            (not policy_version or policy_version in self.policies.versions)
            and (not model_version or model_version in self.models.versions)
            and (consents_taken <= self.consents.offset or consents_taken <= await self.consents_end())
        )

    def behind(self, taken: int) -> UnavailableError | None:
        """Error when consents that a state has taken up have not been read here yet.

        No record is to blame for that.
        """
        if self.consents.offset >= taken:
            return None
        return UnavailableError(
            f"{CONSENTS} is read up to offset {self.consents.offset} here, not yet up to {taken}; tried again"
        )

    def refused(self, read: int) -> list[Refusal]:
        """What was refused of `glasses.policies` from offset `read` on, as many as one fetch puts on record.

        Only partition 0 of `glasses.captured` does that, so that each is put on record once.
        """
        found = (one for one in self.policies.refused if one.offset >= read)
        return list(islice(found, POLICY_REFUSALS_PER_FETCH_MAX))

    def fresh(self, taken: int, own: Own) -> tuple[list[Statement], Own]:
        """What was said on other partitions since `taken`, and what of a partition's own is not back yet."""
        foreign: list[Statement] = []
        left = dict(own)
        for _, wearer, said in self.consents.between(taken, self.consents.offset):
            mine = left.get(wearer, ())
            rest = tuple(one for one in mine if one[1] != said)
            if len(rest) == len(mine):
                foreign.append((wearer, said))
            elif rest:
                left[wearer] = rest
            else:
                del left[wearer]
        return foreign, left


def policy_row(policy: Policy, fetch: Fetch, *, first: bool) -> Row:
    """Row of a policy that is taken up with `fetch`.

    Its text stays in the store, or no decision could be decided again.

    Who takes up a policy for the `first` time at all cannot say when it was switched to: `published_ns` is 0.
    """
    return {
        "version": policy.version,
        "name": policy.name,
        "text": policy.text,
        "published_ns": 0 if first else stamp_ns(fetch.records[0]),
    }


def refusal_of(one: Refusal) -> Reject:
    """A refused record of `glasses.policies` on its way to `glasses.rejected`, without its bytes."""
    return Reject(
        reason=one.reason,
        rule=MALFORMED,
        outcome=MALFORMED,
        stage=POLICIES_READ,
        position=one.offset,
        key=one.key,
        value_bytes=one.value_bytes,
        digest=one.digest,
        zone=MALFORMED,
        t_ns=one.appended_ns,
        appended_ns=one.appended_ns,
        topic=POLICIES,
    )


def told(agent: str, loss: Loss) -> list[Outgoing]:
    """The recorded input that says which records an agent, or its state, never saw, as its lineage."""
    last = "" if loss.last is None else loss.last
    row: Row = {
        "kind": LOST_STATE if loss.state else LOST_RECORDS,
        "agent": agent,
        "topic": loss.topic,
        "partition": loss.partition,
        "offset": loss.next_offset,
        "value": f"{loss.first}-{last}",
        "t_ns": loss.since_ms * 1_000_000,
    }
    return encode(
        {"inputs": blocks("inputs", [row])},
        loss.partition,
        f"{agent}/{loss.partition}".encode(),
        loss.found_ms,
    )


def input_row(kind: str, agent: str, fetch: Fetch, value: str) -> Row:
    """Row of a recorded input: from the first record of `fetch` on, `value` was in force."""
    first = fetch.records[0]
    return {
        "kind": kind,
        "agent": agent,
        "topic": fetch.topic,
        "partition": fetch.partition,
        "offset": first.offset,
        "value": value,
        "t_ns": stamp_ns(first),
    }
