"""docs/topics.md and docs/schemas say what is on the topics today, and the example program reads them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from docs import make
from docs.schema import schema, texts
from streams.errors import MalformedError
from streams.events import journal
from streams.events.codec import encode
from streams.events.headers import envelope, tag
from streams.events.record import Outgoing
from streams.events.schema import DRAFT
from streams.events.shipped import SHIPPED
from streams.feedback.forms import DENIALS
from streams.ledger.accounts import COLLISION, EARLY
from streams.policy.load import load
from streams.policy.source import shipped_names
from streams.policy.versions import record_of
from streams.topology import ANSWERS, DERIVED, EXAMPLES, ZONED
from tests import build
from tests.docs.check import faults
from tests.patience import PATIENCE_S

TOPIC = "docs-zoned"


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Outgoing]]:
    """Journal of the first scenario that the docs take records from, and what the pipeline wrote."""
    return make.replayed(make.SCENARIOS[0], tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def played(
    first: tuple[Path, list[Outgoing]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[journal.Sent], list[Outgoing]]:
    """What devices sent and what the pipeline wrote, in every scenario that the docs take records from."""
    sent: list[journal.Sent] = []
    records: list[Outgoing] = []
    others = (make.replayed(scenario, tmp_path_factory.mktemp(scenario)) for scenario in make.SCENARIOS[1:])
    for path, written in (first, *others):
        sent += [one for file in journal.files(path) for one in journal.sent(file)]
        records += written
    return sent, records


def test_the_docs_are_what_is_made_today(played: tuple[list[journal.Sent], list[Outgoing]]) -> None:
    made = make.files(make.shown(played[1], SHIPPED), SHIPPED)
    stale = [
        path.name
        for path, content in made.items()
        if not path.exists() or path.read_text(encoding="utf-8") != content
    ]
    assert stale == [], "run `python -m docs.make`"
    assert {path for path in made if path.suffix == ".json"} == set((make.HERE / "schemas").iterdir())


def test_every_value_fits_its_schema(played: tuple[list[journal.Sent], list[Outgoing]]) -> None:
    schemas = {
        kind.event_type: orjson.loads((make.HERE / "schemas" / f"{kind.name}.json").read_bytes())
        for kind in SHIPPED.values()
    }
    checked: Counter[str] = Counter()
    sent, records = played
    for headers, value in [
        *((one.headers, one.value) for one in sent),
        *((one.headers, one.value) for one in records),
    ]:
        event_type = dict(headers).get("ce_type", b"").decode()
        if event_type:
            assert list(faults(orjson.loads(value or b""), schemas[event_type])) == []
            checked[event_type] += 1
    assert checked.keys() == {
        kind.event_type for kind in SHIPPED.values() if kind.name not in make.NOT_PLAYED
    }


def test_every_header_is_explained(played: tuple[list[journal.Sent], list[Outgoing]]) -> None:
    names = {name for record in played[1] for name, _ in record.headers}
    assert names <= set(make.header_names())
    text = (make.HERE / "topics.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in text for name in names)


def test_the_page_tells_our_records_from_others(
    first: tuple[Path, list[Outgoing]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, records = first
    arguments = ["replay", str(path), "--store", str(tmp_path / "s")]
    subprocess.run([sys.executable, "-m", "streams.cli", *arguments], check=True, capture_output=True)
    page = (make.HERE / "topics.md").read_text(encoding="utf-8")
    said: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], said)
    monkeypatch.chdir(tmp_path / "s")
    seen = set()
    for record in records:
        headers = {name: value.decode(errors="replace") for name, value in record.headers}
        of = (record.topic, headers.get("ce_type"))
        if record.topic in {ZONED, DERIVED, ANSWERS, EXAMPLES} and of not in seen:
            seen.add(of)
            assert said["ours"](headers["ce_id"], record.value) == (
                headers["sightline-zone"],
                headers["sightline-label"],
                record.partition,
            )
            assert said["ours"](headers["ce_id"], (record.value or b"") + b" ") is None
            assert said["ours"](headers["ce_id"] + "0000000", record.value) is None
    assert {topic for topic, _ in seen} == {ZONED, DERIVED, ANSWERS, EXAMPLES}


def test_the_page_says_a_label_in_words_without_sightline(
    played: tuple[list[journal.Sent], list[Outgoing]],
) -> None:
    page = (make.HERE / "topics.md").read_text(encoding="utf-8")
    said: dict[str, Any] = {}
    exec(page.partition("A label in words")[2].partition("```python\n")[2].partition("```")[0], said)
    policies = {policy.version: policy for policy in map(load, shipped_names())}
    labels = {
        dict(record.headers)["sightline-label"].decode()
        for record in played[1]
        if "sightline-label" in dict(record.headers)
    }
    labels |= {f"{one.version}:{packed.hex()}" for one in policies.values() for packed in one.labels.values()}
    assert len(labels) > 100
    for label in labels:
        version, _, packed = label.partition(":")
        vocabulary = policies[version].vocabulary
        # As whoever reads the topic has it: out of the record.
        text = orjson.loads(record_of(policies[version])[1])["text"]
        told = said["words"](label, text)
        assert (
            told.pop("retention_days")
            == vocabulary.retention_days[vocabulary.retention(bytes.fromhex(packed))]
        )
        assert {name: tuple(words) for name, words in told.items()} == vocabulary.says(bytes.fromhex(packed))


def test_the_page_reads_a_column_of_a_packed_value(played: tuple[list[journal.Sent], list[Outgoing]]) -> None:
    page = (make.HERE / "topics.md").read_text(encoding="utf-8")
    said: dict[str, Any] = {}
    exec(page.partition("## Packed values")[2].partition("```python\n")[2].partition("```")[0], said)
    read, blinks, shown = Counter[str](), 0, Counter[bytes]()
    for record in played[1]:
        event_type = dict(record.headers).get("ce_type", b"")
        shown[event_type] += 1
        if record.topic == ZONED and shown[event_type] <= 50:
            made = build.CODEC.decode(record.value, 0)
            kind, packed = SHIPPED[made.kind], build.CODEC.packed(made)
            for name in [*kind.wire, *(name for name, wanted in kind.columns.items() if wanted == "flag")]:
                numbers = said["column"](encode(packed), name, kind.wire.get(name, "u1"))
                expected = [np.nan if value is None else value for value in packed.columns[name]]
                np.testing.assert_array_equal(numbers, expected)
                read[kind.columns[name]] += 1
                blinks += None in made.columns[name]
    assert blinks
    assert set(read) == {"number", "number?", "flag"}


def test_the_page_lists_the_rules_by_which_something_is_rejected() -> None:
    known = {*EARLY, COLLISION, "repeat", "clock", "malformed", "limits", "poisoned"}
    feedback = {rule for rule, _ in DENIALS.values()}
    rules = texts()["rules"].keys()
    assert known | feedback | {"another-wearer", "consent: …"} <= rules
    text = (make.HERE / "topics.md").read_text(encoding="utf-8")
    assert all(f"| `{rule}` |" in text for rule in rules)


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "another kind": lambda value: value.update(kind="gait"),
    "a column less": lambda value: value["columns"].popitem(),
    "a column more": lambda value: value["columns"].update(mood=["good"]),
    "a text among numbers": lambda value: value["columns"]["accel_x_mps2"].__setitem__(3, "fast"),
    "a word that is not known": lambda value: value["context"].update(place="moon"),
    "a context without consent": lambda value: value["context"].pop("consent"),
    "no time": lambda value: value.pop("t0_ns"),
    "no events": lambda value: value.update(n=0),
    "a bad name": lambda value: value.update(device_id="G 1"),
    "a flag for a number": lambda value: value.update(first=True),
}


def _codec_refuses(value: bytes) -> bool:
    try:
        build.CODEC.decode(value, 0)
    except MalformedError:
        return True
    return False


@pytest.mark.parametrize("what", CHANGES)
def test_the_schema_refuses_what_the_codec_refuses(what: str) -> None:
    value = orjson.loads(build.record(build.batch(), 0).value or b"")
    assert list(faults(value, schema(SHIPPED["imu"]))) == []
    CHANGES[what](value)
    assert list(faults(value, schema(SHIPPED["imu"])))
    assert _codec_refuses(orjson.dumps(value))


def test_the_schemas_say_what_they_are() -> None:
    for kind in SHIPPED.values():
        made = schema(kind)
        assert (made["$schema"], made["title"]) == (DRAFT, kind.event_type)
        columns = made["properties"].get("columns", {})
        assert set(kind.columns) == set(columns.get("properties", ()))
        assert set(kind.columns) - set(kind.later) == set(columns.get("required", ()))


async def _write(broker: str) -> list[str]:
    """Write two batches of two zones, in a transaction each; the second of the wanted zone is taken back.

    Returns the trace ids.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    await admin.create_topics([NewTopic(TOPIC, 2, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=broker, transactional_id="docs", compression_type="zstd")
    await producer.start()
    traces = []
    for i, (zone, commit) in enumerate(
        (("clinic", True), ("public", False), ("clinic", True), ("public", True))
    ):
        made = build.batch(first=20 * i)
        headers = [*envelope(made), *tag(zone, "policy:00")]
        traces.append(dict(headers)["traceparent"].decode())
        await producer.begin_transaction()
        await producer.send_and_wait(TOPIC, b"\xff no JSON", b"g1", partition=i % 2, headers=headers)
        await (producer.commit_transaction() if commit else producer.abort_transaction())
    bare = [header for header in headers if header[0] != "traceparent"]
    await producer.begin_transaction()
    await producer.send_and_wait(TOPIC, b"", b"g1", partition=1, headers=bare)
    await producer.commit_transaction()
    await producer.stop()
    return traces


@pytest.mark.kafka
def test_the_example_reads_one_zone_by_its_header_and_continues_the_trace(broker: str) -> None:
    traces = asyncio.run(_write(broker))
    program = Path(make.HERE, "examples", "read_one_zone.py")
    said = subprocess.run(
        [
            sys.executable,
            str(program),
            "--broker",
            broker,
            "--topic",
            TOPIC,
            "--zone",
            "public",
            "--most",
            "2",
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    line, bare = said.stdout.splitlines()
    assert bare.startswith("g1/imu-right/60 ")
    assert bare.endswith(" -")
    assert line.startswith("g1/imu-right/60 glasses.imu.v1 20 events from 60 by 1 9 bytes at 1:")
    _, trace, span, flags = line.split()[-1].split("-")
    assert (trace, flags) == (traces[3].split("-")[1], "01")
    assert span not in traces[3]
    assert len(span) == 16
