"""The journal survives a crash while a line was being written."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import InputError
from streams.events import journal
from tests import build


def sent() -> journal.Sent:
    record = build.record(build.batch(), 0)
    return journal.Sent(
        "g1/imu-right/0",
        record.key or b"",
        record.value or b"",
        tuple(record.headers),
        record.timestamp,
        5,
        "imu-right",
        0,
        20,
    )


def test_round_trip_and_torn_last_line(tmp_path: Path) -> None:
    path = tmp_path / "g1.jsonl"
    line = journal.sent_line(sent())
    path.write_bytes(line + journal.ack_line("g1/imu-right/0", 1, 9, 5, 7, 6) + line[:40])
    assert list(journal.sent(path)) == [sent()]
    assert [fields["line"] for fields in journal.lines(path)] == ["sent", "ack"]


def test_a_torn_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "g1.jsonl"
    path.write_bytes(journal.sent_line(sent()) + b"{torn\n" + journal.sent_line(sent()))
    with pytest.raises(InputError, match=r"g1\.jsonl, line 2: found text that is not JSON"):
        list(journal.lines(path))


def test_no_journal(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no journal"):
        journal.files(tmp_path)
