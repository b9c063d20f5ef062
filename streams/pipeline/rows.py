"""Rows and rejects that no stage makes: what an agent took up, which policies were refused, what was lost."""

from __future__ import annotations

from streams.events.record import Fetch, Loss, Outgoing, stamp_ns
from streams.lineage.record import blocks, encode
from streams.lineage.rows import Row
from streams.lineage.tables import LOST_RECORDS, LOST_STATE
from streams.policy.policy import Policy
from streams.policy.step import MALFORMED, Cause, Reject
from streams.policy.versions import Refusal
from streams.topology import POLICIES, POLICIES_READ


def policy_row(policy: Policy, fetch: Fetch, *, first: bool) -> Row:
    """Row of a policy that is taken up with `fetch`.

    The store keeps the policy's text, so that `recheck` can repeat decisions.

    `first`: it is the first policy of the partition, so the time of the switch is unknown and `published_ns`
    is 0.
    """
    return {
        "version": policy.version,
        "name": policy.name,
        "text": policy.text,
        "published_ns": 0 if first else stamp_ns(fetch.records[0]),
    }


def refusal_of(refusal: Refusal) -> Reject:
    """Reject for a refused record of `glasses.policies`, without its bytes."""
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
    """Lineage records that document, as a recorded input, which records an agent or its state never saw."""
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
    """Row of a recorded input: `value` is in force from the first record of `fetch` on."""
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
