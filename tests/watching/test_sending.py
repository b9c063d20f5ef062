"""Alerts by POST: one after the other, and never in the way, whatever the target does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import orjson
import pytest

from streams import limits
from streams.errors import InputError
from streams.watching.alert import Alert, Change
from streams.watching.sending import Sender, Target

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def change(number: int) -> Change:
    """An alert about a device."""
    alert = Alert(
        rule="device-stopped",
        about={"device": f"g{number}"},
        since="2026-11-29T09:00:00Z",
        epoch=7,
        says="nothing came",
        evidence=(f"g{number}/imu-right/1",),
        events=0,
        advice="look",
        ask="sightline ask missing",
    )
    return Change("begins", "2026-11-29T09:01:00Z", alert)


@asynccontextmanager
async def target(serve: Serve) -> AsyncIterator[Target]:
    """Something that listens on this machine."""
    tasks = set[asyncio.Task[None]]()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(asyncio.CancelledError, OSError):
                await serve(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    try:
        yield Target.of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/in?x=1", remote=False)
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def request(reader: asyncio.StreamReader) -> tuple[list[str], bytes]:
    """Head and body of a request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    length = next(int(line.split()[1]) for line in head if line.startswith("Content-Length"))
    return head, await reader.readexactly(length)


def test_each_change_is_one_post_in_order() -> None:
    taken: list[tuple[list[str], object]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, body = await request(reader)
        taken.append((head, orjson.loads(body)))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async def day() -> Sender:
        async with target(serve) as to:
            sender = Sender(to)
            async with sender.running():
                for number in range(3):
                    sender.put(change(number))
            return sender

    sender = asyncio.run(day())
    assert (sender.sent, sender.lost) == (3, 0)
    assert [body for _, body in taken] == [
        orjson.loads(orjson.dumps(change(number).to_dict())) for number in range(3)
    ]
    head = taken[0][0]
    assert head[0] == "POST /in?x=1 HTTP/1.1"
    assert "Content-Type: application/json" in head
    assert any(line.startswith("Host: 127.0.0.1:") for line in head)


async def _hangs(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def _drips(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for byte in b"HTTP/1.1 200 OK" * 1000:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.01)


async def _goes(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    pass


async def _refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n")


async def _babbles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    writer.write(b"x" * 100_000 + b"\n")


async def _is_not_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    writer.write(b"220 mail.example ESMTP\r\n")


@pytest.mark.parametrize("serve", [_hangs, _drips, _goes, _refuses, _babbles, _is_not_http])
def test_a_target_that_does_not_take_them_is_counted_and_said_once(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "POST_WAIT_S", 0.3)

    async def day() -> Sender:
        async with target(serve) as to:
            sender = Sender(to)
            async with asyncio.timeout(30), sender.running():
                for number in range(2):
                    sender.put(change(number))
                await sender.drained()
            return sender

    with caplog.at_level(logging.WARNING):
        sender = asyncio.run(day())
    assert (sender.sent, sender.lost) == (0, 2)
    said = [record.getMessage() for record in caplog.records if "not taken" in record.getMessage()]
    assert len(said) == 1
    assert "g0" not in caplog.text, "a log names no device"


def test_nobody_listens_and_then_somebody_does(caplog: pytest.LogCaptureFixture) -> None:
    async def takes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.close()

    async def day() -> Sender:
        async with target(takes) as to:
            pass
        sender = Sender(to)
        async with sender.running():
            sender.put(change(0))
            await sender.drained()
            server = await asyncio.start_server(takes, "127.0.0.1", to.port)
            sender.put(change(1))
            await sender.drained()
            server.close()
            await server.wait_closed()
        return sender

    with caplog.at_level(logging.WARNING):
        sender = asyncio.run(day())
    assert (sender.sent, sender.lost) == (1, 1)
    assert "taken by 127.0.0.1" in caplog.text


def test_what_is_more_than_the_queue_holds_is_dropped_without_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "POST_QUEUE_MAX", 4)
    monkeypatch.setattr(limits, "POST_WAIT_S", 0.2)

    async def day() -> Sender:
        async with target(_hangs) as to:
            sender = Sender(to)
            async with sender.running():
                for number in range(10):
                    # The loop is not given back in between: putting never waits.
                    sender.put(change(number))
                assert sender.lost == 6
            return sender

    sender = asyncio.run(day())
    assert (sender.sent, sender.lost) == (0, 10)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/",
        "http://",
        "127.0.0.1:9",
        "http://user:secret@127.0.0.1/",
        "http://127.0.0.1:x/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/a\r\nX: y",
        "",
    ],
)
def test_a_wrong_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InputError, match="--post: found another address") as refused:
        Target.of(url, remote=True)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "alerts.example", "0.0.0.0", "[2001:db8::1]", "127.0.0.1.example"]
)
def test_another_machine_needs_the_word(host: str) -> None:
    with pytest.raises(InputError, match="--allow-remote"):
        Target.of(f"http://{host}/", remote=False)
    assert Target.of(f"http://{host}:81/", remote=True).port == 81


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "[::1]", "localhost", "LOCALHOST"])
def test_this_machine_does_not(host: str) -> None:
    assert Target.of(f"https://{host}/", remote=False).port == 443


def test_another_machine_is_told_nothing_of_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies: list[bytes] = []

    async def posts(_self: Sender, body: bytes) -> None:
        bodies.append(body)

    monkeypatch.setattr(Sender, "_post", posts)

    async def day(url: str) -> None:
        sender = Sender(Target.of(url, remote=True))
        async with sender.running():
            sender.put(change(7))

    asyncio.run(day("http://192.0.2.1/"))
    asyncio.run(day("http://127.0.0.1/"))
    away, here = bodies
    assert b"g7" not in away
    assert b"g7/imu-right/1" in here
    told = orjson.loads(away)
    assert (told["state"], told["rule"], told["epoch"]) == ("begins", "device-stopped", 7)
    assert told["says"].startswith("a device sends nothing")


def test_a_name_that_leads_elsewhere_is_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    async def day() -> Sender:
        async def lies(*_args: object, **_more: object) -> list[object]:
            return [(2, 1, 6, "", ("192.0.2.1", 80))]

        async def connects(*_args: object, **_more: object) -> None:
            pytest.fail("it connected")

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lies)
        monkeypatch.setattr(asyncio, "open_connection", connects)
        sender = Sender(Target.of("http://localhost/", remote=False))
        async with sender.running():
            sender.put(change(0))
            await sender.drained()
        return sender

    assert asyncio.run(day()).lost == 1
