"""What commands say of a demo, and what an export of a person holds, line by line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from streams.cli.main import main
from streams.demo import Demo


def asked(demo: Demo, *arguments: str) -> dict[str, Any]:
    """JSON answer of a command about the topics and keys of a demo."""
    where = ("--broker", str(demo.broker)) if arguments[1] == "erase" else ()
    result = CliRunner().invoke(main, [*arguments, *where, "--keys", str(demo.keys), "--json"])
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout.splitlines()[-1]))


def exported(demo: Demo, wearer: str, form: str, name: str) -> tuple[Path, dict[str, Any]]:
    """Where an export of a wearer lies, and what the command says of it."""
    out = demo.store.parent / name
    words = ("--wearer", wearer, "--as", form, "--out", str(out), "--store", str(demo.store))
    of = asked(demo, "rights", "export", *words, "--broker", str(demo.broker), "--role", "privacy-officer")
    return out, of


def lines_of(directory: Path) -> dict[str, list[dict[str, Any]]]:
    """Lines of an export by kind."""
    return {
        path.stem: [json.loads(line) for line in path.read_bytes().splitlines()]
        for path in directory.glob("*.jsonl")
    }


def ids_in(lines: Iterable[dict[str, Any]], last: str) -> set[str]:
    """Ids of single events, of lines with a stream, a first number and a count."""
    return {f"{line['stream']}/{line['first'] + at}" for line in lines for at in range(line[last])}
