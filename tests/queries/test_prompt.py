"""`sightline sql` without a statement: a prompt on a terminal, statements from stdin elsewhere."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from streams.cli.main import main
from streams.cli.prompt import Names, names
from streams.cli.statements import finished, split
from streams.queries.role import Role
from tests.snapshots.build import POLICY, edge, event, store, tagged

WAIT_S = 15.0
PROMPT = "sightline>"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(
        tmp_path_factory.mktemp("prompt") / "s",
        {
            "policies": [POLICY],
            "events": [event("g1", "imu", 0, 100, **tagged()), event("g1", "activity", 0, **tagged())],
            "edges": [edge(("g1", "activity", 0), ("g1", "imu", 0), parent_width=100)],
        },
    )


class Terminal:
    """What a person sees and types; `until` reads on to a text that must come."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process, self._descriptor, self._unread, self.seen = process, descriptor, "", ""

    def until(self, text: str) -> str:
        deadline = time.monotonic() + WAIT_S
        while text not in self._unread:
            ready, _, _ = select.select([self._descriptor], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"waited for {text!r}, found {self._unread!r}"
            more = os.read(self._descriptor, 65536).decode(errors="replace")
            self._unread += more
            self.seen += more
        before, _, self._unread = self._unread.partition(text)
        return before

    def type(self, keys: str) -> None:
        os.write(self._descriptor, keys.encode())


@contextmanager
def terminal(path: Path, home: Path) -> Iterator[Terminal]:
    outer, inner = pty.openpty()
    environment = {**os.environ, "XDG_CACHE_HOME": str(home), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "sql", "--store", str(path)],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        env=environment,
        start_new_session=True,
    )
    os.close(inner)
    try:
        seat = Terminal(process, outer)
        seat.until(PROMPT)
        yield seat
        seat.type("\x04")
        assert process.wait(WAIT_S) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(outer)


def test_a_person_asks(path: Path, tmp_path: Path) -> None:
    with terminal(path, tmp_path) as seat:
        seat.type("SELECT 'over' AS one,\r")
        seat.until("...>")
        seat.type("'lines' AS two;\r")
        seat.until("over  lines")
        seat.until(PROMPT)
        seat.type("FROM edge_re\t")
        seat.until("cords")
        seat.type(" LIMIT 1;\r")
        seat.until("g1/activity/0  g1/imu/0")
        seat.until(PROMPT)
        seat.type(".mode markdown\r")
        seat.until(PROMPT)
        seat.type("DELETE FROM store;\r")
        seat.until("found DELETE")
        seat.until(PROMPT)
        seat.type("SELECT 'never run")
        seat.until("never run")
        seat.type("\x03")
        seat.until(PROMPT)
        seat.type("SELECT 6 * 7 AS n;\r")
        seat.until("| ---: |")
        seat.until("| 42 |")
        seat.until(PROMPT)
    with terminal(path, tmp_path) as seat:
        # The arrow brings the last statement back: history outlives the process.
        seat.type("\x1b[A")
        seat.until("6 * 7")
        seat.type("\r")
        seat.until("42")
        seat.until(PROMPT)
    assert (tmp_path / "sightline" / "sql-history").stat().st_mode & 0o077 == 0


def test_quit_leaves(path: Path, tmp_path: Path) -> None:
    with terminal(path, tmp_path) as seat:
        seat.type(".help\r")
        seat.until("table, csv, json or markdown")
        seat.until(PROMPT)
        seat.type(".quit\r")
        assert seat.process.wait(WAIT_S) == 0


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (".m", [".mode"]),
        (".mode ", ["table", "csv", "json", "markdown"]),
        (".mode c", ["csv"]),
        ("SELECT ep", ["epoch", "epoch_rows", "epochs"]),
        ("FROM EDGE_", ["edge_records"]),
        ("FROM x WHERE x.parent_w", ["parent_width"]),
        ("SELECT ", []),
        (".help ", []),
    ],
)
def test_tab_offers_what_can_stand_there(path: Path, typed: str, offered: list[str]) -> None:
    assert [
        one.text
        for one in Names(names((path,), Role("analyst"))).get_completions(Document(typed), CompleteEvent())
    ] == offered


def said(path: Path, text: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["sql", "--store", str(path), *arguments], input=text)


def test_statements_come_from_stdin(path: Path) -> None:
    text = (
        "-- a comment; with a semicolon\nSELECT ';' AS \"a;b\";\n.mode csv\n\nSELECT 1 AS x,\n  2 AS y; "
        "SELECT 'a|b' AS z"
    )
    assert said(path, text).output == "a;b\n;\nx,y\n1,2\nz\na|b\n"
    assert (
        said(path, "SELECT 'a|b' AS z, 5 AS n;", "--format", "markdown").output
        == "| z | n |\n| --- | ---: |\n| a\\|b | 5 |\n"
    )
    assert said(path, "SELECT 1 AS x;\n.quit\nSELECT 2 AS y;").output == "x\n1\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no statement"),
        ("-- nothing\n", "no statement"),
        ("SELECT 1; DELETE FROM store; SELECT 2;", "found DELETE"),
        (".mode xml\n", "expected .mode table|csv|json|markdown"),
        (".tables", "expected .mode"),
    ],
)
def test_the_first_error_on_stdin_ends_it_with_exit_2(path: Path, text: str, sentence: str) -> None:
    result = said(path, text)
    assert result.exit_code == 2
    assert sentence in result.output
    assert "2\n2\n" not in result.output


@pytest.mark.parametrize(
    ("text", "statements", "rest"),
    [
        ("a; b", ["a;"], " b"),
        ("';'", [], "';'"),
        ("$$;$$;", ["$$;$$;"], ""),
        ("$x$;$$;$x$;", ["$x$;$$;$x$;"], ""),
        ("/* ; */ a;", ["/* ; */ a;"], ""),
        ("'it''s;';", ["'it''s;';"], ""),
        ("'open;", [], "'open;"),
        (";;", [], ""),
        ("-- a;", [], ""),
        ("/* open;", [], "/* open;"),
    ],
)
def test_a_semicolon_inside_a_text_ends_nothing(text: str, statements: list[str], rest: str) -> None:
    assert split(text) == (statements, rest)
    assert finished(text) is not bool(rest)
