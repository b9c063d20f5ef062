"""The policy versions that a worker knows: what `glasses.policies` holds, read whole and followed.

`policy/current` points to the one in force, `policy/next` to one that decides beside it before anybody
switches.
"""

from __future__ import annotations

import orjson

from streams.errors import InputError, MalformedError, UnavailableError
from streams.policy.load import parse
from streams.policy.policy import Policy
from streams.topology import POLICIES

CURRENT_KEY, NEXT_KEY = b"policy/current", b"policy/next"


class Policies:
    """The policy versions a worker knows, the one in force and the next; filled from `glasses.policies`."""

    def __init__(self, *known: Policy) -> None:
        self.versions: dict[str, Policy] = {policy.version: policy for policy in known}
        self.current = known[-1].version if known else ""
        self.next = ""

    def version(self, version: str) -> Policy:
        """Policy by version; UnavailableError when this worker has not read it.

        No record is to blame for that.
        """
        if version not in self.versions:
            raise UnavailableError(
                f"policy version {version} is not on {POLICIES}; "
                "start the worker again, or look into what removed it"
            )
        return self.versions[version]

    def zones(self) -> set[str]:
        """Names of the zones of all versions."""
        return {zone.name for policy in self.versions.values() for zone in policy.zones}

    def learn(self, key: bytes | None, value: bytes | None) -> None:
        """Take in one record of `glasses.policies`.

        MalformedError when it is neither a policy nor a pointer to one before it.

        Whatever is refused, what is in force stays in force.
        """
        if key == CURRENT_KEY:
            self.current = self._pointed(value)
        elif key == NEXT_KEY:
            self.next = self._pointed(value) if value else ""
        else:
            policy = _policy(key, value)
            self.versions[policy.version] = policy

    def _pointed(self, value: bytes | None) -> str:
        version = _field(value, "version")
        if version not in self.versions:
            raise MalformedError("pointer: found a version that is not there, expected one written before")
        return version


def record_of(policy: Policy) -> tuple[bytes, bytes]:
    """Key and value of a policy on `glasses.policies`."""
    return (
        f"policy/{policy.version}".encode(),
        orjson.dumps({"v": 1, "version": policy.version, "name": policy.name, "text": policy.text}),
    )


def pointer_to(policy: Policy) -> bytes:
    """Value of a pointer to a policy."""
    return orjson.dumps({"version": policy.version})


def _policy(key: bytes | None, value: bytes | None) -> Policy:
    try:
        policy = parse(_field(value, "text"), POLICIES)
    except InputError:
        # Its sentence names a word of the text, which anybody could have written.
        raise MalformedError("policy: its text is no policy; `sightline policy check` says why") from None
    if (
        not _field(value, "version")
        == policy.version
        == (key or b"").decode(errors="replace").removeprefix("policy/")
    ):
        raise MalformedError(
            "version: disagrees with the text or the key, expected the digest of the text in both"
        )
    return policy


def _field(value: bytes | None, name: str) -> str:
    try:
        found = orjson.loads(value or b"")[name]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        found = None
    if type(found) is not str:
        raise MalformedError(f"{name}: found none, expected a JSON object with this text")
    return found
