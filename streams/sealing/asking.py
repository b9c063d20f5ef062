"""The client of a key service: a program without the key store asks what is known of keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from msgspec import DecodeError, ValidationError, json

from streams.errors import InputError, UnavailableError, reason
from streams.limits import KEY_SERVICE_WAIT_S, KEYS_ASKED_MAX, KEYS_REQUEST_BYTES_MAX
from streams.listening import LOOPBACK
from streams.sealing.asked import PATH, Answered, Asked, Refusal, check_principal, name_of, name_text
from streams.sealing.key_store import Kept
from streams.sealing.release import NotReleasedError
from streams.sealing.sealed import KeyName
from streams.sealing.tokens import read_token
from streams.urls import http_parts

_ANSWER_BYTES_MAX = 8 * KEYS_REQUEST_BYTES_MAX


class _NoRedirection(HTTPRedirectHandler):
    """A token is sent to the address that was named, and to no other one."""

    def redirect_request(self, *_arguments: Any) -> None:
        """Follow nothing."""


class KeyService:
    """What a key service says of keys, to one principal and for the purpose of one sink.

    It keeps nothing: `streams.sealing.keys.Opening` holds a key for a moment. The token is read from its file
    for each request, so it is renewed by replacing the file.

    Raises
    ------
    InputError
        The address or the principal is none, or the address would send keys over a network unencrypted.
    """

    def __init__(self, url: str, principal: str, sink: str, token_file: Path) -> None:
        parts = http_parts(url)
        if parts is None or (parts.scheme == "http" and parts.hostname not in LOOPBACK):
            raise InputError(
                "key service: found another address, expected http://127.0.0.1:PORT on this machine, or one "
                "with https, because keys travel on it"
            )
        check_principal(principal)
        self._url, self._token_file = url.rstrip("/") + PATH, token_file
        self._principal, self._sink = principal, sink
        # No proxy is asked, whatever the environment says.
        self._opener = build_opener(ProxyHandler({}), _NoRedirection)

    def find(self, names: Collection[KeyName]) -> Mapping[KeyName, Kept]:
        """What is known of keys, as `KeyStore.find` says it.

        NotReleasedError if the service or the policy refuses this principal or sink; UnavailableError if the
        service does not answer, or its key store lost one of the keys: then nothing is taken for erased.
        """
        wanted, known = list(names), dict[KeyName, Kept]()
        for begin in range(0, len(wanted), KEYS_ASKED_MAX):
            some = wanted[begin : begin + KEYS_ASKED_MAX]
            answered = self._ask(Asked(self._principal, self._sink, [name_text(name) for name in some]))
            if [name_of(each.name) for each in answered.keys] != some:
                raise self._odd()
            known |= {
                name: Kept(each.state, bytes.fromhex(each.key), each.destroyed_ns)
                for name, each in zip(some, answered.keys, strict=True)
            }
        return known

    def _ask(self, asked: Asked) -> Answered:
        headers = {
            "authorization": f"Bearer {read_token(self._token_file)}",
            "content-type": "application/json",
        }
        request = Request(self._url, json.encode(asked), headers)  # noqa: S310 - http and https alone
        try:
            with self._opener.open(request, timeout=KEY_SERVICE_WAIT_S) as response:
                content = response.read(_ANSWER_BYTES_MAX)
        except HTTPError as error:
            with error:
                raise self._refused(error.code, error.read(_ANSWER_BYTES_MAX)) from None
        except OSError as error:
            raise UnavailableError(
                f"key service {self._url}: it does not answer ({reason(error)}); nothing is opened without it"
            ) from None
        try:
            return json.decode(content, type=Answered)
        except (DecodeError, ValidationError):
            raise self._odd() from None

    def _refused(self, status: int, content: bytes) -> NotReleasedError | UnavailableError:
        try:
            says = json.decode(content, type=Refusal).error
        except (DecodeError, ValidationError):
            return self._odd()
        kind = UnavailableError if status >= 500 else NotReleasedError
        return kind(f"key service {self._url}: {says}")

    def _odd(self) -> UnavailableError:
        return UnavailableError(
            f"key service {self._url}: found another answer, expected that of `sightline keys serve`;"
            " nothing is opened"
        )
