"""A session that was sent as MessagePack comes to what it comes to as JSON: all but the bytes themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from device_sim.runner import Options, Simulation
from streams.events import journal
from streams.events.batch import JSON, MESSAGEPACK, Batch
from streams.events.codec import encode
from streams.events.headers import CONTENT_TYPE, content_type_of, envelope
from streams.events.record import Outgoing
from streams.replay import Replay
from streams.topology import ANSWERS, DERIVED, EXAMPLES, REJECTED, ZONED
from tests import build

#: What is said of bytes, and so differs: how many there were, and their digest.
OF_BYTES = {"bytes", "digest", "split_from"}


def as_json(batch: Batch) -> Batch:
    """The batch as a device sends it that rounds to the same types and writes JSON."""
    return replace(batch, columns={name: list(batch.columns[name]) for name in batch.columns})


def rewritten(source: Path, target: Path, written: Callable[[Batch], Batch]) -> None:
    """Journals in which each batch is written otherwise, and nothing else is other."""
    target.mkdir()
    for path in journal.files(source):
        lines = []
        for line in path.read_bytes().splitlines(keepends=True):
            if not line.startswith(b'{"line":"sent"'):
                lines.append(line)
                continue
            fields = orjson.loads(line)
            headers = tuple((name, value.encode()) for name, value in fields["headers"].items())
            batch = written(
                build.CODEC.decode(journal.value_of(fields), 0, content_type=content_type_of(headers))
            )
            sent = journal.Sent(
                fields["id"],
                fields["key"].encode(),
                encode(batch),
                tuple(envelope(batch)),
                fields["timestamp_ms"],
                fields["sent_ns"],
                fields["stream"],
                fields["first"],
                fields["n"],
            )
            lines.append(journal.sent_line(sent))
        (target / path.name).write_bytes(b"".join(lines))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """One session of two devices: as they sent it, as JSON, and all of it packed, what wearers did too."""
    home = tmp_path_factory.mktemp("encodings")
    options = Options(
        scenario="commute",
        devices=2,
        speed=20,
        seed=1,
        duration_s=24,
        journal=home / "sent",
        partitions=1,
        broker=None,
        start_ns=build.T0_NS,
        encoding="binary",
    )
    build.run(Simulation(options).run())
    rewritten(home / "sent", home / "json", as_json)
    rewritten(home / "json", home / "packed", build.CODEC.packed)
    return {name: home / name for name in ("sent", "json", "packed")}


@pytest.fixture(scope="module")
def derived(played: Mapping[str, Path]) -> Mapping[str, list[Outgoing]]:
    """What a pipeline without a broker makes of each."""
    return {name: replayed(path) for name, path in played.items()}


def replayed(path: Path) -> list[Outgoing]:
    written: list[Outgoing] = []
    build.run(Replay(build.policy(), written.extend, every=3).run(path))
    return written


def content(written: Sequence[Outgoing]) -> dict[str, list[Any]]:
    """Everything that a pipeline wrote, without what it says of bytes."""
    tables: dict[str, list[Any]] = {
        table: [{name: value for name, value in row.items() if name not in OF_BYTES} for row in rows]
        for table, rows in build.lineage(written).items()
    }
    for topic in (ZONED, DERIVED, ANSWERS, EXAMPLES, REJECTED):
        tables[topic] = [
            (
                record.key,
                sorted(
                    (name, value)
                    for name, value in record.headers
                    if name not in {CONTENT_TYPE, "sightline-digest"}
                ),
                record.timestamp_ms,
                record.value if topic in {DERIVED, ANSWERS, EXAMPLES} else None,
            )
            for record in written
            if record.topic == topic
        ]
    return tables


def test_a_session_is_the_same_whichever_way_it_was_sent(derived: Mapping[str, list[Outgoing]]) -> None:
    found = {name: content(records) for name, records in derived.items()}
    for name in ("sent", "packed"):
        assert found[name].keys() == found["json"].keys()
        for table, rows in found["json"].items():
            assert found[name][table] == rows, (name, table)
    assert all(found["json"][topic] for topic in (ZONED, DERIVED, ANSWERS, EXAMPLES, "edges", "decisions"))


def test_what_crosses_the_zones_keeps_its_bytes_and_a_split_its_encoding(
    played: Mapping[str, Path], derived: Mapping[str, list[Outgoing]]
) -> None:
    for name, types in (("sent", {JSON, MESSAGEPACK}), ("json", {JSON}), ("packed", {MESSAGEPACK})):
        sent = {one.value for path in journal.files(played[name]) for one in journal.sent(path)}
        zoned = [record for record in derived[name] if record.topic == ZONED]
        assert {content_type_of(record.headers) for record in zoned} == types
        parts = [record for record in zoned if record.value not in sent]
        assert 0 < len(parts) < len(zoned) / 2, "the context changed inside a batch, and seldom"
        for record in zoned:
            batch = build.CODEC.decode(record.value, 0, content_type=content_type_of(record.headers))
            assert encode(batch) == record.value or record in parts
            assert batch.content_type == content_type_of(record.headers)
        made = [record for record in derived[name] if record.topic in {DERIVED, ANSWERS, EXAMPLES}]
        assert {content_type_of(record.headers) for record in made} == {JSON}
