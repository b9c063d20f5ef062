"""What `--extend` loads, and the sentence for what it cannot: exit code 2, before a broker is reached."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from device_sim.__main__ import main as device_sim
from streams.cli.main import main as sightline
from streams.connection import connect
from streams.errors import InputError
from streams.events.extensions import extended
from streams.events.shipped import SHIPPED
from streams.processing.extended import extended_operators
from streams.processing.shipped import SHIPPED_OPERATORS

TEMPLE = "tests.extensions.temple"
HEAD = (
    "from streams.events.kinds import Kind\nfrom tests.extensions.temple import OPERATORS, TEMPLE, WARMTH\n"
)
Made = Callable[[str, str], str]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Writes a package into the current directory, which is not on the path of imports; returns its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != ""])

    def write(name: str, text: str) -> str:
        # Its name is its alone, so that no test meets what another one imported.
        whole = f"{name}_{abs(hash(tmp_path))}"
        (tmp_path / f"{whole}.py").write_text(text, encoding="utf-8")
        return whole

    return write


def test_what_is_named_is_added_to_what_is_shipped_and_nothing_else_is_loaded(made: Made) -> None:
    beside = made("beside", "raise RuntimeError")
    assert extended([]) is not extended([TEMPLE])
    assert extended_operators([]) is SHIPPED_OPERATORS
    operators = extended_operators([TEMPLE, TEMPLE])
    assert list(operators) == [*SHIPPED_OPERATORS, "warmth"]
    assert list(operators.kinds) == [*SHIPPED, "temple", "warmth"]
    assert list(extended([TEMPLE])) == [*SHIPPED, "temple", "warmth"]
    assert beside not in sys.modules
    assert "temple" not in SHIPPED


def test_the_current_directory_is_looked_in_behind_what_is_installed(made: Made, tmp_path: Path) -> None:
    name = made("mine", f"{HEAD}KINDS = [TEMPLE, WARMTH]\n")
    (tmp_path / "orjson.py").write_text("raise RuntimeError", encoding="utf-8")
    assert "warmth" in extended([name])
    assert sys.path[-1] == str(tmp_path)
    assert importlib.import_module("orjson").__file__ != str(tmp_path / "orjson.py")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "import nowhere_at_all\n",
            r"importing it fails with ModuleNotFoundError \(nowhere_at_all\) at .*bad_\d+.py:1; `python -c",
        ),
        (
            "SECRET = 'a word'\n1 / 0\n",
            r"importing it fails with ZeroDivisionError at .*bad_\d+.py:2; `py",
        ),
        ("raise ValueError('a word')", "importing it fails with ValueError at "),
        ("def f(:\n", "importing it fails with SyntaxError at "),
        (
            "from streams.events.kinds import Kind\nKINDS = [Kind('Temple', True, {'skin_c': 'number'})]\n",
            "importing it fails with InputError at .*: kind 'Temple': found a name of another form",
        ),
        ("KIND = 1\n", r"found neither KINDS nor OPERATORS in .*bad_\d+.py, expected a list of kinds"),
        ("KINDS = {'temple': 1}\n", r"KINDS of .*bad_\d+.py is a dict, expected a list"),
        ("KINDS = ['temple']\n", "KINDS of .* holds a str, expected nothing but streams.events.kinds.Kind"),
        (
            f"{HEAD}KINDS = [TEMPLE, TEMPLE]\n",
            "kind temple: its KINDS name it twice, expected a name that no",
        ),
        (
            f"{HEAD}KINDS = [Kind('imu', True, {{'skin_c': 'number'}})]\n",
            "kind imu: there is a shipped one of this name, expected a name that no other kind has; rename",
        ),
        (
            f"{HEAD}KINDS = [TEMPLE, WARMTH]\nOPERATORS = ['warmth']\n",
            "OPERATORS holds a str, expected nothing but streams.processing.operators.Operator",
        ),
        (
            f"{HEAD}KINDS = [WARMTH]\n",
            "operator warmth: reads temple, expected a kind that is captured: one of imu",
        ),
        (
            f"{HEAD}KINDS = [TEMPLE, WARMTH]\nOPERATORS = OPERATORS * 2\n",
            "operator warmth: found two of this name, expected one",
        ),
    ],
)
def test_what_is_no_extension_is_a_sentence(made: Made, text: str, sentence: str) -> None:
    name = made("bad", text)
    with pytest.raises(InputError, match=f"^extension {name}[:,] .*{sentence}") as error:
        extended_operators([name])
    assert "a word" not in str(error.value)


def test_what_is_not_there_is_said_with_where_it_was_looked_for(made: Made, tmp_path: Path) -> None:
    made("mine", "")
    with pytest.raises(InputError) as error:
        extended(["no_such_glasses"])
    assert str(error.value) == (
        "extension no_such_glasses: found no package no_such_glasses (ModuleNotFoundError), neither among "
        f"those of {sys.prefix} nor in the current directory {tmp_path}; install it, or start where it lies"
    )
    with pytest.raises(InputError, match=r"extension 'my/glasses\.py': found no name of a package, expected"):
        extended(["my/glasses.py"])


def test_two_extensions_with_one_kind_are_told_apart(made: Made) -> None:
    name = made("other", f"{HEAD}KINDS = [TEMPLE]\n")
    with pytest.raises(InputError, match=f"extension {name}, kind temple: {TEMPLE} has one of this name"):
        extended([TEMPLE, name])


@pytest.mark.parametrize(
    "line",
    [
        "worker",
        "snapshots",
        "replay {tmp}",
        "policy check household",
        "policy publish household",
        "device-sim run --journal {tmp}",
        "device-sim consent withdraw --wearer w1 --journal {tmp}",
    ],
)
def test_a_command_refuses_it_before_anything_is_reached(
    line: str, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reached(*_arguments: object) -> None:
        raise AssertionError("a broker was reached")

    monkeypatch.setattr(connect, "reach", reached)
    words = line.format(tmp=tmp_path).split()
    program, arguments = (device_sim, words[1:]) if words[0] == "device-sim" else (sightline, words)
    made("mine", "")
    result = CliRunner().invoke(program, [*arguments, "--extend", "no_such_glasses"])
    assert result.exit_code == 2, result.output
    assert "extension no_such_glasses: found no package no_such_glasses" in result.stderr
