"""Output of commands: aligned text for people, `--json` for programs.

Text has no colours, so that it is the same on a terminal and in a pipe.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click
import orjson
from msgspec import Struct, to_builtins

from streams import settings
from streams.cli.times import local
from streams.printing import printable, say, say_json
from streams.queries.role import Role

_TO_THE_MICROSECOND = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
json_option = click.option("--json", "as_json", is_flag=True, help="Answer with one JSON object.")
store_option = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    default=settings.STORE,
    show_default=True,
    help="Directory of the published store.",
)
#: Directories of the stores that a command reads as one.
Stores = tuple[Path, ...]
stores_option = click.option(
    "--store",
    "stores",
    type=click.Path(path_type=Path, file_okay=False),
    multiple=True,
    default=(settings.STORE,),
    show_default=True,
    help="Directory of the published store; several, if each holds some partitions, are read as one.",
)


keys_option = click.option(
    "--keys",
    type=click.Path(path_type=Path, file_okay=False),
    default=settings.KEYS,
    show_default=True,
    help="Directory of the key store, under whose keys glasses.examples is sealed and erasures name wearers.",
)


def _role(_context: click.Context, _parameter: click.Parameter, text: str) -> Role:
    return Role.of(text)


role_option = click.option(
    "--role",
    metavar="ROLE",
    callback=_role,
    default=settings.ROLE,
    show_default=True,
    help="Who asks: analyst, privacy-officer or wearer:ID; the policies say what each is shown.",
)


def emit_hidden(role: str, hidden: Mapping[str, str]) -> None:
    """Print on standard error roughly how many rows of the answer are hidden from the role."""
    if hidden:
        counts = ", ".join(f"{band} {name.replace('_', ' ')}" for name, band in hidden.items())
        say(f"not shown to {role}: {counts}", err=True)


def emit_left_out(sentences: Iterable[str]) -> None:
    """Print on standard error which rows nobody may see, and why."""
    for sentence in sentences:
        say(f"left out: {sentence}", err=True)


def stating(plain: Mapping[str, object], epochs: Mapping[str, int]) -> dict[str, object]:
    """An answer as plain values; if it is of several stores, with the epoch of each in place of `epoch`."""
    if len(epochs) == 1:
        return dict(plain)
    several: dict[str, object] = {}
    for name, value in plain.items():
        several |= {"epochs": epochs} if name == "epoch" else {name: value}
    return several


def emit_json(answer: object) -> None:
    """Print one line of JSON."""
    try:
        text = orjson.dumps(answer, default=_plain, option=orjson.OPT_NON_STR_KEYS)
    except orjson.JSONEncodeError:
        # orjson only writes integers up to 64 bits.
        text = orjson.dumps(_widened(answer), default=_plain, option=orjson.OPT_NON_STR_KEYS)
    say_json(text.decode())


def _widened(value: object) -> object:
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return orjson.Fragment(str(value))
    if isinstance(value, Mapping):
        return {name: _widened(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_widened(inner) for inner in value]
    return value


def emit_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows as CSV with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(printable, columns))
    writer.writerows([cell(value, utc=True) for value in row] for row in rows)
    for line in text.getvalue().splitlines():
        say(line)


def emit_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows in columns as wide as their content; numbers are aligned to the right."""
    body = [list(row) for row in rows]
    cells = [[cell(value) for value in row] for row in body]
    names = [printable(name) for name in columns]
    widths = [max([len(name), *(len(row[i]) for row in cells)]) for i, name in enumerate(names)]
    right = _numeric(columns, body)
    for line in (names, *cells):
        shown = [
            text.rjust(width) if flush else text.ljust(width)
            for text, width, flush in zip(line, widths, right, strict=True)
        ]
        say("  ".join(shown).rstrip())


def emit_rows(rows: Sequence[Struct | Mapping[str, object]]) -> None:
    """Print rows of one kind, of which there is at least one, as `emit_table` does."""
    plain = [to_builtins(row) for row in rows]
    emit_table(list(plain[0]), [list(row.values()) for row in plain])


def emit_markdown(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows as a Markdown table; numbers are aligned to the right."""
    body = [list(row) for row in rows]
    rule = ["---:" if right else "---" for right in _numeric(columns, body)]
    for line in (list(columns), rule, *([cell(value) for value in row] for row in body)):
        say("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |")


def _numeric(columns: Sequence[str], body: Sequence[Sequence[Any]]) -> list[bool]:
    return [
        bool(body) and all(isinstance(row[i], int | float) and not isinstance(row[i], bool) for row in body)
        for i in range(len(columns))
    ]


def emit_facts(facts: Mapping[str, Any]) -> None:
    """Print names and values, one per line; empty values are left out."""
    shown = {
        name.replace("_", " "): cell(value)
        for name, value in facts.items()
        if value not in (None, "", [], (), {})
    }
    width = max((len(name) for name in shown), default=0)
    for name, value in shown.items():
        say(f"{name.ljust(width)}  {value}")


def cell(value: object, *, utc: bool = False) -> str:
    """Text of one value, made printable; times in the time zone of the command, unless they are to be UTC."""
    if not utc:
        value = local(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {cell(inner, utc=utc)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(cell(inner, utc=utc) for inner in value)
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    # Seconds are enough for people; --json has the full precision.
    return f"{text[:19]}Z" if _TO_THE_MICROSECOND.fullmatch(text) else printable(text)


def _plain(value: object) -> object:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
