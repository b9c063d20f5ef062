"""Keys are handed out by purpose: who asks names a sink of the policy in force, and it is written down.

What may then be done with a single value is decided by its label, where it crosses into that sink.
"""

from __future__ import annotations

from streams.errors import InputError
from streams.limits import RELEASE_AGAIN_S, RELEASE_REFUSALS_KEPT_MAX
from streams.policy.policy import Policy
from streams.sealing.key_rows import Release
from streams.sealing.key_store import KeyStore


class NotReleasedError(InputError):
    """The policy gives a principal no keys for a purpose."""


def release(store: KeyStore, policy: Policy, sink: str, principal: str, now_ns: int) -> Release:
    """Let a part of Sightline have keys for the purpose of a sink; recorded whether or not it is permitted.

    NotReleasedError if the policy has no such sink: then there is no purpose to have keys for.
    """
    made = _judged(policy, sink, principal, now_ns, "" if sink in policy.sinks else f"no sink {sink}")
    store.record(made)
    if made.verdict != "allow":
        raise NotReleasedError(_refusal(policy, made, sink))
    return made


class Releases:
    """Lets other programs have keys, while the policy in force names them in `keys_for` of the sink.

    A program asks again and again, for no key is held for long. A release is written down when it begins,
    whenever the policy or the verdict changes, and again after RELEASE_AGAIN_S.
    """

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self._latest = dict[tuple[str, str], Release]()

    def ask(self, policy: Policy, sink: str, principal: str, now_ns: int) -> Release:
        """A release to a principal for the purpose of a sink; NotReleasedError if it is not permitted."""
        declared = policy.sinks.get(sink)
        rule = (
            f"no sink {sink}"
            if declared is None
            else ""
            if principal in declared.keys_for
            else f"sinks.{sink}: keys_for does not name {principal}"
        )
        made = _judged(policy, sink, principal, now_ns, rule)
        before = self._latest.get((sink, principal))
        again = before is None or before._replace(at_ns=now_ns) != made
        if again or (before is not None and now_ns - before.at_ns >= RELEASE_AGAIN_S * 1e9):
            # On disk before any key is handed out.
            self._store.record(made)
            if len(self._latest) >= RELEASE_REFUSALS_KEPT_MAX:
                # Somebody asks for sinks that he invents.
                self._latest.clear()
            self._latest[sink, principal] = made
        if made.verdict != "allow":
            raise NotReleasedError(_refusal(policy, made, sink))
        return made


def _judged(policy: Policy, sink: str, principal: str, now_ns: int, rule: str) -> Release:
    """The release as it is recorded; `rule` is why it is refused, empty if it is not."""
    declared = policy.sinks.get(sink)
    purpose = "" if declared is None else declared.purpose
    verdict = "deny" if rule else "allow"
    return Release(now_ns, principal, purpose, policy.version, verdict, rule or f"sinks.{sink}")


def _refusal(policy: Policy, made: Release, sink: str) -> str:
    """Why nothing is opened."""
    who = f"{made.principal}: the policy {policy.name} {policy.version}"
    if sink not in policy.sinks:
        return f"{who} has no sink {sink}, and so no purpose to have keys for; nothing is opened"
    return (
        f"{who} does not name it in keys_for of the sink {sink}, expected all who may have keys for"
        f" {made.purpose}; nothing is opened. Who answers for the policy adds it there"
    )
