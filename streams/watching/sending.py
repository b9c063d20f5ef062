"""Send alerts to an address of HTTP, as JSON, beside the watching and never in its way."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
from collections.abc import AsyncIterator

import orjson
from msgspec import Struct

from streams import limits
from streams.errors import InputError
from streams.urls import http_parts
from streams.watching.alert import Change
from streams.watching.rules import RULES

log = logging.getLogger(__name__)
_LINE_BYTES_MAX = 256
_STANDS = {rule.name: rule.stands for rule in RULES}


class Target(Struct, frozen=True):
    """Where alerts are sent; `remote` says whether it may be another machine."""

    host: str
    port: int
    path: str
    encrypted: bool
    remote: bool

    @classmethod
    def of(cls, url: str, *, remote: bool) -> Target:
        """Parse an address; InputError if it is none, or leads off this machine without `remote`."""
        parts = http_parts(url)
        if parts is None:
            raise InputError(
                "--post: found another address, expected one such as http://127.0.0.1:9999/alerts, without a "
                "name or password in it"
            )
        host = parts.hostname or ""
        if not remote and not _may_be_loopback(host):
            raise InputError(
                f"--post: found the host {host}, expected one of this machine (127.0.0.1, ::1, localhost), "
                "because alerts say who was in which zone; --allow-remote sends them elsewhere all the same"
            )
        encrypted = parts.scheme == "https"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        is_here = _may_be_loopback(host)
        return cls(host, parts.port or (443 if encrypted else 80), path, encrypted, not is_here)


def _may_be_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Sender:
    """Sends each change by a POST of its own, one after the other.

    Delivery: at most once. A change that is not taken within POST_WAIT_S is given up, and one that comes
    while POST_QUEUE_MAX wait is dropped; both are counted in `lost`, and said when sending begins to fail and
    when it works again. Redirections are not followed.

    Another machine is only told which rule stands, since when and for how many events: ids, zones, devices
    and wearers stay here, because nothing decided whether they may leave.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._waiting: asyncio.Queue[Change] = asyncio.Queue(limits.POST_QUEUE_MAX)
        self._failing = False
        self._given = 0
        self.sent = 0
        self.lost = 0

    def put(self, change: Change) -> None:
        """Send a change later; never waits."""
        self._given += 1
        try:
            self._waiting.put_nowait(change)
        except asyncio.QueueFull:
            self._lose("more wait than are kept")

    async def drained(self) -> None:
        """Wait until everything that was put is sent or given up."""
        await self._waiting.join()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send in the background during the block; then give what still waits POST_WAIT_S in all."""
        sending = asyncio.create_task(self._run(), name="sender of alerts")
        try:
            yield
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.drained(), limits.POST_WAIT_S)
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending
            # What is on its way counts as lost too: whether it was taken is unknown.
            if left := self._given - self.sent - self.lost:
                self.lost += left
                log.warning("%d alerts were not sent before the end", left)

    async def _run(self) -> None:
        while True:
            change = await self._waiting.get()
            try:
                async with asyncio.timeout(limits.POST_WAIT_S):
                    await self._post(orjson.dumps(_bare(change) if self._target.remote else change.to_dict()))
            except TimeoutError:
                self._lose(f"no answer within {limits.POST_WAIT_S:g} s")
            except (OSError, _NotTakenError) as error:
                self._lose(str(error) if isinstance(error, _NotTakenError) else type(error).__name__)
            else:
                self.sent += 1
                if self._failing:
                    self._failing = False
                    log.warning("Alerts are taken by %s again; %d were lost so far", self._name, self.lost)
            finally:
                self._waiting.task_done()

    @property
    def _name(self) -> str:
        return f"{self._target.host}:{self._target.port}"

    def _lose(self, why: str) -> None:
        self.lost += 1
        if not self._failing:
            self._failing = True
            log.warning(
                "Alerts are not taken by %s: %s; they are counted and not sent again", self._name, why
            )

    async def _post(self, body: bytes) -> None:
        target = self._target
        reader, writer = await asyncio.open_connection(
            await self._address(),
            target.port,
            ssl=ssl.create_default_context() if target.encrypted else None,
            server_hostname=target.host if target.encrypted else None,
            limit=_LINE_BYTES_MAX,
        )
        try:
            name = f"[{target.host}]" if ":" in target.host else target.host
            head = (
                f"POST {target.path} HTTP/1.1\r\nHost: {name}:{target.port}\r\nUser-Agent: sightline\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode() + body)
            await writer.drain()
            words = (await reader.readline()).split(maxsplit=2)
        except ValueError:
            # The first line of the answer is longer than any of HTTP.
            words = []
        finally:
            # Nothing more is read or written, and closing politely could take as long as the target likes.
            writer.transport.abort()
        if len(words) < 2 or not words[0].startswith(b"HTTP/"):
            raise _NotTakenError("the answer is not of HTTP")
        if not words[1].startswith(b"2"):
            raise _NotTakenError(f"HTTP {words[1][:3].decode('ascii', 'replace')}")

    async def _address(self) -> str:
        """The address to connect to; of this machine, whatever a name service says, if it must be."""
        if self._target.remote:
            return self._target.host
        loop = asyncio.get_running_loop()
        answers = await loop.getaddrinfo(self._target.host, self._target.port, type=socket.SOCK_STREAM)
        addresses = [str(address[0]) for *_, address in answers]
        for address in addresses:
            if ipaddress.ip_address(address).is_loopback:
                return address
        raise _NotTakenError("its name does not lead to this machine")


def _bare(change: Change) -> dict[str, object]:
    """A change without anything that names somebody, or where somebody was."""
    alert = change.alert
    return {
        "state": change.state,
        "t": change.t,
        "rule": alert.rule,
        "since": alert.since,
        "epoch": alert.epoch,
        "events": alert.events,
        "says": _STANDS[alert.rule],
        "advice": alert.advice,
    }


class _NotTakenError(Exception):
    """The target answered, but did not take the alert; the message has words of ours only."""
