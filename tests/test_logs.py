"""The log of a process: one line per record, in three forms, without values that foreign code quotes."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import pytest

from streams import logs, settings

SECRET = "turn the light on"


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    # An earlier command in this process may have silenced the client.
    client = logging.getLogger("aiokafka")
    level = client.level
    client.setLevel(logging.NOTSET)
    yield
    client.setLevel(level)


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_record_is_one_line_and_an_error_of_ours_has_no_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.to_stderr("sightline")
    logging.getLogger("streams.x").warning("passed over: %s", "live\x1b[2J\nsightline: forged")
    try:
        raise ValueError(SECRET)  # noqa: TRY301 - it is what is looked at
    except ValueError:
        logging.getLogger("streams.x").exception("ended")
    assert said(capsys) == [
        r"sightline: passed over: live\x1b[2J\x0asightline: forged",
        "sightline: ended (ValueError)",
    ]


def test_who_asks_for_it_gets_the_traceback_each_line_of_it_printable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "DEBUG", True)
    logs.to_stderr("sightline")
    try:
        raise ValueError("\x1b]0;title\x07")  # noqa: TRY301 - its traceback is what is looked at
    except ValueError:
        logging.getLogger("streams.x").exception("ended")
    found = said(capsys)
    assert found[:2] == ["sightline: ended (ValueError)", "Traceback (most recent call last):"]
    assert found[-1] == r"ValueError: \x1b]0;title\x07"


def test_a_line_has_time_level_agent_and_partition(capsys: pytest.CaptureFixture[str]) -> None:
    logs.to_stderr("sightline", "text")
    with logs.at("glasses", 3):
        logging.getLogger("streams.x").error("inside")
    logging.getLogger("streams.x").warning("outside")
    inside, outside = said(capsys)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ERROR glasses 3 inside", inside)
    assert re.fullmatch(r"\S{23}Z WARNING - - outside", outside)


def test_a_line_can_be_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    logs.to_stderr("sightline", "json")
    with logs.at("training", 0):
        logging.getLogger("streams.x").error("two\nlines %s", "\u202e")
    logging.getLogger("streams.x").warning("outside")
    first, second = map(json.loads, said(capsys))
    assert (first["level"], first["agent"], first["partition"]) == ("ERROR", "training", 0)
    assert (first["message"], first["logger"]) == ("two\nlines \u202e", "streams.x")
    assert (second["agent"], second["partition"]) == (None, None)
    assert re.fullmatch(r"\S{23}Z", first["time"])


@pytest.mark.parametrize("name", ["aiokafka.consumer.fetcher", "faust.app", "mode.services", "asyncio"])
@pytest.mark.parametrize("form", ["sentence", "text", "json"])
def test_foreign_errors_come_through_without_what_they_quote(
    name: str, form: logs.Form, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.to_stderr("sightline", form)
    log = logging.getLogger(name)
    log.error("Failed on %r of %s at %d", SECRET.encode(), SECRET, 17)
    log.error("%s", KeyError(SECRET))
    log.error(f"Failed on {SECRET}")  # noqa: G004 - as foreign code does
    log.error("crashed", exc_info=KeyError(SECRET))
    log.error("%(value)s", {"value": SECRET})
    found = said(capsys)
    assert len(found) == 5
    assert all(name in line for line in found)
    assert not any(SECRET in line or "light" in line for line in found)
    assert "Failed on bytes of str at 17" in found[0]
    assert "KeyError" in found[1]
    assert "KeyError" in found[3]


def test_foreign_code_says_errors_only_and_seldom(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("streams.clock.monotonic_s", lambda: now[0])
    logs.to_stderr("sightline", "text")
    for second in range(25):
        now[0] = float(second)
        for _ in range(40):
            logging.getLogger("aiokafka.client").error("Unable connect to node %d", 1)
            logging.getLogger("aiokafka.client").warning("hm")
    assert len(said(capsys)) == 3


def test_what_is_said_of_a_process_is_said_to_one_place_once(capsys: pytest.CaptureFixture[str]) -> None:
    logs.to_stderr("sightline")
    logs.to_stderr("sightline", "text")
    assert logs.form() == "text"
    logging.getLogger("streams.x").error("once")
    assert len(said(capsys)) == 1
