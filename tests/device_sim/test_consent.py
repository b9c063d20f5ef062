"""`device-sim consent`: the record that a wearer's word makes, how runs go on behind it, what is refused."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from device_sim import consent
from device_sim.__main__ import main
from device_sim.files import Journal
from streams import clock
from streams.events import journal
from streams.events.batch import Batch
from streams.events.journal import Sent
from streams.events.record import StoredRecord
from streams.topology import CAPTURED
from tests.device_sim.play import Kafka, batches, forget_acknowledgements, kafka, play

SERVICE, PERSONAL, TRAINING = consent.PURPOSES


def say(directory: Path, act: str, *arguments: str, wearer: str = "w1") -> Result:
    return CliRunner().invoke(
        main, ["consent", act, "--wearer", wearer, "--journal", str(directory), "--json", *arguments]
    )


def last(directory: Path, device: str = "g1") -> Batch:
    return batches(directory / f"{device}.jsonl")[-1]


def test_a_wearer_narrows_withdraws_and_gives_again(tmp_path: Path, links: list[Kafka]) -> None:
    play(tmp_path, duration_s=4.0)
    before = batches(tmp_path / "g1.jsonl")
    result = say(tmp_path, "narrow", "--purposes", SERVICE)
    assert (result.exit_code, orjson.loads(result.stdout)) == (
        0,
        {
            "event": "g1/consent-change/1",
            "wearer": "w1",
            "consent": 2,
            "status": "dpv:ConsentGiven",
            "purposes": SERVICE,
            "expires_ns": None,
        },
    ), result.output
    narrowed = last(tmp_path)
    assert links[-1].sent == list(journal.sent(tmp_path / "g1.jsonl"))[-1:]
    assert narrowed.context == before[-1].context, "what the device said last, under the consent that it had"
    assert (narrowed.consent, narrowed.session_id, narrowed.origin) == (1, "s1", "live")
    assert narrowed.t0_ns > max(batch.last_ns for batch in before)
    assert say(tmp_path, "withdraw").exit_code == 0
    assert (last(tmp_path).consent, last(tmp_path).columns["status"]) == (2, ["dpv:ConsentWithdrawn"])
    assert (last(tmp_path).columns["consent"], last(tmp_path).columns["purposes"]) == ([3], [""])
    expires = say(tmp_path, "give", "--expires", "2100-01-01T00:00:00+00:00")
    assert orjson.loads(expires.stdout)["expires_ns"] == 4_102_444_800 * 10**9
    assert (last(tmp_path).consent, last(tmp_path).columns["consent"]) == (0, [4])
    assert last(tmp_path).columns["purposes"] == [" ".join(consent.PURPOSES)]
    opened = Journal(tmp_path, "g1")
    opened.close()
    assert opened.earlier.unacknowledged == (), "acknowledged before the command ends"


@pytest.mark.parametrize(
    ("acts", "named"),
    [(["narrow"], 2), (["withdraw"], 0), (["withdraw", "give"], 3), (["narrow", "withdraw"], 0)],
)
def test_a_later_run_goes_on_behind_it_and_names_what_was_given_last(
    tmp_path: Path, links: list[Kafka], acts: list[str], named: int
) -> None:
    play(tmp_path, devices=1, duration_s=4.0)
    for act in acts:
        assert say(tmp_path, act, *(["--purposes", SERVICE] if act == "narrow" else [])).exit_code == 0
    before = batches(tmp_path / "g1.jsonl")
    play(tmp_path, devices=1, duration_s=4.0)
    found = batches(tmp_path / "g1.jsonl")
    assert {batch.consent for batch in found[len(before) :]} == {named}
    assert min(batch.t0_ns for batch in found[len(before) :]) > max(batch.last_ns for batch in before)
    for stream in {batch.stream for batch in found}:
        numbers = [number for batch in found if batch.stream == stream for number in batch.run]
        assert numbers == list(range(len(numbers)))


def test_what_an_earlier_run_left_goes_first(tmp_path: Path, links: list[Kafka]) -> None:
    play(tmp_path, devices=1, duration_s=4.0)
    forget_acknowledgements(tmp_path / "g1.jsonl")
    assert say(tmp_path, "withdraw").exit_code == 0
    assert links[-1].sent == list(journal.sent(tmp_path / "g1.jsonl"))


def test_of_a_lost_device_another_withdraws(tmp_path: Path, links: list[Kafka]) -> None:
    play(tmp_path, duration_s=4.0)
    assert say(tmp_path, "narrow", "--device", "g2", "--purposes", TRAINING).exit_code == 0
    assert say(tmp_path, "withdraw", "--device", "g2").exit_code == 0
    said = last(tmp_path, "g2")
    assert (said.source, said.wearer_id, said.columns["consent"], said.consent) == ("g2", "w1", [2], 1)
    (tmp_path / "g1.jsonl").unlink()
    assert say(tmp_path, "withdraw", "--device", "g2").exit_code == 0
    play(tmp_path, duration_s=0.4)
    assert last(tmp_path, "g2").consent == 1, "what its own wearer gave stands"


def test_a_device_that_has_said_nothing_is_at_a_quiet_home_and_looks_who_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = StoredRecord(0, 0, b"g1", None, (("ce_id", b"g1/imu-right/3"),))
    kafka(monkeypatch, stored={CAPTURED: [seen]})
    Journal(tmp_path, "g1").close()
    result = say(tmp_path, "give", "--device", "g1")
    assert orjson.loads(result.stdout)["event"] == "g1/consent-change~2/0", result.output
    context = last(tmp_path).context
    assert context is not None
    assert (context.place, context.people_near, context.worn, context.consent) == ("home", "nobody", True, 0)
    play(tmp_path, devices=1, duration_s=0.6)
    assert {
        (batch.stream.partition("~")[2], batch.consent) for batch in batches(tmp_path / "g1.jsonl")[1:]
    } == {("2", 1)}


@pytest.mark.parametrize(
    ("act", "arguments", "message"),
    [
        ("give", ["--device", "g7"], "g7.jsonl: found no journal of the device; expected the one that"),
        ("give", ["--wearer", "w7"], "0 journals of devices that the wearer wears; expected one"),
        ("give", ["--purposes", " "], "--purposes: found none; expected at least one"),
        ("give", ["--purposes", "all of it"], "--purposes: found 'all'; expected words of the policy's"),
        ("give", ["--expires", "soon"], "--expires: found 'soon'; expected a time with its zone"),
        ("give", ["--expires", "2100-01-01"], "--expires: found '2100-01-01'; expected a time with its zone"),
        ("give", ["--expires", "2001-01-01T00:00:00Z"], "--expires: found a time that is past"),
        ("give", ["--wearer", "Mrs X"], "--wearer: found no name; expected lower-case letters"),
        ("give", ["--device", "../g1"], "--device: found no name; expected lower-case letters"),
        (
            "narrow",
            ["--purposes", f"{SERVICE} dpv:Other"],
            "expected fewer than the wearer gives now, which are",
        ),
        ("narrow", ["--purposes", f"{TRAINING} {SERVICE}"], "expected fewer than the wearer gives now"),
        (
            "narrow",
            ["--purposes", TRAINING, "--device", "g1", "--wearer", "w5"],
            "expected a consent to narrow",
        ),
    ],
)
def test_what_is_no_change_is_a_sentence_and_changes_nothing(
    tmp_path: Path, links: list[Kafka], act: str, arguments: list[str], message: str
) -> None:
    play(tmp_path, devices=1, duration_s=4.0)
    before = (tmp_path / "g1.jsonl").read_bytes()
    result = say(tmp_path, act, *arguments)
    assert (result.exit_code, message in result.stderr) == (2, True), result.output
    assert (tmp_path / "g1.jsonl").read_bytes() == before


def test_nothing_given_yet_is_a_sentence(tmp_path: Path, links: list[Kafka]) -> None:
    play(tmp_path, devices=1, duration_s=1.0)
    for act, more in (("withdraw", []), ("narrow", ["--purposes", SERVICE])):
        result = say(tmp_path, act, *more)
        assert result.exit_code == 2
        assert "hold nothing that the wearer has given and not withdrawn" in result.stderr
    assert not any(link.sent for link in links)


def test_a_broker_that_does_not_take_it_is_said_and_the_next_run_sends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(tmp_path, devices=1, duration_s=4.0)
    kafka(monkeypatch, takes=lambda sent: sent.stream != "consent-change")
    result = say(tmp_path, "withdraw")
    assert result.exit_code == 3
    assert "did not acknowledge everything that g1 sent within 10 s. What is left (1) is in" in result.stderr
    sent = [one.id for one in kafka_of_next(tmp_path, monkeypatch)]
    assert sent == ["g1/consent-change/1", "g1/consent-change/2"]


def kafka_of_next(directory: Path, monkeypatch: pytest.MonkeyPatch) -> list[Sent]:
    made = kafka(monkeypatch)
    assert say(directory, "give").exit_code == 0
    return made[-1].sent


def test_no_broker_and_a_journal_in_use_are_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from device_sim import kafka as kafka_room  # noqa: PLC0415

    monkeypatch.setattr(kafka_room, "_START_WAIT_S", 0.2)
    play(tmp_path, devices=1, duration_s=4.0)
    before = (tmp_path / "g1.jsonl").read_bytes()
    result = say(tmp_path, "withdraw", "--broker", "127.0.0.1:1")
    assert (result.exit_code, "No Kafka answers at 127.0.0.1:1" in result.stderr) == (3, True), result.output
    assert (tmp_path / "g1.jsonl").read_bytes() == before
    opened = Journal(tmp_path, "g1")
    result = say(tmp_path, "withdraw")
    opened.close()
    assert (result.exit_code, "another device-sim is writing this journal" in result.stderr) == (3, True)


def test_the_time_is_the_devices_and_never_before_what_it_captured(
    tmp_path: Path, links: list[Kafka], monkeypatch: pytest.MonkeyPatch
) -> None:
    play(tmp_path, devices=1, duration_s=4.0)
    late_ns = max(batch.last_ns for batch in batches(tmp_path / "g1.jsonl"))
    monkeypatch.setattr(clock, "now_ns", lambda: late_ns - 10**9)
    assert say(tmp_path, "withdraw").exit_code == 0
    assert last(tmp_path).t0_ns == late_ns + 1_000_000
