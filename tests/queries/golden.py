"""The golden journal played into a store, with some of its batches damaged on the way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import orjson
from click.testing import CliRunner

from streams.cli.main import main

JOURNAL = Path(__file__).parent.parent / "golden" / "journal" / "g1.jsonl"


#: Written into what is damaged.
SECRET = "words of the wearer"


def sent() -> list[dict[str, Any]]:
    """What the device sent, line by line."""
    lines = map(orjson.loads, JOURNAL.read_bytes().splitlines())
    return [line for line in lines if line["line"] == "sent"]


def imu_batches() -> list[tuple[str, int, int]]:
    """(stream, first, n) of two IMU batches in the midst of what was sent: those that `spoilt` damages."""
    imu = [(one["stream"], one["first"], one["n"]) for one in sent() if one["stream"] == "imu-right"]
    return imu[2:4]


def played(home: Path, damage: Mapping[str, Callable[[str], str]], *, without: Collection[str] = ()) -> Path:
    """A store of the journal, in which the values of the batches `damage` names by id are changed.

    The batches `without` are not in it.
    """
    lines = [orjson.loads(line) for line in JOURNAL.read_bytes().splitlines()]
    lines = [line for line in lines if line.get("id") not in without]
    for line in lines:
        if line["line"] == "sent" and line["id"] in damage:
            line["value"] = damage[line["id"]](line["value"])
    journal = home / "journal"
    journal.mkdir()
    (journal / "g1.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    result = CliRunner().invoke(main, ["replay", str(journal), "--store", str(home / "store")])
    assert result.exit_code == 0, result.output
    return home / "store"


def asked(store: Path, *arguments: str, role: str = "privacy-officer") -> Any:
    """What a question answers in JSON."""
    result = CliRunner().invoke(main, [*arguments, "--store", str(store), "--role", role, "--json"])
    assert result.exit_code == 0, result.output
    return orjson.loads(result.stdout)
