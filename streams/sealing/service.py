"""The key service: other programs of this machine ask for keys over HTTP, by principal and purpose.

`POST /keys` is all there is. Who asks proves by a token which principal it is, the policy in force decides,
the release is on disk before a key leaves, and every answer is asked from the key store anew: a key that was
destroyed is in no answer from then on.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping

from msgspec import DecodeError, Struct, ValidationError, json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streams import clock
from streams.errors import SightlineError, called_off
from streams.limits import KEYS_ASKED_MAX, KEYS_REQUEST_BYTES_MAX
from streams.policy.policy import Policy
from streams.sealing.asked import PATH, Answered, AnsweredKey, Asked, Refusal, name_of
from streams.sealing.key_store import KeyStore
from streams.sealing.release import NotReleasedError, Releases

log = logging.getLogger(__name__)

#: The policy in force now; a SightlineError if that is not known.
InForce = Callable[[], Awaitable[Policy]]


class _RefusedError(Exception):
    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class _Service:
    def __init__(self, store: KeyStore, tokens: Mapping[str, str], in_force: InForce) -> None:
        self._store, self._tokens, self._in_force = store, tokens, in_force
        self._releases = Releases(store)

    async def keys(self, request: Request) -> Response:
        """Answer one request; nothing of it is logged."""
        try:
            principal = self._principal(request.headers.get("authorization", ""))
            asked = await _asked(request, principal)
            policy = await self._in_force()
            answered = await asyncio.to_thread(self._answered, policy, asked)
        except _RefusedError as error:
            return _json(error.status, Refusal(str(error)))
        except NotReleasedError as error:
            return _json(403, Refusal(str(error)))
        except SightlineError as error:
            return _json(503, Refusal(str(error)))
        except BaseException as error:
            if isinstance(error, called_off()):
                raise
            # Foreign exceptions quote what they choke on, so neither log nor answer repeats one.
            log.error("a request for keys failed: %s", type(error).__name__)  # noqa: TRY400
            return _json(500, Refusal("the request failed, which is a fault of Sightline"))
        return _json(200, answered)

    def _principal(self, authorization: str) -> str:
        scheme, _, token = authorization.partition(" ")
        # Each is compared, whichever fits, so that the time tells nothing.
        known = [
            principal
            for principal, own in self._tokens.items()
            if hmac.compare_digest(own.encode(), token.encode("utf-8", "surrogateescape"))
        ]
        if scheme.lower() != "bearer" or not known:
            raise _RefusedError(401, "found no token that is known here, expected that of the principal")
        return known[0]

    def _answered(self, policy: Policy, asked: Asked) -> Answered:
        made = self._releases.ask(policy, asked.sink, asked.principal, clock.now_ns())
        names = [name_of(each) for each in asked.keys]
        kept = self._store.find(names)
        return Answered(
            policy.version,
            made.purpose,
            [
                AnsweredKey(text, kept[name].state, kept[name].key.hex(), kept[name].destroyed_ns)
                for text, name in zip(asked.keys, names, strict=True)
            ],
        )


async def _asked(request: Request, principal: str) -> Asked:
    """What a request asks for; _RefusedError if it asks for somebody else."""
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > KEYS_REQUEST_BYTES_MAX:
            raise _RefusedError(413, f"found more than {KEYS_REQUEST_BYTES_MAX} bytes, expected fewer")
    try:
        asked = json.decode(bytes(content), type=Asked)
    except (DecodeError, ValidationError):
        raise _RefusedError(
            400,
            f"found another body, expected JSON: principal, sink, and at most {KEYS_ASKED_MAX} keys, each the"
            " bytes 1 to 24 of a sealed value in hexadecimal",
        ) from None
    if asked.principal != principal:
        raise _RefusedError(403, "principal: the token is of another one; nothing is handed out")
    return asked


def _json(status: int, content: Struct) -> Response:
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    return Response(json.encode(content), status, headers, media_type="application/json")


async def _http(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _json(status, Refusal(f"found another request, expected POST {PATH}"))


def application(store: KeyStore, tokens: Mapping[str, str], in_force: InForce) -> Starlette:
    """The key service as an ASGI application; `tokens` has the token of each principal."""
    made = Starlette(
        routes=[Route(PATH, _Service(store, tokens, in_force).keys, methods=["POST"])],
        exception_handlers={HTTPException: _http},
    )
    made.router.redirect_slashes = False
    return made
