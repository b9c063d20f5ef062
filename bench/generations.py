"""A thousand generations of the loop in one run: what a generation costs, and whether its trace is whole.

A household asks, hears and gives feedback in front of the pure pipeline. A store takes in afterwards what it
wrote, because its memory is not the pipeline's. CPU time is compared and not time, so that other programs on
the machine do not decide.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

import orjson

from bench.bars import CREEP, FLAT_CPU, FLAT_MEMORY, FLAT_STATE, TRACE, WHOLE, Measured
from bench.processes import rss_mb
from bench.race import Say
from device_sim.draw import draw, utterances
from streams import clock
from streams.evaluation.household import Household
from streams.events.headers import PARENTS, unpack_parents
from streams.events.identity import EventId
from streams.events.record import Outgoing
from streams.policy.load import parse
from streams.policy.source import POLICIES, bundle
from streams.queries.creep import creep
from streams.queries.generations import generations as generations_of
from streams.queries.store import Store
from streams.replay.stored import stored
from streams.topology import LINEAGE

DRAW, EVERY = 1, 24
#: What a run looks at. It reads four times as much, which 100 generations bring; from then on nothing grows.
EXAMPLES_MAX = 600
EARLY, SOME = 100, 50  #: the generation from which on some are compared with as many of the last
SAID_EACH = 50  #: generations
Event = tuple[str, str, int]


class _Wire:
    """What is written, kept in files: lineage for a store, and edges by the headers, independently of it."""

    def __init__(self, directory: Path) -> None:
        self._path, self.lineage = directory / "edges", directory / "lineage"
        self._file, self._lineage = self._path.open("w", encoding="utf-8"), self.lineage.open("wb")
        self.answer = ""

    def write(self, records: Sequence[Outgoing]) -> None:
        """Keep lineage, and the parents of derived records."""
        for record in records:
            headers = dict(record.headers)
            if record.topic == LINEAGE:
                self._lineage.write(
                    orjson.dumps([record.key.decode(), (record.value or b"").decode()]) + b"\n"
                )
            elif PARENTS in headers:
                event = (headers["ce_id"] or b"").decode()
                self._file.write(f"{event} {(headers[PARENTS] or b'').hex()}\n")
                if EventId.parse(event).stream == "answer":
                    self.answer = event

    def close(self) -> None:
        """Finish the files."""
        self._file.close()
        self._lineage.close()

    def ancestors(self) -> Mapping[str, int]:
        """Count the ancestors of the last answer by stream."""
        parents: dict[Event, bytes] = {}
        for line in self._path.read_text(encoding="utf-8").splitlines():
            identity, packed = line.split(" ")
            event = EventId.parse(identity)
            parents[event.source, event.stream, event.number] = bytes.fromhex(packed)
        last = EventId.parse(self.answer)
        waiting, met = [(last.source, last.stream, last.number)], set[Event]()
        while waiting:
            source, stream, number = waiting.pop()
            for parent in unpack_parents(source, number, parents.get((source, stream, number), b"")):
                for at in range(parent.width):
                    found = parent.source, parent.stream, parent.first + at
                    if found not in met:
                        met.add(found)
                        waiting.append(found)
        return Counter(stream for _, stream, _ in met)


async def generations(directory: Path, count: int, say: Say) -> Measured:
    """Play `count` generations; compare the last ones with earlier ones, and ask about the last answer."""
    text = bundle(POLICIES / "household.toml")
    policy = parse(f"{text}\n[training]\nexamples_max = {EXAMPLES_MAX}\n", "bench")
    directory.mkdir(parents=True)
    wire, cpu_s, memory_mb, state_bytes = _Wire(directory), list[float](), list[float](), list[int]()
    household = Household(draw(DRAW, utterances()), policy, EVERY, write=wire.write)
    began_s = time.process_time()
    async for versions in household.turns(100 * count):
        for version in versions:
            now_s = time.process_time()
            cpu_s.append(now_s - began_s)
            memory_mb.append(rss_mb(os.getpid()))
            state_bytes.append(household.state_bytes)
            if version.version % SAID_EACH == 0:
                say(f"generation {version.version}: {cpu_s[-1]:.2f} s, {memory_mb[-1]:.0f} MB")
            began_s = time.process_time()
        if len(cpu_s) > count:
            break
    wire.close()
    _store(directory / "store", wire.lineage)
    early = min(EARLY, count // 2)
    some = min(SOME, early)
    rows = [
        {
            "generations": f"{begin + 1} to {begin + some}",
            "CPU": f"{mean(cpu_s[begin : begin + some]):.3f} s",
            "memory": f"{mean(memory_mb[begin : begin + some]):.0f} MB",
            "state": f"{mean(state_bytes[begin : begin + some]):,.0f} bytes",
        }
        for begin in (early, count - some)
    ]

    def grown(figures: Sequence[float]) -> float:
        return mean(figures[count - some : count]) / mean(figures[early : early + some])

    trace_ms, told, creeping = _asked(directory / "store", wire)
    return Measured(
        {
            f"{count:,} generations, one every {EVERY} examples, {EXAMPLES_MAX} looked at": rows,
            f"The last answer, {wire.answer}": told,
        },
        [
            FLAT_CPU.held([grown(cpu_s)]),
            FLAT_MEMORY.held([grown(memory_mb)]),
            FLAT_STATE.held([grown(state_bytes)]),
            WHOLE.held([sum(row["store"] != row["wire"] for row in told)]),
            TRACE.held([trace_ms]),
            CREEP.held([creeping]),
        ],
    )


def _store(path: Path, lineage: Path) -> None:
    """Make a store of the lineage that was kept."""
    with stored(path) as sink, lineage.open("rb") as lines:
        for line in lines:
            key, value = orjson.loads(line)
            sink.write([Outgoing(LINEAGE, 0, key.encode(), value.encode(), (), 0)])
        sink.flush()
        sink.writer.settle(clock.now_ns())


def _asked(store: Path, wire: _Wire) -> tuple[float, list[dict[str, object]], int]:
    """Milliseconds of the trace of the last answer, its ancestors as store and wire have them, label creep.

    Creep is by how many purposes the labels of the last answers permit less than those of the first.
    """
    with Store.open(store) as opened:
        began_ns = time.perf_counter_ns()
        trace = generations_of(opened, wire.answer)
        trace_ms = (time.perf_counter_ns() - began_ns) / 1e6
        expected = Counter[str]()
        kinds = {stream: kind for (_, stream), kind in opened.kinds.items()}
        for stream, events in wire.ancestors().items():
            expected[kinds[stream]] += events
        by_kind = Counter(trace.made_of)
        rows = [
            {"made of": kind, "store": by_kind[kind], "wire": expected[kind]}
            for kind in sorted({*by_kind, *expected})
            if by_kind[kind] or expected[kind]
        ]
        answers = [row for row in creep(opened).creep if row.hop == "answer"]
        return trace_ms, rows, answers[0].fewest_purposes - answers[-1].fewest_purposes
