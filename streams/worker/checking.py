"""Check policies from a topic in a child process with bounded time and memory.

A text on which the child process fails is refused; the worker is not affected.
"""

from __future__ import annotations

import hashlib

from streams import limits
from streams.errors import InputError, MalformedError, UnavailableError, called_off
from streams.policy.load import parse
from streams.worker.child import Child

#: A text gets a second attempt, because the system may have ended the child for lack of memory.
_TRIES = 2
#: Digests of texts that passed in this process, because a command reads the same policies again and again.
_passed = set[bytes]()


class Checker:
    """Checks policy texts one after another, in a child process of its own.

    `loaded` are texts that this process loaded itself from files; they are not checked again, nor is a text
    that any of its checkers passed.
    """

    def __init__(self, *loaded: str) -> None:
        self._loaded = frozenset(loaded)
        self._child = Child(
            "checks policies",
            wait_s=limits.POLICY_CHECK_S_MAX,
            address_bytes=limits.POLICY_CHECK_BYTES_MAX,
        )

    async def check(self, text: str) -> None:
        """Check the text of a policy.

        Raises
        ------
        MalformedError
            The text is no policy. The message does not quote it.
        UnavailableError
            The child ended twice on the text, or did not answer within POLICY_CHECK_S_MAX.
        """
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        if text in self._loaded or digest in _passed:
            return
        for tries in range(1, _TRIES + 1):
            try:
                reason = await self._child.run(against, text)
            except UnavailableError:
                if tries == _TRIES:
                    raise
            else:
                break
        if reason:
            raise MalformedError(reason)
        if len(_passed) >= limits.POLICY_VERSIONS_MAX:
            _passed.clear()
        _passed.add(digest)

    def close(self) -> None:
        """End the child."""
        self._child.close()


def against(text: str) -> str:
    """Return the reason why a text is no valid policy, empty if it is one; runs in the child process."""
    try:
        parse(text, "a policy")
    except InputError:
        # The error's message quotes the text, which is untrusted.
        return "policy: its text is no policy; `sightline policy check` says why"
    except called_off():
        raise
    except BaseException as error:  # noqa: BLE001  a panic of the CEL library is no Exception
        return f"policy: checking its text fails ({type(error).__name__}), expected a policy"
    return ""
