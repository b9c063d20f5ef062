"""A wearer is erased while all devices send: nothing of hers is used, opened or learned from afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec import structs

from device_sim.kafka import partition_of
from streams.cli.main import main
from streams.demo import Demo
from streams.events.record import Outgoing, Received
from streams.events.runs import Run
from streams.kafka.broker import EmbeddedBroker, free_port
from streams.kafka.publish import publish_now
from streams.kafka.reader import read_all
from streams.models.intent import fit
from streams.models.version import ids_of
from streams.queries.store import Store
from streams.rights.signing import PUBLIC
from streams.sealing.key_store import KeyStore
from streams.sealing.keys import Keys
from streams.sealing.sealed import unopened
from streams.topology import CAPTURED, EXAMPLES, REJECTED, ZONED
from streams.training.lesson import Lesson
from streams.training.seed import licensed
from streams.worker.models import known_models
from tests import build
from tests.recovery.erasures import left_of
from tests.rights import receipts

pytestmark = pytest.mark.kafka
DEVICES = ["--scenario", "smoke", "--speed", "10", "--devices", "4", "--seed", "8"]
WEARER, OTHERS = "w1", {"w2", "w3", "w4"}


def asked(demo: Demo, *arguments: str) -> dict[str, Any]:
    """JSON answer of a command about the topics and keys of a demo."""
    where = ("--broker", str(demo.broker)) if arguments[1] == "erase" else ()
    result = CliRunner().invoke(main, [*arguments, *where, "--keys", str(demo.keys), "--json"])
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout.splitlines()[-1]))


#: Rows of the store that named her before the erasure, by table.
NAMED: dict[str, int] = {}
#: Values of examples as they were before the erasure.
COPIES: list[dict[str, Any]] = []


def opened(demo: Demo) -> list[dict[str, Any]]:
    """Values of the examples that open now, in the order of the topic."""
    with contextlib.closing(KeyStore(demo.keys)) as keys:
        some = asyncio.run(Keys(keys).opened(EXAMPLES, records(demo, EXAMPLES)))
    return [value_of(each) for each in some if not unopened(each.headers)]


def records(demo: Demo, topic: str) -> list[Received]:
    return list(asyncio.run(read_all(demo.broker, topic)))


@pytest.fixture(scope="module")
def erased(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Demo, dict[str, Any], dict[str, Any]]]:
    """What is planned, and what is done, in the middle of a session of four wearers."""
    node = EmbeddedBroker()
    node.start(tmp_path_factory.mktemp("kafka"), free_port())
    demo = Demo(tmp_path_factory.mktemp("live") / "store", "household", lambda _: None, node.address, 4)
    try:
        demo.start()
        device = demo.play([*DEVICES, "--duration-s", "60"])
        assert device.process.wait(120) == 0, device.last_line()
        demo.drain()
        device = demo.play([*DEVICES, "--duration-s", "80"])
        time.sleep(3)
        plan = asked(demo, "rights", "erase", "--wearer", WEARER, "--dry-run", "--no-store")
        NAMED.update(left_of(demo.store, WEARER))
        COPIES[:] = opened(demo)
        receipt = ("--receipt", str(demo.store.parent / "receipt.json"))
        done = asked(demo, "rights", "erase", "--wearer", WEARER, "--store", str(demo.store), *receipt)
        assert device.process.wait(90) == 0, device.last_line()
        # However long that took: what comes afterwards comes after it.
        device = demo.play([*DEVICES, "--duration-s", "40"])
        assert device.process.wait(90) == 0, device.last_line()
        demo.drain()
        yield demo, plan, done
    finally:
        demo.stop()
        node.stop()


def stopped_ns(demo: Demo) -> int:
    with contextlib.closing(KeyStore(demo.keys)) as keys:
        [erasure] = keys.erasures.all()
    return erasure.steps["stopped"].at_ns


def test_the_plan_says_what_is_done_and_changes_nothing(
    erased: tuple[Demo, dict[str, Any], dict[str, Any]],
) -> None:
    _, plan, done = erased
    assert plan["keys"] >= 1
    assert plan["model_versions_that_learned_from_it"] != "none"
    assert plan["serves"] >= plan["would_serve"] >= 1
    assert done["state"] == "finished"
    assert done["keys destroyed"] >= 1
    assert done["model versions withdrawn"] >= 1


def test_what_she_captured_before_is_refused_from_then_on_and_others_go_on(
    erased: tuple[Demo, dict[str, Any], dict[str, Any]],
) -> None:
    """The oracle is the broker's time of each record, and what each value says of itself."""
    demo, *_ = erased
    stop_ns = stopped_ns(demo)
    after = [value_of(each) for each in records(demo, ZONED) if each.timestamp > stop_ns // 1_000_000 + 2_000]
    assert {value["wearer_id"] for value in after} >= OTHERS, "others send on"
    assert not [value for value in after if value["wearer_id"] == WEARER and value["t0_ns"] <= stop_ns]


def value_of(record: Received) -> dict[str, Any]:
    return dict(json.loads(record.value or b""))


def test_her_examples_cannot_be_opened_by_anybody_and_those_of_others_can(
    erased: tuple[Demo, dict[str, Any], dict[str, Any]],
) -> None:
    demo, *_ = erased
    sealed = records(demo, EXAMPLES)
    with contextlib.closing(KeyStore(demo.keys)) as keys:
        opened = asyncio.run(Keys(keys).opened(EXAMPLES, sealed))
    states = [unopened(record.headers) for record in opened]
    readable = [each for each, state in zip(opened, states, strict=True) if not state]
    assert {value_of(each)["wearer_id"] for each in readable} == OTHERS
    assert set(states) == {"", "erased"}


def test_the_model_that_serves_learned_nothing_from_her_and_was_made_after(
    erased: tuple[Demo, dict[str, Any], dict[str, Any]],
) -> None:
    demo, *_ = erased
    side, _ = asyncio.run(known_models(demo.broker))
    serving = side.models.version(side.models.serving)
    assert WEARER not in serving.manifest.wearers
    newer = [each for each in side.models.versions.values() if each.trained_ns > stopped_ns(demo)]
    assert newer, "a run was owed"
    assert not [each for each in newer if WEARER in each.manifest.wearers]


def test_its_digest_is_that_of_a_fit_of_the_same_examples_without_hers(
    erased: tuple[Demo, dict[str, Any], dict[str, Any]],
) -> None:
    """The copy has hers too, as it was made before; the manifest says which examples were learned."""
    demo, *_ = erased
    side, _ = asyncio.run(known_models(demo.broker))
    version = max(side.models.versions.values(), key=lambda each: each.version)
    learned = set(ids_of(version.manifest.admitted))
    copied = {f"{copy['device_id']}/{copy['stream']}/{copy['first']}": copy for copy in COPIES + opened(demo)}
    lesson = [copied[each] for each in copied if each in learned]
    assert {copy["wearer_id"] for copy in COPIES} == {WEARER, *OTHERS}
    assert {copy["wearer_id"] for copy in lesson} <= OTHERS
    assert len(lesson) == len(learned) > 0

    def column(name: str) -> list[Any]:
        return [copy["columns"][name][0] for copy in lesson]

    nobody = Lesson.of_nobody(licensed().seed.pairs)
    whole = Lesson(
        [*nobody.pairs, *zip(column("utterance"), column("intent"), strict=True)],
        [*nobody.wearers, *(copy["wearer_id"] for copy in lesson)],
        [*nobody.devices, *(copy["device_id"] for copy in lesson)],
        [*nobody.agreements, *(1.0 if share is None else share for share in column("agreement"))],
    )
    assert fit(whole.pairs, whole.weights).digest == version.model.digest


def test_a_batch_of_before_that_comes_again_is_refused_with_the_reason(
    erased: tuple[Demo, dict[str, Any], dict[str, Any]],
) -> None:
    demo, *_ = erased
    old = next(each for each in records(demo, CAPTURED) if value_of(each)["wearer_id"] == WEARER)
    batch = build.CODEC.decode(old.value, 0, old.timestamp * 1_000_000)
    # Under numbers that never came, as from a device that had held it back.
    held = build.record(structs.replace(batch, run=Run(10**6, 1, batch.run.count)), 0)
    partition = partition_of(batch.source, 4)
    again = Outgoing(CAPTURED, partition, held.key or b"", held.value, tuple(held.headers), held.timestamp)
    asyncio.run(publish_now(demo.broker, [again]))
    demo.drain()
    refused = [dict(each.headers) for each in records(demo, REJECTED)]
    [one] = [each for each in refused if each["ce_id"] == f"{batch.source}/{batch.stream}/1000000".encode()]
    assert one["sightline-rule"] == b"erased"
    assert b"refused whenever it comes" in one["sightline-reason"]


def test_no_row_of_the_store_names_her_but_what_came_again(
    erased: tuple[Demo, dict[str, Any], dict[str, Any]],
) -> None:
    demo, *_ = erased
    assert {"events", "decisions", "zone_runs"} <= NAMED.keys()
    stop_ns = stopped_ns(demo)
    with Store.open(demo.store) as opened:
        before = opened.sql(
            f"SELECT count(*) FROM events WHERE wearer = '{WEARER}' AND t_first_ns <= {stop_ns}"
        ).rows
        others = opened.sql(f"SELECT count(DISTINCT wearer) FROM events WHERE wearer <> '{WEARER}'").rows
        rows = opened.sql("SELECT rows, absent_ns > rewritten_ns FROM erasures").rows
    assert before[0][0] == 0
    assert others[0][0] == len(OTHERS) + 1, "models are nobody's"
    [(count, absent)] = rows
    assert absent
    assert count >= NAMED["events"]


def test_the_erasure_is_listed_without_the_name(
    erased: tuple[Demo, dict[str, Any], dict[str, Any]],
) -> None:
    demo, _, done = erased
    [shown] = asked(demo, "rights", "show")["erasures"]
    assert shown == {name: value for name, value in done.items() if name in shown}
    assert WEARER not in json.dumps(shown)


def test_two_programs_believe_the_receipt_and_it_names_nobody(
    erased: tuple[Demo, dict[str, Any], dict[str, Any]],
) -> None:
    demo, _, done = erased
    path, key = Path(done["receipt"]), demo.keys / PUBLIC
    of = ("--subject", WEARER, "--salt", done["salt for the wearer"])
    assert asked(demo, "rights", "verify", str(path), *of)["valid"]
    program = [
        sys.executable,
        str(receipts.EXAMPLES / "verify_receipt.py"),
        str(path),
        "--key",
        str(key),
        *of,
    ]
    run = subprocess.run(program, capture_output=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    levels = {each["place"]: each["level"] for each in json.loads(path.read_bytes())["receipt"]["places"]}
    assert levels["glasses.examples"] == "unreadable"
    assert levels["store"] == "rewritten"
    assert not re.search(rb"\b(w1|g1)\b", path.read_bytes())
