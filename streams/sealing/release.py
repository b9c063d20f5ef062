"""Keys are handed out by purpose: who asks names a sink of the policy in force, and it is written down.

What may then be done with a single value is decided by its label, where it crosses into that sink.
"""

from __future__ import annotations

from streams.errors import InputError
from streams.policy.policy import Policy
from streams.sealing.key_store import KeyStore, Release


def release(store: KeyStore, policy: Policy, sink: str, principal: str, now_ns: int) -> Release:
    """Let `principal` have keys for the purpose of a sink; recorded whether or not the policy permits it.

    InputError if the policy has no such sink: then there is no purpose to have keys for.
    """
    declared = policy.sinks.get(sink)
    permitted = declared is not None
    made = Release(
        now_ns,
        principal,
        declared.purpose if declared is not None else "",
        policy.version,
        "allow" if permitted else "deny",
        f"sinks.{sink}" if permitted else f"no sink {sink}",
    )
    store.record(made)
    if not permitted:
        raise InputError(
            f"{principal}: the policy {policy.name} {policy.version} has no sink {sink}, and so no purpose "
            "to have keys for; nothing is opened"
        )
    return made
