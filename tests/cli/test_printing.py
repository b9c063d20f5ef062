"""What an older version let into a store is shown as escapes by every command that prints it."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner
from rich.text import Text

from streams.cli.live import View
from streams.cli.main import main
from tests.cli.test_live import NOW, rendered
from tests.snapshots.build import POLICY, event, row, store, stream, tagged

ORIGIN = "she said: my test is positive \x1b[31mRED\x1b[0m\x1b]0;pwned\x07\r\nforged row\u202ex\x9b2J\u200b"
SHOWN = (
    r"she said: my test is positive \x1b[31mRED\x1b[0m\x1b]0;pwned\x07\x0d\x0aforged row\u202ex\x9b2J\u200b"
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    refused = {"source": "g1", "stream": "imu", "first": 20, "count": 20, "stage": "zones", "wearer": "w1"}
    return store(
        tmp_path_factory.mktemp("printing") / "s",
        {
            "streams": [stream("g1", "imu")],
            "policies": [POLICY],
            "events": [event("g1", "imu", 0, 20, origin=ORIGIN, session=ORIGIN, **tagged())],
            "rejected": [row("rejected", reason=ORIGIN, rule=ORIGIN, **refused)],
        },
    )


SELECT = ("sql", "SELECT origin FROM events")


@pytest.mark.parametrize(
    "arguments",
    [
        ("ask", "why", "g1/imu/3"),
        ("ask", "ancestors", "g1/imu/3"),
        ("policy", "explain", "g1/imu/3"),
        SELECT,
        (*SELECT, "--format", "csv"),
        (*SELECT, "--format", "markdown"),
        ("sql", "SELECT {'a': origin, 'b': [origin]} AS all_of_it FROM events"),
        ("sql", "SELECT reason, rule FROM rejected"),
        ("sql", 'SELECT origin AS "\x1b[2J" FROM events'),
        ("sql", "SELECT error(origin) FROM events"),
        ("sql", "SELECT '\x1b[2J' + 'x' FROM nothing"),
        ("ask", "why", "\x1b[2J/\u202e"),
        ("replay", "\x1b[2J"),
        ("no\x1b[2J",),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_no_command_prints_what_a_terminal_obeys(
    path: Path, arguments: tuple[str, ...], as_json: bool
) -> None:
    more = ["--store", str(path), "--role", "privacy-officer", *(["--json"] if as_json else [])]
    result = CliRunner().invoke(main, [*arguments, *more])
    said = result.output.replace("\n", "")
    assert said
    assert {unicodedata.category(one) for one in said}.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})
    assert "\nforged row" not in result.output


def test_it_is_shown_as_escapes_and_json_gives_it_whole(path: Path) -> None:
    more = ["--store", str(path), "--role", "privacy-officer"]
    assert CliRunner().invoke(main, [*SELECT, *more]).output == f"origin\n{SHOWN}\n"
    answer = orjson.loads(CliRunner().invoke(main, [*SELECT, *more, "--json"]).output)
    assert answer["rows"] == [[ORIGIN]]
    assert SHOWN in CliRunner().invoke(main, ["ask", "why", "g1/imu/3", *more]).output


def test_the_name_of_a_file_is_printed_like_any_other_text(tmp_path: Path) -> None:
    journal = tmp_path / "g1\x1b[2J\nforged.jsonl"
    journal.write_text("no JSON\n")
    for command in (["ledger", str(journal), "--store", str(tmp_path)], ["policy", "check", str(journal)]):
        result = CliRunner().invoke(main, command)
        assert result.exit_code in {2, 3}
        assert r"g1\x1b[2J\x0aforged.jsonl" in result.output
        assert "\x1b" not in result.output
        assert "\nforged" not in result.output


def test_the_live_view_shows_a_zone_and_a_scenario_as_they_are_spelt() -> None:
    view = View("smoke\x1b[2J")
    view.update(1.0, replace(NOW, zones={"[red]a\x1b[2J": 1, "b\u202e": 2}, verdicts={"allow\x1b[2J": 3}))
    shown = "\n".join(rendered(view, 100))
    assert "\x1b" not in shown
    assert all(one in shown for one in (r"smoke\x1b[2J", r"[red]a\x1b[2J", r"b\u202e", r"allow\x1b[2J 3"))
    assert isinstance(View("x\x1b").__rich__(), Text)
