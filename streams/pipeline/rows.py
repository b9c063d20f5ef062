"""Rows and rejects beside those of the stages: what an agent took up, what was refused, what was lost."""

from __future__ import annotations

from streams.events.record import Fetch, Loss, Outgoing, stamp_ns
from streams.lineage.record import Row, blocks, encode
from streams.lineage.tables import LOST_RECORDS, LOST_STATE
from streams.policy.policy import Policy
from streams.policy.step import MALFORMED, Cause, Reject
from streams.policy.versions import Refusal
from streams.topology import POLICIES, POLICIES_READ


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


def refusal_of(refusal: Refusal) -> Reject:
    """A refused record of `glasses.policies` on its way to `glasses.rejected`, without its bytes."""
    return Reject(
        cause=Cause(POLICIES_READ, MALFORMED, refusal.reason, MALFORMED),
        position=refusal.offset,
        key=refusal.key,
        value_bytes=refusal.value_bytes,
        digest=refusal.digest,
        zone=MALFORMED,
        t_ns=refusal.appended_ns,
        appended_ns=refusal.appended_ns,
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
