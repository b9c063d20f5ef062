"""How fast the store's writer takes lineage in, JSON decoding included, while readers ask questions.

The load is lineage as the agents write it: a simulated scenario, replayed into the records that its fetches
would have written, and repeated under other names. The writer and each reader are processes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import msgspec
import orjson

from bench.memory import peak_mb
from bench.processes import ROOT
from streams import clock, limits, replay
from streams.cycles import collect_cycles
from streams.events.record import Outgoing, StoredRecord
from streams.policy.load import load
from streams.queries import questions
from streams.queries.role import Role
from streams.queries.store import Store
from streams.snapshots.intake import decode
from streams.snapshots.retrying import RetryingWriter
from streams.snapshots.storing import Storing
from streams.snapshots.writer import Writer
from streams.topology import LINEAGE

ROWS, READERS = 1_000_000, 8
_SCENARIO, _DEVICES, _DURATION_S = "commute", 2, 900
#: Scenario time per fetch: as long as a worker takes when it has some 150 batches at a time, as in a demo.
_FETCH_NS = 3_000_000_000
_IDLE_S, _FIRST_POLLS = 12.0, 3
_NAMES = (b'"g1"', b'"g2"', b'"w1"', b'"w2"')
Say = Callable[[str], None]


def lineage(directory: Path, duration_s: int = _DURATION_S) -> list[Outgoing]:
    """Records of `glasses.lineage` of one scenario, in order."""
    journal = directory / "journal"
    subprocess.run(
        [
            *(sys.executable, "-m", "device_sim", "run", "--to", "file", "--journal", str(journal)),
            *("--scenario", _SCENARIO, "--devices", str(_DEVICES), "--duration-s", str(duration_s)),
            "--no-faults",
        ],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    written: list[Outgoing] = []
    run = replay.Replay(load("household"), written.extend)
    with patch.object(replay, "FETCH_NS", _FETCH_NS):
        asyncio.run(run.run(journal))
    return [record for record in written if record.topic == LINEAGE]


def renamed(records: Sequence[Outgoing], copies: int) -> Iterator[StoredRecord]:
    """The records `copies` times, each with other devices and wearers; models and policies occur once."""
    offset = 0
    for number in range(copies):
        for record in records:
            value = record.value or b""
            if number:
                if not (record.key or b"").startswith(b"glasses") or b'"policies"' in value:
                    continue
                for name in _NAMES:
                    value = value.replace(name, b'%s-%d"' % (name[:-1], number))
            yield StoredRecord(offset, record.timestamp_ms, record.key, value)
            offset += 1


def rows_of(records: Sequence[Outgoing | StoredRecord]) -> int:
    """Number of rows of all tables in some records."""
    return sum(
        len(next(iter(block["each"].values())))
        for record in records
        for blocks in orjson.loads(record.value or b"")["tables"].values()
        for block in blocks
    )


def measure(directory: Path, rows: int, readers: int, say: Say) -> dict[str, Any]:
    """Rows/s that one writer takes in and publishes while readers ask, its memory, and how long readers wait.

    `directory` is for temporary files. Each reader asks once a second for the ancestors of an answer, with
    the role `analyst`, in the newest epoch: first while the store is at rest, then while it grows.
    """
    records = lineage(directory)
    store, load_file = directory / "store", directory / "load"
    copies = -(-rows // rows_of(records))
    with load_file.open("wb") as file:
        for poll in polls(renamed(records, copies)):
            packed = msgspec.msgpack.encode(
                [(record.offset, record.timestamp, record.key, record.value) for record in poll]
            )
            file.write(len(packed).to_bytes(8) + packed)
    _write(store, load_file, _FIRST_POLLS)
    say("a store is filled; its readers ask while it rests")
    idle = _asked(store, readers, lambda: clock.sleep(_IDLE_S))
    say(f"{copies} copies of {_SCENARIO} are taken in while they ask")
    written: dict[str, Any] = {}
    busy = _asked(store, readers, lambda: written.update(_write(store, load_file, sys.maxsize)))
    return {**written, "readers": readers, "reader_idle": idle, "reader_busy": busy}


def polls(records: Iterator[StoredRecord]) -> Iterator[list[StoredRecord]]:
    """Records in groups as the writer gathers them when many wait."""
    some: list[StoredRecord] = []
    size = 0
    for record in records:
        some.append(record)
        size += len(record.value or b"")
        if size >= limits.GATHER_BYTES or len(some) >= limits.FETCH_RECORDS_MAX:
            yield some
            some, size = [], 0
    if some:
        yield some


def _write(store: Path, load_file: Path, polls_max: int) -> dict[str, Any]:
    found = subprocess.run(
        [sys.executable, "-m", "bench.ingest", "write", str(store), str(load_file), str(polls_max)],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    )
    said: dict[str, Any] = orjson.loads(found.stdout)
    return said


def _asked(store: Path, readers: int, meanwhile: Callable[[], Any]) -> dict[str, float]:
    """Run the work; return how long readers waited for answers meanwhile, ms, and the cores they used."""
    command = [sys.executable, "-m", "bench.ingest", "ask", str(store)]
    waits: list[float] = []
    cpu_s, began_s = 0.0, clock.monotonic_s()
    with ExitStack() as stack:
        started = [
            stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE))
            for _ in range(readers)
        ]
        try:
            for one in started:
                (one.stdout or sys.stdin).readline()
            began_s = clock.monotonic_s()
            meanwhile()
        finally:
            for one in started:
                one.send_signal(signal.SIGTERM)
        passed_s = clock.monotonic_s() - began_s
        for one in started:
            told = orjson.loads(one.communicate()[0])
            waits += told["waits_ms"]
            cpu_s += told["cpu_s"]
    waits.sort()
    return {
        "asked": len(waits),
        "p50_ms": round(statistics.median(waits), 1),
        "p99_ms": round(waits[len(waits) * 99 // 100], 1),
        "cores": round(cpu_s / passed_s, 2),
    }


async def _take_in(store: Path, load_file: Path, polls_max: int) -> dict[str, Any]:
    """Take in those polls of a file that are not in the store yet; return figures about all of them."""
    writer = Writer.open(store)
    storing = Storing(RetryingWriter(writer, partial(click.echo, err=True), lambda _s: True))
    collecting = asyncio.create_task(collect_cycles())
    begin = writer.offsets().get(0, 0)
    began_s, cpu_s = clock.monotonic_s(), time.process_time()
    with load_file.open("rb") as file:
        while polls_max and (size := int.from_bytes(file.read(8))):
            polls_max -= 1
            poll = [StoredRecord(*one) for one in msgspec.msgpack.decode(file.read(size))]
            if poll[0].offset >= begin:
                read = await asyncio.to_thread(decode.read, {0: poll})
                await storing.next(read, {0: poll[-1].offset + 1}, clock.monotonic_ns())
    await storing.settled()
    storing.result()
    await asyncio.to_thread(writer.publish, clock.now_ns())
    passed_s, cpu_s = clock.monotonic_s() - began_s, time.process_time() - cpu_s
    collecting.cancel()
    writer.close()
    return {
        "rows": storing.rows,
        "rows_per_s": round(storing.rows / passed_s),
        "cpu_us_a_row": round(cpu_s / storing.rows * 1e6, 2),
        "writer_mb": round(peak_mb()),
    }


def _ask(store: Path) -> dict[str, Any]:
    """Ask once a second until told to stop; return the time of each answer, ms, including opening the store.

    The CPU time for this, in seconds, is returned too.
    """
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with Store.open(store, Role.of("analyst")) as opened:
        rows = opened.sql("SELECT id FROM event_records WHERE kind = 'answer' ORDER BY id").rows
    click.echo("ready")
    waits, used_s = list[float](), time.process_time()
    # Readers ask at different moments and for different answers.
    own = os.getpid()
    while not ended.wait(1.0 if waits else own % 100 / 100):
        began_s = clock.monotonic_s()
        with Store.open(store, Role.of("analyst")) as opened:
            questions.ancestors(opened, rows[(own + len(waits)) % len(rows)][0])
        waits.append((clock.monotonic_s() - began_s) * 1e3)
    return {"waits_ms": waits, "cpu_s": time.process_time() - used_s}


def main() -> None:
    """Run as a subprocess with `write STORE LOAD POLLS` or `ask STORE`; without arguments, measure."""
    match sys.argv[1:]:
        case ["write", store, load_file, polls_max]:
            found: Any = asyncio.run(_take_in(Path(store), Path(load_file), int(polls_max)))
        case ["ask", store]:
            found = _ask(Path(store))
        case [*some]:
            with tempfile.TemporaryDirectory(prefix="sightline-ingest-") as directory:
                rows = int(some[0]) if some else ROWS
                found = measure(Path(directory), rows, READERS, partial(click.echo, err=True))
    click.echo(orjson.dumps(found))


if __name__ == "__main__":
    main()
