"""Journals give back what Kafka took, by partition, copy by copy, at the places that were acknowledged."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from streams.errors import InputError
from streams.events.journal import Sent, ack_line, sent_line, truth_line
from streams.events.record import Received
from streams.replay import arrivals
from streams.replay.arrivals import JournalArrivals
from tests import build


def line(source: str, number: int) -> bytes:
    record = build.record(build.imu(0.1, number * 20, 20, source=source), 0)
    return sent_line(
        Sent(
            name(source, number),
            source.encode(),
            record.value or b"",
            tuple(record.headers),
            record.timestamp,
            7,
            "imu-right",
            number * 20,
            20,
        )
    )


def name(source: str, number: int) -> str:
    return f"{source}/imu-right/{number * 20}"


def journals(directory: Path, **lines: Iterable[bytes]) -> Path:
    for source, some in lines.items():
        (directory / f"{source}.jsonl").write_bytes(b"".join(some))
    return directory


def everything(found: JournalArrivals, partition: int) -> list[Received]:
    records: list[Received] = []
    while some := build.run(found.read(partition)):
        records += some
    return records


def test_every_copy_is_at_its_place_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "READ_RECORDS_MAX", 2)
    path = journals(
        tmp_path,
        g1=[
            truth_line("g1", "imu-right", 0, 20, "home-private"),
            line("g1", 0),
            line("g1", 1),
            line("g1", 2),
            line("g1", 3),
            ack_line(name("g1", 1), 1, 0, 7, 8, 8),
            ack_line(name("g1", 0), 1, 2, 7, 8, 8),
            ack_line(name("g1", 1), 1, 5, 7, 8, 8),
            ack_line(name("g1", 2), 1, 6, 7, 8, 8),
            b'{"line":"ack","id":"g1/imu-ri',
        ],
        g2=[line("g2", 0), ack_line(name("g2", 0), 1, 1, 7, 8, 8)],
        g3=[line("g3", 0), ack_line(name("g3", 0), 3, 9, 7, 8, 8)],
    )
    found = JournalArrivals(path)
    assert (found.partitions, found.unplaced) == ([1, 3], 1)
    got = everything(found, 1)
    assert [(record.offset, dict(record.headers)["ce_id"].decode()) for record in got] == [
        (0, name("g1", 1)),
        (1, name("g2", 0)),
        (2, name("g1", 0)),
        (5, name("g1", 1)),
        (6, name("g1", 2)),
    ]
    assert got[1] == build.record(build.imu(0.1, 0, 20, source="g2"), 1, timestamp=0)
    assert [record.offset for record in everything(found, 3)] == [9]


def test_of_a_number_that_was_used_twice_the_later_batch_counts(tmp_path: Path) -> None:
    path = journals(
        tmp_path,
        g1=[line("g1", 0).replace(b"7", b"6"), line("g1", 0), ack_line(name("g1", 0), 0, 0, 7, 8, 8)],
    )
    assert everything(JournalArrivals(path), 0) == [build.record(build.imu(0.1, 0, 20), 0, timestamp=0)]


def test_places_of_several_kafkas_or_none_are_refused(tmp_path: Path) -> None:
    played = journals(
        tmp_path,
        **{source: [line(source, 0), ack_line(name(source, 0), 0, 0, 7, 8, 8)] for source in ("g1", "g2")},
    )
    with pytest.raises(InputError, match="Partition 0, offset 0: found two batches at this place"):
        JournalArrivals(played)
    with pytest.raises(InputError, match="an acknowledgement of a batch that the file does not have"):
        JournalArrivals(journals(tmp_path, g2=[ack_line(name("g2", 5), 0, 1, 7, 8, 8)]))
    with pytest.raises(InputError, match="line 2: found text that is not JSON"):
        JournalArrivals(journals(tmp_path, g2=[line("g2", 0), b"nothing\n"]))


def test_a_journal_without_acknowledgements_has_no_partitions(tmp_path: Path) -> None:
    found = JournalArrivals(journals(tmp_path, g1=[line("g1", 0)]))
    assert (found.partitions, found.unplaced) == ([], 1)
