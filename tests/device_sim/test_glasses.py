"""Glasses of others: numbers without a hole, nothing under a consent too early, and what is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from device_sim import gateway
from device_sim.files import Journal
from device_sim.glasses import QUIET_HOME, Glasses
from streams import clock
from streams.errors import InputError, UnavailableError
from streams.events import journal
from tests.device_sim.play import Kafka, batches, kafka, under_consent_too_early

SERVICE = "dpv:RequestedServiceProvision"
LOUD: dict[str, list[Any]] = {"rms_dbfs": [-30.0, -31], "peak_dbfs": [-20.0, -20.5], "voiced": [True, False]}


def glasses(directory: Path, **changes: Any) -> Glasses:
    return Glasses("nobody:1", "g7", "w7", directory, **changes)


async def test_numbers_go_on_where_the_journal_ends(tmp_path: Path, links: list[Kafka]) -> None:
    for _ in range(2):
        async with glasses(tmp_path) as worn:
            await worn.send("audio_level", LOUD, dt_ns=5_000_000)
            await worn.send("audio_level", LOUD, stream="audio-left")
            await worn.send("audio_level", LOUD)
    sent = batches(tmp_path / "g7.jsonl")
    for stream in ("audio-level", "audio-left"):
        numbers = [number for batch in sent if batch.stream == stream for number in batch.run]
        assert numbers == list(range(len(numbers)))
        times = [
            batch.time_ns(index)
            for batch in sent
            if batch.stream == stream
            for index in range(batch.run.count)
        ]
        assert times == sorted(times)
    assert [batch.session_id for batch in sent] == ["s1"] * 3 + ["s2"] * 3
    assert [each.id for link in links for each in link.sent] == [batch.first_id for batch in sent]
    assert {batch.origin for batch in sent} == {"live"}


async def test_sends_at_once_take_different_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def room(_: gateway.Gateway) -> None:
        await asyncio.sleep(0)

    kafka(monkeypatch)
    monkeypatch.setattr(gateway.Gateway, "room", room)
    async with glasses(tmp_path) as worn:
        await asyncio.gather(*(worn.send("audio_level", LOUD) for _ in range(5)))
    assert [batch.run.first for batch in batches(tmp_path / "g7.jsonl")] == [0, 2, 4, 6, 8]


async def test_events_name_the_newest_consent_and_leave_behind_it(tmp_path: Path, links: list[Kafka]) -> None:
    async with glasses(tmp_path) as worn:
        await worn.send("audio_level", LOUD)
        given = await worn.give(SERVICE)
        await worn.send("audio_level", LOUD)
        assert [each.id for each in links[0].sent] == ["g7/audio-level/0", "g7/consent-change/0"]
        await worn.flush()
        await worn.give()
        await worn.send("audio_level", LOUD)
    sent = batches(tmp_path / "g7.jsonl")
    assert [batch.consent for batch in sent] == [0, 0, 1, 1, 0]
    assert given.columns["status"] == ["dpv:ConsentGiven"]
    assert (sent[3].columns["consent"], sent[3].columns["status"]) == ([2], ["dpv:ConsentWithdrawn"])
    assert not under_consent_too_early(tmp_path / "g7.jsonl")
    async with glasses(tmp_path) as worn:
        assert worn.consent.number == 2, "the journal knows what was said"


async def test_what_surrounds_the_wearer_is_said_and_its_consent_is_the_devices(
    tmp_path: Path, links: list[Kafka]
) -> None:
    street = replace(QUIET_HOME, place="street", people_near="strangers", consent=9)
    async with glasses(tmp_path, context=street) as worn:
        await worn.send("audio_level", LOUD)
        worn.around(QUIET_HOME)
        await worn.send("audio_level", LOUD)
    contexts = [batch.context for batch in batches(tmp_path / "g7.jsonl")]
    assert contexts == [replace(street, consent=0), QUIET_HOME]


@pytest.mark.parametrize(
    ("kind", "columns", "why"),
    [
        ("nothing", LOUD, "kind"),
        ("audio_level", {**LOUD, "voiced": [True]}, "voiced"),
        ("audio_level", {"rms_dbfs": [1.0]}, "columns"),
        ("audio_level", {**LOUD, "voiced": ["my secret", "x"]}, "voiced"),
        ("audio_level", {**LOUD, "rms_dbfs": [{1}, {2}]}, "no form for"),
        ("audio_level", {}, "columns"),
        ("audio_level", {name: [] for name in LOUD}, "rms_dbfs"),
        ("consent_change", {}, "found consent_change"),
    ],
)
async def test_what_the_pipeline_would_refuse_is_a_sentence_and_uses_no_number(
    tmp_path: Path, links: list[Kafka], kind: str, columns: dict[str, list[Any]], why: str
) -> None:
    async with glasses(tmp_path) as worn:
        with pytest.raises(InputError, match=why) as refused:
            await worn.send(kind, columns)
        assert "secret" not in str(refused.value)
        sent = await worn.send("audio_level", LOUD)
        with pytest.raises(InputError, match="t0_ns: found a time before the end of what audio-level of g7"):
            await worn.send("audio_level", LOUD, t0_ns=sent.last_ns)
    assert [each.id for each in links[0].sent] == ["g7/audio-level/0"]


async def test_a_capture_time_may_be_said_and_by_default_the_last_event_is_now(
    tmp_path: Path, links: list[Kafka], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now_ns", lambda: 10**18)
    async with glasses(tmp_path) as worn:
        assert (await worn.send("audio_level", LOUD, dt_ns=5)).last_ns == 10**18
        assert (await worn.send("audio_level", LOUD, t0_ns=2 * 10**18, dt_ns=5)).t0_ns == 2 * 10**18
        assert (await worn.send("audio_level", LOUD)).t0_ns > 2 * 10**18, "the clock ran back"
        with pytest.raises(InputError, match="expires_ns: found a time that is past"):
            await worn.give(SERVICE, expires_ns=10**18)


async def test_what_is_not_acknowledged_is_said_and_sent_first_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def send_twice() -> None:
        async with glasses(tmp_path) as worn:
            await worn.send("audio_level", LOUD)
            await worn.send("audio_level", LOUD)

    kafka(monkeypatch, takes=lambda sent: False)
    with pytest.raises(UnavailableError, match=r"did not acknowledge everything that g7 sent .* \(2\) is in"):
        await send_twice()
    Journal(tmp_path, "g7").close()
    links = kafka(monkeypatch)
    async with glasses(tmp_path) as worn:
        await worn.send("audio_level", LOUD)
    assert [each.id for each in links[0].sent] == [f"g7/audio-level/{number}" for number in (0, 2, 4)]
    assert [each.id for each in journal.sent(tmp_path / "g7.jsonl")] == [each.id for each in links[0].sent]


async def test_answers_to_this_device_are_heard(tmp_path: Path, links: list[Kafka]) -> None:
    heard: list[tuple[int, str]] = []
    async with glasses(tmp_path, on_answer=lambda number, intent: heard.append((number, intent))) as worn:
        for device, stream in (("g7", "answer"), ("g8", "answer"), ("g7", "answer~2"), ("g7", "situation")):
            columns = {"intent": ["x", "y"]}
            said = {"device_id": device, "stream": stream, "first": 3, "n": 2, "columns": columns}
            worn._heard(orjson.dumps(said))
    assert heard == [(3, "x"), (4, "y")]


@pytest.mark.parametrize("names", [("G7", "w7"), ("g7", ""), ("g 7", "w7")])
def test_a_name_that_is_none_is_refused_before_anything_is_made(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    with pytest.raises(InputError, match="found no name; expected lower-case"):
        Glasses("nobody:1", *names, tmp_path / "journal")
    assert not list(tmp_path.iterdir())


async def test_an_error_inside_lets_go_and_is_raised_as_it_is(tmp_path: Path, links: list[Kafka]) -> None:
    with pytest.raises(RuntimeError, match="mine"):
        async with glasses(tmp_path):
            raise RuntimeError("mine")
    Journal(tmp_path, "g7").close()
