"""Every command and every option that `--help` names is run; one without a sample in `samples.py` fails."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pty
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import orjson
import pytest
from aiokafka import AIOKafkaProducer
from click.testing import CliRunner

from device_sim.glasses import Glasses
from streams import clock
from streams.connection import connect
from streams.events.headers import rfc3339
from streams.kafka.broker import EmbeddedBroker, free_port
from streams.kafka.reader import read_all
from streams.policy.load import load
from streams.policy.policy import DAY_NS
from streams.sealing.key_store import KeyStore
from tests.cli.running import (
    PROGRAMS,
    ROOT,
    TREE,
    options,
    path_of,
    run,
    run_until_stopped,
    staying,
)
from tests.cli.samples import ALONE, DEMOS, LIVE, PROCESSES, SNAPSHOTS, Sample
from tests.kafka.conftest import create
from tests.kafka.world import until_all_is_read
from tests.patience import PATIENCE_S

OFFICER = "--role privacy-officer"


def test_every_command_and_every_option_has_a_sample() -> None:
    unused = {path: options(command) for path, command in TREE.items()}
    runs = {
        path: not isinstance(one, click.Group) or one.invoke_without_command for path, one in TREE.items()
    }
    for line in (*(one.line for one in (*ALONE, *LIVE)), *PROCESSES, *DEMOS):
        path = path_of(line)
        runs[path] = False
        unused[path] -= set(shlex.split(line))
    lacking = sorted(
        " ".join((*path, name)) for path in TREE for name in (*unused[path], *([""] if runs[path] else []))
    )
    assert lacking == [], "each needs a line in tests/cli/samples.py, or a word in one"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A journal of a session in which was asked and answered, its store, a copy of that, another policy."""
    tmp = tmp_path_factory.mktemp("commands")
    journal, store, policy = tmp / "journal", tmp / "store", tmp / "changed.toml"
    run(Sample("device-sim run --to file --devices 1 --no-faults --journal {journal}"), journal=journal)
    run(Sample("sightline replay {journal} --store {store}"), journal=journal, store=store)
    shutil.copytree(store, tmp / "copy", symlinks=True)
    before, zone, after = load("household").text.partition('name = "voice-assistant"')
    policy.write_text(before + zone + after.replace(' "ai:ModelTraining",', "", 1), encoding="utf-8")
    (rules := tmp / "rules.toml").write_text("[no-epoch]\nsilent_s = 1\n")
    KeyStore.made(own_keys := tmp / "own-keys").close()
    paths = {"tmp": tmp, "journal": journal, "store": store, "copy": tmp / "copy", "policy": policy}
    return {**paths, "rules": rules, "own_keys": own_keys, "keys": tmp / "keys"}


#: One line of each command that needs a broker; one that it accepts, if there is any.
NEED_A_BROKER = {
    path_of(line): line
    for line in (*(one.line for one in sorted(LIVE, key=lambda one: not one.code)), *PROCESSES, *DEMOS)
    if "--broker" in line
}


#: Tell what they can without one.
TELL = {("sightline", "status"), ("sightline", "page"), ("sightline", "watch")}
NEED_A_BROKER = {path: line for path, line in NEED_A_BROKER.items() if path not in TELL}


def test_every_command_with_a_broker_is_asked_without_one() -> None:
    assert {*NEED_A_BROKER, *TELL} == {path for path, one in TREE.items() if "--broker" in options(one)}


@pytest.mark.parametrize("line", NEED_A_BROKER.values(), ids=[" ".join(path) for path in NEED_A_BROKER])
def test_an_absent_broker_is_one_sentence(
    line: str, made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line of the client stands before it. Time flies, so that nobody waits five seconds for nobody."""
    times = itertools.count(0, 3)
    monkeypatch.setattr(clock, "monotonic_s", lambda: float(next(times)))
    journal = shutil.copytree(made["journal"], tmp_path / "sent")
    own: dict[str, object] = {"sent": journal, "tmp": tmp_path, "live": tmp_path / "live"}
    given = {**made, **own, "keys": made["own_keys"], "broker": "127.0.0.1:9"}
    line = line.replace(" --ready-fd {fd}", "").replace("HOST:PORT", "{broker}").replace("STORE", "{live}")
    if "--inputs" in line or path_of(line) in {("sightline", "ledger"), ("sightline", "rights", "requests")}:
        given["live"] = made["store"]
    words = shlex.split(line.format(**given, ready=tmp_path / "ready"))
    result = CliRunner().invoke(PROGRAMS[words[0]], words[1:])
    (said,) = result.stderr.splitlines()
    assert "No Kafka answers at 127.0.0.1:9" in said
    assert result.exit_code == 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("sightline demo --scenario nosuch", "Scenario 'nosuch' does not exist; expected one of: commute"),
        ("sightline demo --policy nosuch", "policy nosuch: found no such file"),
        ("sightline demo --devices 0", "0 is not in the range"),
        ("sightline demo --duration-s 0", "0.0 is not in the range"),
        ("sightline demo --store {journal}", "which is no file of a store"),
        ("sightline worker --policy nosuch", "policy nosuch: found no such file"),
        ("sightline worker --metrics {tmp}/no/metrics", "cannot be written"),
        ("sightline snapshots --store {journal}", "which is no file of a store"),
        ("sightline snapshots --broker nowhere", "--broker 'nowhere': found no address of a Kafka"),
        ("sightline replay {tmp} --store {tmp}/new", "found no journal"),
        ("device-sim run --journal {tmp} --scenario nosuch", "Scenario 'nosuch' does not exist"),
        ("device-sim run --journal {policy}", "is a file"),
        ("device-sim run --journal {tmp} --broker h:0", "--broker 'h:0': found no address of a Kafka"),
    ],
)
def test_what_can_be_checked_is_checked_before_anything_starts(
    line: str, said: str, made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_arguments: object) -> None:
        raise AssertionError("something was started")

    monkeypatch.setattr(EmbeddedBroker, "start", started)
    monkeypatch.setattr(connect, "reach", started)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line.format(**{**made, "tmp": tmp_path}))
    result = CliRunner().invoke(PROGRAMS[words[0]], words[1:])
    assert (result.exit_code, said in result.stderr) == (2, True), result.output
    assert not (tmp_path / "new").exists()


ENDS_AT_ONCE = """
from streams import ends, moving
with moving.moving("reaching Kafka") as show:
    ends.end_process("a second Ctrl-C, past the end of every block")
"""


@pytest.mark.parametrize(
    "words",
    [("-m", "device_sim", "run", "--broker", "127.0.0.1:9", "--journal", "{tmp}"), ("-c", ENDS_AT_ONCE)],
    ids=["Ctrl-C", "at once"],
)
def test_a_terminal_is_left_as_it_was_found(words: tuple[str, ...], tmp_path: Path) -> None:
    """The cursor is back, also where the process ends past the end of every block."""
    ours, theirs = pty.openpty()
    given = [sys.executable, *(word.replace("{tmp}", str(tmp_path)) for word in words)]
    process = subprocess.Popen(given, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        # What a terminal gives when its other end is gone is an error, not an end.
        with contextlib.suppress(OSError):
            while part := os.read(ours, 4096):
                if b"reaching Kafka" not in seen and b"reaching Kafka" in seen + part:
                    process.send_signal(signal.SIGINT if words[0] == "-m" else 0)
                seen += part
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"\x1b[?25l" in seen
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l")


@pytest.mark.parametrize("sample", ALONE, ids=[one.line for one in ALONE])
def test_a_command_does_what_its_help_says(sample: Sample, made: dict[str, Path], tmp_path: Path) -> None:
    given = {**made, "tmp": tmp_path}
    if "{fd}" in sample.line:
        run_until_stopped(sample, given)
    else:
        run(sample, **given)


@pytest.fixture(scope="module")
def live(made: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a broker with a worker, both run as their help says."""
    port = free_port()
    with contextlib.ExitStack() as stack:
        for line in PROCESSES:
            own = {**made, "tmp": tmp_path_factory.mktemp("process")}
            stack.enter_context(staying(line, **own, port=port, broker=f"127.0.0.1:{port}"))
        yield f"127.0.0.1:{port}"


@pytest.mark.kafka
def test_what_needs_a_broker_does_what_its_help_says(
    live: str, made: dict[str, Path], tmp_path: Path
) -> None:
    """All of it on one broker, in the order of the table: each command finds what those before it left."""
    given = {**made, "tmp": tmp_path, "broker": live, "sent": tmp_path / "sent", "live": tmp_path / "live"}
    for sample in LIVE:
        if "--until-end" in sample.line:
            until_all_is_read(live, "samples.")
        if "--follow" in sample.line:
            run_until_stopped(sample, given)
            continue
        read, write = os.pipe()
        run(sample, **given, fd=write, ready=tmp_path / "ready-file")
        if "{fd}" in sample.line:
            assert os.read(read, 64) == b"READY=1\n"
        else:
            os.close(write)
        os.close(read)


@pytest.mark.kafka
def test_the_page_of_the_topics_shows_a_device(live: str, made: dict[str, Path], tmp_path: Path) -> None:
    """What `docs/examples/send_as_glasses.py` sends to a worker is in the store, and nothing is refused."""
    run(Sample("sightline pair --device g7 --wearer w7 --broker {broker}"), broker=live)
    program = ROOT / "docs" / "examples" / "send_as_glasses.py"
    subprocess.run([sys.executable, str(program), live], check=True, timeout=PATIENCE_S)
    events = "SELECT stream, zone, sum(count) FROM events WHERE source = 'g7' GROUP BY ALL ORDER BY ALL"
    expected = [
        ["audio-level", "home-private", 100],
        ["consent-change", "rights", 1],
        ["device-state", "device", 1],
        ["speech", "home-private", 2],
    ]
    found, store = None, {**made, "broker": live, "store": tmp_path / "store"}
    for _ in range(int(PATIENCE_S)):
        run(SNAPSHOTS, **store)
        asked = Sample(f'sightline sql "{{said}}" --store {{store}} {OFFICER} --json')
        found = orjson.loads(run(asked, **store, said=events).stdout)["rows"]
        if found == expected:
            break
    assert found == expected
    refused = run(asked, **store, said="SELECT count(*) FROM rejected WHERE source = 'g7'")
    assert orjson.loads(refused.stdout)["rows"] == [[0]]


@pytest.mark.kafka
def test_a_wearer_who_asks_on_her_glasses_is_erased_once(
    live: str, made: dict[str, Path], tmp_path: Path
) -> None:
    """A stranger's device that asks for her is refused, and a part of the data is not taken for all."""
    given = {**made, "broker": live, "store": tmp_path / "store", "tmp": tmp_path}
    today_ns = clock.now_ns() // DAY_NS * DAY_NS
    for pair in ("--device g6 --wearer w6", "--device g4 --wearer w4", "--device g9 --wearer w9"):
        run(Sample(f"sightline pair {pair} --broker {{broker}}"), **given)

    async def asks(number: int, wearer: str, times: int, from_ns: int | None = None) -> None:
        columns: dict[str, Sequence[object]] = {
            "reason": ["moved-out"],
            "from_ns": [from_ns],
            "to_ns": [None],
        }
        async with Glasses(live, f"g{number}", wearer, tmp_path / "journal") as glasses:
            await glasses.give("dpv:RequestedServiceProvision")
            for _ in range(times):
                await glasses.send("erasure_request", columns)

    asyncio.run(asks(6, "w6", 2))
    asyncio.run(asks(5, "w6", 1))
    asyncio.run(asks(4, "w4", 1, from_ns=today_ns + 5))
    asyncio.run(asks(9, "w9", 1, from_ns=today_ns))
    listing = "sightline rights requests --store {store} --broker {broker} --keys {keys} --json"
    states: dict[str, str] = {}
    for _ in range(int(PATIENCE_S)):
        run(SNAPSHOTS, **given)
        rows = orjson.loads(run(Sample(listing), **given).stdout)["requests"]
        states = {row["request"]: row["state"] for row in rows}
        if len(states) == 5:
            break
        time.sleep(1)
    day = rfc3339(today_ns)[:10]
    left = {
        "g5/erasure-request/0": "refused: pairing",
        "g4/erasure-request/0": f"by hand: it names a time within {day}, and days are erased whole",
    }
    asked = ("g6/erasure-request/0", "g6/erasure-request/1", "g9/erasure-request/0")
    assert states == {**dict.fromkeys(asked, "open"), **left}

    erase = Sample(f"{listing} --erase --no-store --receipts {{tmp}}")
    _, *answers = run(erase, **given).stdout.splitlines()
    done, since = map(orjson.loads, answers)
    assert (done["from"], done["state"], done["requested"]) == ("device", "finished", rows[0]["asked"])
    assert (since["from"], since["state"], since["scope"]) == ("device", "finished", f"since {day}T00:00:00Z")
    checked = Sample(
        f"sightline rights verify {done['receipt']} --keys {{keys}} --subject w6 --salt {{salt}}"
    )
    run(checked, **given, salt=done["salt for the wearer"])
    # The store is told, and she stays erased: there is nothing left to be done.
    [again] = run(erase, **given).stdout.splitlines()
    states = {row["request"]: row["state"] for row in orjson.loads(again)["requests"]}
    assert states == {**dict.fromkeys(asked, "erased"), **left}
    shown = orjson.loads(run(Sample("sightline rights show --keys {keys} --json"), **given).stdout)
    ours = [each["erasure"] for each in shown["erasures"] if each["from"] == "device"]
    assert ours == [done["erasure"], since["erasure"]]


async def send(broker: str, topic: str, key: bytes, value: bytes, header: tuple[str, bytes]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
        await producer.send_and_wait(topic, value, key, headers=[header])


@pytest.mark.kafka
def test_an_own_device_and_an_own_consumer(live: str, made: dict[str, Path], tmp_path: Path) -> None:
    """What `own_device.py` sends is in the store; `own_consumer.py` goes on with it in the same trace."""
    examples = ROOT / "docs" / "examples"
    text = (examples / "own_device.py").read_text(encoding="utf-8")
    assert len([line for line in text.splitlines()[1:] if line]) <= 20
    run(Sample("sightline pair --device g8 --wearer w8 --broker {broker}"), broker=live)
    subprocess.run(
        [sys.executable, str(examples / "own_device.py"), live, str(tmp_path / "journal")],
        check=True,
        timeout=PATIENCE_S,
    )
    events = "SELECT stream, zone, sum(count) FROM events WHERE source = 'g8' GROUP BY ALL ORDER BY ALL"
    store = {**made, "broker": live, "store": tmp_path / "store"}
    asked = Sample(f'sightline sql "{{said}}" --store {{store}} {OFFICER} --json')
    for _ in range(int(PATIENCE_S)):
        run(SNAPSHOTS, **store)
        stored = orjson.loads(run(asked, **store, said=events).stdout)["rows"]
        if ["imu-right", "home-private", 1000] in stored:
            break
        time.sleep(1)
    assert ["imu-right", "home-private", 1000] in stored, stored
    assert orjson.loads(run(asked, **store, said="SELECT count(*) FROM rejected WHERE source = 'g8'").stdout)[
        "rows"
    ] == [[0]]

    at_home = [
        record
        for record in asyncio.run(read_all(live, "glasses.zoned"))
        if record.key == b"g8" and dict(record.headers).get("sightline-zone") == b"home-private"
    ]
    zoned = {
        dict(record.headers)["ce_id"]: dict(record.headers)["traceparent"].split(b"-")[1]
        for record in at_home
    }
    # Content type and trace are headers that a device may leave out.
    asyncio.run(send(live, "glasses.zoned", b"bare", at_home[0].value, ("sightline-zone", b"home-private")))
    program = [sys.executable, str(examples / "own_consumer.py"), live, "home-private", "onward"]
    asyncio.run(create(live, {"onward": {}}))
    consumer = subprocess.Popen(program)
    try:
        for _ in range(int(PATIENCE_S)):
            read = asyncio.run(read_all(live, "onward"))
            onward = [record for record in read if record.key == b"g8"]
            bare = [record for record in read if record.key == b"bare"]
            if bare and len(onward) >= len(zoned):
                break
            assert consumer.poll() is None
            time.sleep(1)
    finally:
        consumer.kill()
        consumer.wait()
    written = {record.value.split()[0]: dict(record.headers)["traceparent"].split(b"-") for record in onward}
    assert {name: trace for name, (_, trace, _, _) in written.items()} == zoned
    assert [(record.value, record.headers) for record in bare] == [(onward[0].value, ())]
    assert len({span for _, _, span, _ in written.values()}) == len(zoned), "each has a span of its own"
    assert sum(int(record.value.split()[1]) for record in onward if b"/imu-right/" in record.value) == 1000
