"""What sensors sample leaves packed where that was asked for, and a device goes on from such a journal."""

from __future__ import annotations

from pathlib import Path

import pytest
import xxhash

from device_sim.files import Journal
from device_sim.link import NONE, Link
from device_sim.outbox import Outbox
from streams.events import journal
from streams.events.batch import Batch
from streams.events.codec import encode
from streams.events.headers import content_type_of
from streams.events.packed import Packed
from streams.ledger.journal import read_journals
from tests import build
from tests.device_sim.play import forget_acknowledgements, play

SENSORS = {"imu-right", "location"}


def batches(path: Path) -> list[Batch]:
    return [
        build.CODEC.decode(sent.value, 0, content_type=content_type_of(sent.headers))
        for sent in journal.sent(path)
    ]


@pytest.mark.parametrize(("encoding", "packs"), [("json", ""), ("binary", "g1 g2"), ("mixed", "g2")])
def test_sensors_are_packed_and_interactions_are_json(encoding: str, packs: str, tmp_path: Path) -> None:
    play(tmp_path / "sent", duration_s=4.0, encoding=encoding)
    play(tmp_path / "plain", duration_s=4.0)
    for device in ("g1", "g2"):
        sent = batches(tmp_path / "sent" / f"{device}.jsonl")
        assert {one.stream for one in sent} > SENSORS
        assert {one.stream for one in sent if isinstance(one.columns, Packed)} == (
            SENSORS if device in packs else set()
        )
        plain = batches(tmp_path / "plain" / f"{device}.jsonl")
        assert [(one.first_id, one.run, one.t0_ns, one.context) for one in sent] == [
            (one.first_id, one.run, one.t0_ns, one.context) for one in plain
        ]


def test_the_next_run_goes_on_behind_packed_batches(tmp_path: Path) -> None:
    for _ in range(2):
        play(tmp_path, devices=1, duration_s=3.0, encoding="binary")
    samples = [one for one in batches(tmp_path / "g1.jsonl") if one.stream == "imu-right"]
    assert [one.run.first for one in samples] == [0, *(one.run.last + 1 for one in samples)][:-1]
    assert {one.session_id for one in samples} == {"s1", "s2"}
    times = [one.t0_ns for one in samples]
    assert times == sorted(times)


def test_packed_batches_that_nobody_acknowledged_are_sent_again_byte_for_byte(tmp_path: Path) -> None:
    play(tmp_path, devices=1, duration_s=3.0, encoding="binary")
    forget_acknowledgements(tmp_path / "g1.jsonl")
    sent = list(journal.sent(tmp_path / "g1.jsonl"))
    opened = Journal(tmp_path, "g1")
    opened.close()
    assert list(opened.earlier.unacknowledged) == sent
    again = Outbox(opened, Link(NONE, 0, "g1"), None).resend()
    assert [encode(batch) for batch in again] == [one.value for one in sent]
    assert any(isinstance(batch.columns, Packed) for batch in again)


def test_the_ledger_knows_packed_values_by_their_bytes(tmp_path: Path) -> None:
    play(tmp_path, devices=1, duration_s=3.0, encoding="binary")
    read = read_journals(tmp_path)
    for name in SENSORS:
        values = [one.value for one in journal.sent(tmp_path / "g1.jsonl") if one.stream == name]
        digests = b"".join(map(xxhash.xxh3_128_digest, values))
        assert read.batches[f"g1/{name}"].digests == digests
