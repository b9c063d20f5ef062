"""A live run on Apache Kafka, with link faults, litter and a worker killed midway, against its replay."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from click.testing import CliRunner, Result

from streams.cli.main import main
from streams.demo import Demo
from streams.events import journal
from streams.kafka.broker import EmbeddedBroker, free_port
from streams.kafka.reader import read_all
from streams.sealing.key_store import KeyStore
from streams.sealing.keys import Keys
from streams.sealing.sealed import is_sealed
from streams.topology import CAPTURED, EXAMPLES

pytestmark = pytest.mark.kafka
DEVICES = ["--scenario", "smoke", "--speed", "10", "--devices", "4", "--seed", "8"]


def run(*arguments: str) -> Result:
    """A command as a terminal runs it: its exit code and what it printed."""
    return CliRunner().invoke(main, arguments)


def answered(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON answer of a command."""
    role = ("--role", "privacy-officer") if arguments[0] in {"ask", "sql"} else ()
    result = run(*arguments, *role, "--json")
    assert result.exit_code in (0, 1), result.output
    assert result.stdout, repr(result.exception)
    return result.exit_code, json.loads(result.stdout.splitlines()[-1])


async def litter(broker: str) -> None:
    """Put what nobody can read among the batches and among the examples."""
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
        for topic in (CAPTURED, EXAMPLES):
            for value, headers in (
                (b"not JSON", []),
                (None, []),
                (b"\xff\x00", [("sightline-zone", b"public")]),
            ):
                await producer.send_and_wait(topic, value=value, key=b"g1", partition=0, headers=headers)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Two workers on four partitions, one killed while the devices send; everything is in the store."""
    node = EmbeddedBroker()
    node.start(tmp_path_factory.mktemp("kafka"), free_port())
    demo = Demo(tmp_path_factory.mktemp("live") / "store", "household", lambda _: None, node.address, 4)
    try:
        demo.start()
        own = ("--broker", str(demo.broker), "--keys", str(demo.keys))
        second = demo._spawn("second-worker", "streams.cli", "worker", *own)
        device = demo.play([*DEVICES, "--duration-s", "80"])
        time.sleep(4)
        demo.parts.remove(second)
        second.kill()
        asyncio.run(litter(str(demo.broker)))
        assert device.process.wait(90) == 0, device.last_line()
        demo.drain()
        # What was learned from the first session serves in the second.
        device = demo.play([*DEVICES, "--duration-s", "20"])
        assert device.process.wait(60) == 0, device.last_line()
        demo.drain()
        yield demo
    finally:
        demo.stop()
        node.stop()


def test_a_replay_of_what_kafka_holds_is_equal(lived: Demo, tmp_path: Path) -> None:
    code, result = answered(
        "replay",
        str(lived.journal),
        "--inputs",
        str(lived.store),
        "--broker",
        str(lived.broker),
        "--keys",
        str(lived.keys),
        "--compare",
        "--store",
        str(tmp_path / "store"),
        "--out",
        str(tmp_path / "out"),
    )
    assert result["lineage"]["differences"] == []
    assert (code, result["lineage"]["equal"], result["foreign"], result["unread"]) == (0, True, 3, [])
    tables = result["lineage"]["tables"]
    assert all(found["compared"] > 0 for found in tables.values()), tables
    assert tables["models"]["compared"] >= 4
    assert tables["rejected"]["compared"] > 6, "the link repeated batches, and there was litter"
    answers = [
        json.loads(line)
        for line in (tmp_path / "out" / "glasses.answers.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert {line["value"]["kind"] for line in answers} == {"answer"}
    assert {parent["stream"] for line in answers for parent in line["parents"]} >= {
        "voice-query",
        "intent-model",
    }
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"glasses.{name}.jsonl" for name in ("derived", "answers", "examples", "models")
    }


def test_no_word_of_an_example_is_on_the_topic_that_keeps_it_for_a_year(lived: Demo) -> None:
    on_topic = asyncio.run(read_all(str(lived.broker), EXAMPLES))
    sealed = [record for record in on_topic if is_sealed(record.headers)]
    assert len(sealed) == len(on_topic) - 3, "all but the litter"
    opened = asyncio.run(Keys(KeyStore(lived.keys)).opened(EXAMPLES, sealed))
    words = {json.loads(record.value or b"")["columns"]["utterance"][0] for record in opened}
    assert len(words) > 20
    asked = b"".join(sent.value for path in lived.journal.glob("*.jsonl") for sent in journal.sent(path))
    assert all(word.encode() in asked for word in words)
    assert not any(word.encode() in (record.value or b"") for record in on_topic for word in words)


def test_take_ups_and_the_order_of_examples_were_recorded_once(lived: Demo) -> None:
    places = 'count(DISTINCT (topic, "partition", "offset"))'
    _, found = answered(
        "sql", f"SELECT kind, count(*), {places} FROM inputs GROUP BY ALL", "--store", str(lived.store)
    )
    counts = {kind: (rows, places) for kind, rows, places in found["rows"]}
    always = {"consent-takeup", "example-order", "model-takeup", "policy", "policy-takeup"}
    # Whether a version is declined, and becomes a candidate, depends on what training read when.
    assert counts.keys() - {"model-candidate"} == always
    assert all(rows == places for rows, places in counts.values())
    _, served = answered(
        "sql",
        "SELECT count(DISTINCT \"partition\"), count(DISTINCT value) FROM inputs WHERE kind = 'model-takeup'",
        "--store",
        str(lived.store),
    )
    assert served["rows"][0][0] >= 2, "several partitions"
    assert served["rows"][0][1] >= 2, "several versions"
    _, named = answered(
        "sql",
        "SELECT string_agg(value, ' ' ORDER BY \"offset\") FROM inputs WHERE kind = 'example-order'",
        "--store",
        str(lived.store),
    )
    ids = named["rows"][0][0].split(" ")
    assert ids.count("-") == 3
    assert len(set(ids)) == len(ids) - 2, "each example was read once"


def test_acknowledgements_are_enough_for_what_the_devices_sent(lived: Demo) -> None:
    code, result = answered("replay", str(lived.journal), "--inputs", str(lived.store), "--compare")
    assert result["digests_of_sealed"] is False
    tables = result["lineage"]["tables"]
    assert {name for name, found in tables.items() if found["differ"] and name != "inputs"} == {"rejected"}
    assert (code, tables["rejected"]["differ"], result["unplaced"], result["store"]) == (1, 3, 0, None), (
        result["lineage"]["differences"]
    )
    assert all(
        "malformed" in said or "not in the replay" in said for said in result["lineage"]["differences"]
    )


def test_another_store_or_journal_is_a_sentence(lived: Demo, tmp_path: Path) -> None:
    journal, store = str(lived.journal), str(lived.store)
    for arguments, code, sentence in (
        ([journal, "--compare"], 2, "--compare is given without --inputs"),
        ([journal, "--broker", lived.broker], 2, "--broker is given without --inputs"),
        ([journal, "--inputs", str(tmp_path / "nowhere")], 3, "there is no store"),
        ([journal, "--inputs", store, "--store", store], 2, "a directory that is not empty"),
        ([journal, "--inputs", store, "--compare", "--out", store], 2, "name another with --out"),
        ([f"{journal}/g1.jsonl", "--inputs", store, "--compare"], 2, "The replay cannot go on"),
    ):
        result = run("replay", *arguments)
        assert (result.exit_code, sentence in result.stderr) == (code, True), result.output
    whole = ("replay", journal, "--inputs", store, "--broker", str(lived.broker), "--compare")
    told = run(*whole)
    assert (told.exit_code, "found sealed records, expected a key store" in told.stderr) == (2, True)
    told = run(*whole, "--keys", str(lived.keys))
    assert told.exit_code == 0
    assert re.search(
        r"lineage   events 0 differ of [\d,]+, edges 0 differ of [\d,]+, .*; equal\n", told.stdout
    )
    assert "3 records on glasses.captured are no batch of these journals" in told.stdout
