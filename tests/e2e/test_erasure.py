"""What `sightline demo --rights` does, step by step: a wearer is erased while all devices send.

Nothing of hers is used, opened or learned from afterwards, also of what her glasses bring later, and nothing
of the others is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from streams import clock
from streams.audit_log import AUDIT_LOG
from streams.cli.demo_rights import Rights, check, erased_devices, findings_of, say_told
from streams.cli.main import main
from streams.demo import Demo, Part
from streams.errors import InputError
from streams.events import journal
from streams.events.record import Received
from streams.kafka.broker import EmbeddedBroker, free_port
from streams.kafka.reader import read_all
from streams.ledger import run_ledger
from streams.models.pointer import holds
from streams.models.version import ids_of
from streams.queries.store import Store
from streams.rights.signing import PUBLIC
from streams.sealing.key_store import KeyStore
from streams.sealing.keys import Keys
from streams.sealing.sealed import unopened
from streams.topology import EXAMPLES, MODELS, REJECTED, ZONED
from streams.worker.models import known_models
from tests.e2e.exporting import asked, exported, ids_in, lines_of
from tests.e2e.fitting import digest_of
from tests.patience import PATIENCE_S
from tests.recovery.erasures import left_of
from tests.rights import receipts

pytestmark = pytest.mark.kafka
SCENARIO = ["--scenario", "smoke", "--speed", "10", "--seed", "8"]
DEVICE, WEARER, OTHERS = "g4", "w4", {"w1", "w2", "w3"}
Erased = tuple[Rights, dict[str, Any], dict[str, Any]]


#: Rows of the store that named her before the erasure, by table.
NAMED: dict[str, int] = {}
CAME_BACK_NS: list[int] = []
#: Values of examples as they were before the erasure.
COPIES: list[dict[str, Any]] = []
KNEW: set[int] = set()  #: versions of then that knew her


def opened(demo: Demo) -> list[dict[str, Any]]:
    """Values of the examples that open now, in the order of the topic."""
    with contextlib.closing(KeyStore(demo.keys)) as keys:
        some = asyncio.run(Keys(keys).opened(EXAMPLES, records(demo, EXAMPLES)))
    return [value_of(each) for each in some if not unopened(each.headers)]


def taken_out(demo: Demo) -> None:
    """Somebody takes out what the store has of her, which is on record."""
    out, of = demo.store.parent / "hers.csv", ["--store", str(demo.store), "--role", "privacy-officer"]
    statement = f"SELECT kind FROM events WHERE wearer = '{WEARER}' OR source = 'g4'"
    result = CliRunner().invoke(main, ["sql", statement, *of, "--format", "csv", "--out", str(out)])
    assert result.exit_code == 0, result.output


def records(demo: Demo, topic: str) -> list[Received]:
    return list(asyncio.run(read_all(demo.broker, topic)))


#: What her device sent until the exports, line by line.
SENT: list[dict[str, Any]] = []


def exported_before(demo: Demo) -> None:
    """Export her data while nobody sends, with a copy of her device's journal."""
    SENT[:] = [json.loads(line) for line in (demo.journal / f"{DEVICE}.jsonl").read_bytes().splitlines()]
    for form in ("access", "portability"):
        exported(demo, WEARER, form, f"before-{form}")


@pytest.fixture(scope="module")
def erased(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Erased]:
    """What is planned, and what is done, in the middle of a session of four wearers."""
    node = EmbeddedBroker()
    node.start(tmp_path_factory.mktemp("kafka"), free_port())
    demo = Demo(tmp_path_factory.mktemp("live") / "store", "household", lambda _: None, node.address, 4)

    def play(arguments: Sequence[str]) -> Part:
        device = demo.play(arguments)
        assert device.process.wait(PATIENCE_S) == 0, device.last_line()
        return device

    try:
        demo.start()
        rights = Rights(demo, play)
        # In the second part, versions that learned from her answer the others.
        for duration_s in (40, 20):
            rights.all_play(SCENARIO, duration_s)
            demo.drain()
        exported_before(demo)
        plan = asked(demo, "rights", "erase", "--wearer", WEARER, "--dry-run", "--no-store")
        NAMED.update(left_of(demo.store, WEARER))
        COPIES[:] = opened(demo)
        side, _ = asyncio.run(known_models(demo.broker))
        KNEW.update(of for of, each in side.models.versions.items() if WEARER in each.manifest.wearers)
        taken_out(demo)
        rights.withdraw()
        eraser = rights.erase()
        # In the demo the others alone play meanwhile; here she sends on.
        rights.all_play(SCENARIO, 60)
        done = rights.finish(eraser)
        # However long that took: what comes afterwards comes after it.
        rights.others_play(SCENARIO, 40)
        CAME_BACK_NS.append(clock.now_ns())
        assert rights.come_back(SCENARIO)
        yield rights, plan, done
    finally:
        demo.stop()
        node.stop()


def stopped_ns(demo: Demo) -> int:
    with contextlib.closing(KeyStore(demo.keys)) as keys:
        [erasure] = keys.erasures.all()
    return erasure.steps["stopped"].at_ns


def test_the_plan_says_what_is_done_and_changes_nothing(erased: Erased) -> None:
    _, plan, done = erased
    assert plan["keys"] >= 1
    assert plan["model_versions_that_learned_from_it"] != "none"
    assert plan["serves"] >= plan["would_serve"] >= 1
    assert done["state"] == "finished"
    assert done["keys destroyed"] >= 1
    assert done["model versions withdrawn"] >= 1


def test_what_she_captured_before_is_refused_from_then_on_and_others_go_on(erased: Erased) -> None:
    """The oracle is the broker's time of each record, and what each value says of itself."""
    demo = erased[0].demo
    stop_ns = stopped_ns(demo)
    after = [value_of(each) for each in records(demo, ZONED) if each.timestamp > stop_ns // 1_000_000 + 2_000]
    assert {value["wearer_id"] for value in after} >= OTHERS, "others send on"
    assert not [value for value in after if value["wearer_id"] == WEARER and value["t0_ns"] <= stop_ns]


def value_of(record: Received) -> dict[str, Any]:
    return dict(json.loads(record.value or b""))


def test_her_examples_cannot_be_opened_by_anybody_and_those_of_others_can(erased: Erased) -> None:
    demo = erased[0].demo
    sealed = records(demo, EXAMPLES)
    with contextlib.closing(KeyStore(demo.keys)) as keys:
        opened = asyncio.run(Keys(keys).opened(EXAMPLES, sealed))
    states = [unopened(record.headers) for record in opened]
    readable = [each for each, state in zip(opened, states, strict=True) if not state]
    assert {value_of(each)["wearer_id"] for each in readable} == OTHERS
    assert set(states) == {"", "erased"}


def test_the_model_that_serves_learned_nothing_from_her_and_was_made_after(erased: Erased) -> None:
    demo = erased[0].demo
    side, _ = asyncio.run(known_models(demo.broker))
    serving = side.models.version(side.models.serving)
    assert WEARER not in serving.manifest.wearers
    newer = [each for each in side.models.versions.values() if each.trained_ns > stopped_ns(demo)]
    assert newer, "a run was owed"
    assert not [each for each in newer if WEARER in each.manifest.wearers]


def test_the_digest_of_each_refitted_version_is_that_of_a_fit_of_its_manifest_without_hers(
    erased: Erased,
) -> None:
    """The copy has hers too, as it was made before; the manifests say which examples were learned."""
    demo = erased[0].demo
    side, _ = asyncio.run(known_models(demo.broker))
    versions = [each for each in side.models.versions.values() if each.trained_ns > stopped_ns(demo)]
    copied = {f"{copy['device_id']}/{copy['stream']}/{copy['first']}": copy for copy in COPIES + opened(demo)}
    assert {copy["wearer_id"] for copy in COPIES} == {WEARER, *OTHERS}
    assert versions
    for version in versions:
        learned = set(ids_of(version.manifest.admitted))
        lesson = [copied[each] for each in copied if each in learned]
        assert {copy["wearer_id"] for copy in lesson} <= OTHERS
        assert len(lesson) == len(learned) > 0
        assert digest_of(lesson) == version.model.digest


def test_training_knows_which_versions_were_withdrawn_and_what_others_made_with_them_is_counted(
    erased: Erased,
) -> None:
    """The oracle are the copies of before, and the manifests of the versions."""
    demo, done = erased[0].demo, erased[2]
    side, _ = asyncio.run(known_models(demo.broker))
    assert side.models.rollback is not None
    assert KNEW
    assert all(holds(side.models.rollback.withdrawn, number) for number in KNEW)
    of_others = [copy for copy in COPIES if copy["wearer_id"] in OTHERS]
    made = [copy for copy in of_others if copy["columns"]["model_version"][0] in KNEW]
    assert 0 < len(made) <= done["examples of others made with them"]


def test_their_values_are_taken_off_the_topic_and_the_numbers_and_the_others_stay(erased: Erased) -> None:
    demo = erased[0].demo
    side, _ = asyncio.run(known_models(demo.broker))
    assert set(side.models.withdrawn) >= KNEW
    assert {wearer for each in side.models.withdrawn.values() for wearer in each.wearers} <= OTHERS
    last = {each.key: each.value or b"" for each in records(demo, MODELS)}
    assert not [key for key, value in last.items() if f'"{WEARER}"'.encode() in value]


def test_the_store_took_in_all_lineage_of_what_training_did(erased: Erased) -> None:
    demo = erased[0].demo
    side, _ = asyncio.run(known_models(demo.broker))
    with Store.open(demo.store) as opened:
        assert opened.sql("SELECT DISTINCT reason FROM rejected WHERE topic = 'glasses.lineage'").rows == []
        known = {number for (number,) in opened.sql("SELECT version FROM models").rows}
    assert known == {*side.models.versions, *side.models.withdrawn}


def test_what_her_glasses_bring_later_is_refused_whole_with_the_reason(erased: Erased) -> None:
    """The oracles are her journal, which knows when each batch was sent, and the topic of refusals."""
    rights, *_ = erased
    demo, stop_ns = rights.demo, stopped_ns(erased[0].demo)
    told = rights.told()
    refused = [record for record in records(demo, REJECTED) if record.key == DEVICE.encode()]
    reasons = {dict(each.headers)["sightline-reason"] for each in refused if rule_of(each) == b"erased"}
    [reason] = reasons
    assert b"refused whenever it comes" in (reason or b"")
    by_id = {dict(each.headers)["ce_id"]: rule_of(each) for each in refused}
    late = [each for each in journal.sent(demo.journal / f"{DEVICE}.jsonl") if each.sent_ns > CAME_BACK_NS[0]]
    assert sum(each.count for each in late) == told["events_sent"] == told["events_refused"] > 0
    assert {by_id[each.id.encode()] for each in late} == {b"erased"}
    assert all(each.timestamp_ms < stop_ns // 1_000_000 for each in late)


def rule_of(record: Received) -> bytes | None:
    return dict(record.headers).get("sightline-rule")


def test_nothing_of_the_others_is_missing_or_there_twice(erased: Erased) -> None:
    demo = erased[0].demo
    result = run_ledger(demo.journal, demo.broker, demo.store, erased=erased_devices(demo))
    assert (result["clean"], result["findings"]) == (True, [])
    assert (result["events_missing"], result["events_twice"], result["erasures"]) == (0, 0, 1)
    assert result["topics"] is not None
    assert (result["topics"]["events_missing"], result["topics"]["events_twice"]) == (0, 0)
    with_her = run_ledger(demo.journal, None, demo.store)
    assert with_her["events_missing"] > 0, "what she sent is in the store no more"
    assert with_her["events_sent"] > result["events_sent"] > 0


def test_the_demo_says_what_happened(erased: Erased, capsys: pytest.CaptureFixture[str]) -> None:
    rights, _, done = erased
    told = rights.told()
    assert (told["receipt_valid"], findings_of(told)) == (True, [])
    assert told["rows_taken_out"] == done["rows taken out"] >= NAMED["events"]
    assert 0 <= told["stopped_s"] <= told["keys_destroyed_s"] <= told["model_without_s"]
    assert told["withdrawn"] <= told["requested"]
    say_told(told)
    said = capsys.readouterr().out
    assert f"came back          {told['events_sent']:,} events, {told['events_sent']:,} refused" in said
    assert f"receipt            {rights.receipt}, valid" in said
    assert len(findings_of({**told, "events_refused": 0, "receipt_valid": False})) == 2
    rights.wearer = "w1"
    assert not rights.told()["receipt_valid"], "it is not of somebody else"
    rights.wearer = WEARER
    with pytest.raises(InputError, match=f"erased the wearer of {DEVICE}, expected a store on which nobody"):
        check(rights.demo)


def test_no_row_of_the_store_names_her_but_what_came_again(erased: Erased) -> None:
    demo = erased[0].demo
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


def test_the_erasure_is_listed_without_the_name(erased: Erased) -> None:
    rights, _, done = erased
    demo = rights.demo
    [shown] = asked(demo, "rights", "show")["erasures"]
    assert shown == {name: value for name, value in done.items() if name in shown}
    assert WEARER not in json.dumps(shown)


def test_two_programs_believe_the_receipt_and_it_names_nobody(erased: Erased) -> None:
    rights, _, done = erased
    demo = rights.demo
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
    assert levels["store"] == levels["reads"] == "rewritten"
    assert not re.search(rb"\b(w4|g4)\b", path.read_bytes())


def test_who_read_what_stays_and_neither_it_nor_a_log_names_her(erased: Erased) -> None:
    rights, _, done = erased
    demo = rights.demo
    lines = (demo.store / AUDIT_LOG).read_bytes().splitlines()
    assert [each.get("erased") for each in map(json.loads, lines)][:1] == [[done["erasure"]]]
    # The device's own has what the device says of itself.
    logs = [(demo.run / f"{name}.log").read_bytes() for name in ("worker", "snapshots")]
    assert not [name for text in (lines[0], *logs) for name in re.findall(rb"\b(?:w4|g4)\b", text)]


#: Zones of the scenario in which somebody else is near, and what no zone may hold.
OTHERS_NEAR = {"bystander-present", "child-near", "unlit-camera"}


def test_her_exports_have_what_her_device_sent_and_its_words(erased: Erased) -> None:
    """The oracle is the device's journal, with the zones that its scenario says in spite of any policy."""
    demo = erased[0].demo
    access, portability = (lines_of(demo.store.parent / f"before-{of}") for of in ("access", "portability"))
    kinds = {line["value"]: None for line in SENT if line["line"] == "sent"}
    sent = ids_in((line for line in SENT if line["line"] == "sent"), "n")
    nowhere = ids_in((line for line in SENT if line.get("zone") == "unconfigured"), "n")
    near = ids_in((line for line in SENT if line.get("zone") in OTHERS_NEAR), "n")
    unlit = ids_in((line for line in SENT if line.get("zone") == "unlit-camera"), "n")
    captured = {line["kind"] for line in map(json.loads, kinds)}
    told = ids_in((line for kind in captured for line in access.get(kind, ())), "n")
    assert told == sent - nowhere - unlit
    provided = ids_in((line for kind in captured for line in portability.get(kind, ())), "n")
    assert provided == sent - nowhere - near
    words = {
        text
        for value in map(json.loads, kinds)
        if value["kind"] == "voice_query"
        for text in value["columns"]["text"]
    }
    assert words
    assert {text for line in access["voice_query"] for text in line["columns"]["text"]} == words
    assert {line["columns"]["utterance"][0] for line in access["example"]} <= words
    assert access["example"], "her sealed examples were opened"
    assert {line["utterance"] for line in portability["utterances"]} <= words
    page = (demo.store.parent / "before-access" / "access.html").read_text()
    assert any(text in page for text in words)
    assert [line["number"] for line in portability["consents"]] == [1]


def test_her_exports_name_nobody_else(erased: Erased) -> None:
    demo = erased[0].demo
    for form in ("access", "portability"):
        for path in (demo.store.parent / f"before-{form}").rglob("*"):
            if path.is_file():
                assert re.findall(rb"\b(?:w1|w2|w3|g1|g2|g3)\b", path.read_bytes()) == [], path
    with contextlib.closing(KeyStore(demo.keys)) as keys:
        releases = {(each.principal, each.purpose) for each in keys.releases()}
    assert ("sightline rights export (privacy-officer)", "dpv:RightsFulfilment") in releases


def test_an_export_after_the_erasure_says_so_and_has_nothing_of_before(erased: Erased) -> None:
    demo, done = erased[0].demo, erased[2]
    stop_ns = stopped_ns(demo)
    before = lines_of(demo.store.parent / "before-access")
    out, of = exported(demo, WEARER, "access", "after-access")
    assert [each["erasure"] for each in of["erased"]] == [done["erasure"]]
    if out.exists():
        told = lines_of(out)
        times = [line.get("t0_ns", stop_ns + 1) for lines in told.values() for line in lines]
        assert min(times, default=stop_ns + 1) > stop_ns
        events = json.loads((out / "access.json").read_bytes())["rows"]["events"]
        at = events["columns"].index("t_first_ns")
        assert not [row for row in events["rows"] if row[at] <= stop_ns]
        asked_before = {line["first"] for line in before["voice_query"]}
        assert asked_before.isdisjoint(line["first"] for line in told.get("voice_query", ()))
