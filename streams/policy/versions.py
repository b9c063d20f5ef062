"""The policy versions that a worker knows, from `glasses.policies`, which it reads completely and follows.

`policy/current` points to the version in force. `policy/next` points to a version that is tried beside it
before a switch: it decides too, but only differences are recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import orjson

from streams import limits
from streams.errors import InputError, MalformedError, UnavailableError, called_off
from streams.events.digest import digest
from streams.events.record import Received, stamp_ns
from streams.policy.bounds import check_toml
from streams.policy.load import parse, version_of
from streams.policy.policy import Policy
from streams.topology import POLICIES

CURRENT_KEY, NEXT_KEY = b"policy/current", b"policy/next"


class Check(Protocol):
    """Checks a policy's text in a child process, where it can do no harm (`streams.worker.checking`)."""

    async def check(self, text: str) -> None:
        """MalformedError if the text is no policy, UnavailableError if that could not be checked."""


class Refusal(NamedTuple):
    """A record of `glasses.policies` that was refused, as table `rejected` keeps it.

    Its bytes are not copied.
    """

    offset: int
    key: bytes
    value_bytes: int
    digest: str
    reason: str
    appended_ns: int


@dataclass(frozen=True, slots=True)
class PolicyVersions:
    """The policy versions that are known at one moment; an immutable value.

    `current` is the version in force and `next` the one that is tried beside it; empty: there is none.
    `refused` are the last POLICY_REFUSALS_MAX records of `glasses.policies` that were refused.
    """

    versions: Mapping[str, Policy] = field(default_factory=dict)
    current: str = ""
    next: str = ""
    refused: tuple[Refusal, ...] = ()

    @classmethod
    def of(cls, *policies: Policy) -> PolicyVersions:
        """Make the value from these policies; the last is in force."""
        return cls({policy.version: policy for policy in policies}, policies[-1].version if policies else "")

    def version(self, version: str) -> Policy:
        """Policy by version; UnavailableError if this worker has not read it.

        The record that names the version is not at fault then.
        """
        if version not in self.versions:
            raise UnavailableError(
                f"policy version {version} is not on {POLICIES}; "
                "start the worker again, or look into what removed it"
            )
        return self.versions[version]


class PolicyTable:
    """`glasses.policies` as read so far; `now` is the resulting value.

    Each record replaces `now`; values from before stay unchanged. `offset` is that of the next record to
    read. `turned_down` counts refused texts whose key was their own digest: another version of Sightline may
    accept one of them as the policy in force.
    """

    def __init__(self, now: PolicyVersions | None = None) -> None:
        self.now = now or PolicyVersions()
        self.offset = 0
        self.turned_down = 0
        self._turn = asyncio.Lock()

    async def learn(self, record: Received, checker: Check) -> None:
        """Process one record of `glasses.policies`; a record that was processed before changes nothing.

        MalformedError if it is neither a policy nor a pointer to an earlier one.

        A refused record does not change the policy in force. If the call is cancelled, the record counts as
        not processed.
        """
        async with self._turn:
            if record.offset < self.offset:
                return
            try:
                await self._learn(record.key, record.value, checker)
            except called_off():
                raise
            except BaseException as error:  # noqa: BLE001  any error is caused by this record, and must not end the worker
                ours = isinstance(error, (MalformedError, UnavailableError))
                self._refuse(
                    record, str(error) if ours else f"policy: reading it fails ({type(error).__name__})"
                )
                raise MalformedError(self.now.refused[-1].reason) from None
            self.offset = record.offset + 1

    async def _learn(self, key: bytes | None, value: bytes | None, checker: Check) -> None:
        if key == CURRENT_KEY:
            self.now = replace(self.now, current=self._pointed(value))
        elif key == NEXT_KEY:
            self.now = replace(self.now, next=self._pointed(value) if value else "")
        else:
            version, text = _written(key, value)
            known = self.now.versions.get(version)
            if known is None:
                policy = await self._admitted(text, checker)
                self.now = replace(self.now, versions={**self.now.versions, version: policy})
            elif known.text != text:
                raise MalformedError("policy: found another text under a version that is known")

    async def _admitted(self, text: str, checker: Check) -> Policy:
        if len(self.now.versions) >= limits.POLICY_VERSIONS_MAX:
            raise MalformedError(
                f"policy: found more than {limits.POLICY_VERSIONS_MAX} versions, which is all that a worker"
                " knows; begin with other topics"
            )
        try:
            _check_bounds(text)
            await checker.check(text)
            # In a thread, because the largest policy would stop the event loop for a fifth of a second.
            return await asyncio.to_thread(parse, text, POLICIES, tried=True)
        except (MalformedError, UnavailableError, InputError) as error:
            self.turned_down += 1
            if isinstance(error, InputError):
                raise MalformedError("policy: its text is one for the child that checks it alone") from None
            raise

    def _pointed(self, value: bytes | None) -> str:
        version = _field(value, "version")
        if version not in self.now.versions:
            raise MalformedError("pointer: found a version that is not there, expected one written before")
        return version

    def _refuse(self, record: Received, reason: str) -> None:
        value = record.value or b""
        key = (record.key or b"")[: limits.KEY_BYTES_MAX]
        self.offset = record.offset + 1
        refusal = Refusal(record.offset, key, len(value), digest(value), reason, stamp_ns(record))
        self.now = replace(self.now, refused=(*self.now.refused, refusal)[-limits.POLICY_REFUSALS_MAX :])


def record_of(policy: Policy) -> tuple[bytes, bytes]:
    """Key and value of a policy on `glasses.policies`."""
    return (
        f"policy/{policy.version}".encode(),
        orjson.dumps({"v": 1, "version": policy.version, "name": policy.name, "text": policy.text}),
    )


def pointer_to(policy: Policy) -> bytes:
    """Value of a pointer to a policy."""
    return orjson.dumps({"version": policy.version})


def _written(key: bytes | None, value: bytes | None) -> tuple[str, str]:
    """Version and text of a policy's record; MalformedError if version or key is not the text's digest."""
    version, text = _field(value, "version"), _field(value, "text")
    if not version == version_of(text) == (key or b"").decode(errors="replace").removeprefix("policy/"):
        raise MalformedError(
            "version: disagrees with the text or the key, expected the digest of the text in both"
        )
    return version, text


def _check_bounds(text: str) -> None:
    """MalformedError if a text is larger or nested more deeply than a policy may be."""
    if len(text.encode()) > limits.POLICY_BYTES_MAX:
        raise MalformedError(f"policy: found more than {limits.POLICY_BYTES_MAX} bytes, expected fewer")
    check_toml(text)


def _field(value: bytes | None, name: str) -> str:
    try:
        text = orjson.loads(value or b"")[name]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        text = None
    if type(text) is not str:
        raise MalformedError(f"{name}: found none, expected a JSON object with this text")
    return text
