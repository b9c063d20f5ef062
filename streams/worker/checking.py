"""Trying out a policy that came from outside in a child process, where it can do no harm.

The child has bounded time and memory; a text that ends the child is refused, and nothing else is.
"""

from __future__ import annotations

from streams import limits
from streams.errors import InputError, MalformedError, UnavailableError, called_off
from streams.policy.load import parse
from streams.worker.child import Child

#: The system can end a child for want of memory, so a text has a second attempt.
_TRIES = 2


class Checker:
    """Checks policy texts one after another, in a child process of its own.

    `loaded` are texts that this process has loaded itself, from files that it was given: they are not checked
    again.
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
            It is none; which word of it is wrong is not said.
        UnavailableError
            The child ended twice over it, or had no answer in POLICY_CHECK_S_MAX.
        """
        if text in self._loaded:
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

    def close(self) -> None:
        """End the child."""
        self._child.close()


def against(text: str) -> str:
    """Run in the child: what is to be said against a text as a policy; empty when nothing is."""
    try:
        parse(text, "a policy")
    except InputError:
        # Its sentence names a word of the text, which anybody could have written.
        return "policy: its text is no policy; `sightline policy check` says why"
    except called_off():
        raise
    except BaseException as error:  # noqa: BLE001  a panic of the CEL library is no Exception
        return f"policy: checking its text fails ({type(error).__name__}), expected a policy"
    return ""
