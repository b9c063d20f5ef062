"""What is otherwise where a wearer never was, against what `sightline ask reach` says that her data reached.

    python -m tests.replay.counterfactual --seeds 20

plays random worlds (`tests/replay/worlds.py`) with all that was sent, and once more without all that one
wearer sent, consents included, and compares both event by event: what each says, its zone, label and parents,
and each model version's whole record. Every event that differs must be reached. On shared glasses the others'
events keep their numbers, as the glasses numbered them; where hers were there are holes.

What is there only without her has no id in the store; it must lie where `reach` says that things may differ:
given since `counted_since`, a version since there are examples of hers, or derived on glasses that she wore.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from streams import clock, logs
from streams.cli.output import emit_json, emit_rows
from streams.events.headers import LABEL, ZONE
from streams.events.identity import format_id
from streams.events.record import Outgoing
from streams.models.version import CURRENT_KEY, SOURCE, STREAM, ModelVersion
from streams.printing import say
from streams.queries.reach import Extent, extent
from streams.queries.store import Store
from streams.queries.walk import Reached
from streams.replay import Replay
from streams.replay.stored import stored
from streams.topology import ANSWERS, DERIVED, EXAMPLES, MODELS, ZONED
from tests import build
from tests.replay.worlds import LICENSED, World, drawn

EVERY = 3  #: admitted examples that start a run
_GIVEN = ("answer", "example", "model")


@dataclass(frozen=True, slots=True)
class Told:
    """What one event says, and where it stands; `said` is equal if all of it is."""

    kind: str
    source: str
    wearer: str
    appended_ns: int
    said: object
    parents: frozenset[str]


@dataclass(frozen=True, slots=True)
class Compared:
    """One wearer of one world. `missed` differ and are not reached, and must be 0, as must `unexplained`.

    `led_to` is the part of `reached` to which lineage leads, and `led_to_differ` what differs of that. By
    what the pipeline wrote it must be what was made of the wearer's events: `astray` has only one of both.
    `only_without` are there only without her, and those of them that reach does not explain `unexplained`.
    """

    seed: int
    wearer: str
    shared: bool
    events: int
    differ: int
    reached: int
    missed: int
    led_to: int
    astray: int
    led_to_differ: int
    only_without: int
    unexplained: int

    @property
    def precision(self) -> float:
        """Share of what was reached that differs."""
        return round((self.differ - self.missed) / self.reached, 3) if self.reached else 1.0

    def row(self) -> dict[str, object]:
        """As a row of the table."""
        return {**asdict(self), "precision": self.precision}


def compared(seed: int, batches: int) -> Iterator[Compared]:
    """Compare a world with itself without each of its wearers who has any events in it."""
    world = drawn(seed, batches)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "store"
        whole = told(played(world, store=path))
        with Store.open(path) as store:
            for wearer in world.wearers:
                if store.query("wearer_runs", {"wearer": wearer}).rows:
                    yield _compared(world, wearer, whole, told(played(world, wearer)), extent(store, wearer))


def played(world: World, without: str = "", store: Path | None = None) -> list[Outgoing]:
    """All that the pipeline writes of a world, without a wearer; its lineage also goes into `store`."""
    written: list[Outgoing] = []
    replay = Replay(world.policy, written.extend, EVERY, licensed=LICENSED)

    async def play() -> None:
        replay.begin([pair for pair in world.pairs if pair[1] != without], build.T0_NS)
        for fetch in world.fetches(without):
            await replay.process(fetch)

    build.run(play())
    if store is not None:
        with stored(store) as sink:
            sink.write(written)
            sink.flush()
            sink.writer.settle(clock.now_ns())
    return written


def told(written: Sequence[Outgoing]) -> dict[str, Told]:
    """Events by id."""
    parents: dict[str, set[tuple[str, ...]]] = {}
    for row in build.lineage(written)["edges"]:
        for at in range(row["child_count"]):
            for width in range(row["parent_width"]):
                child, parent = (
                    format_id(
                        row[f"{side}_source"],
                        row[f"{side}_stream"],
                        row[f"{side}_first"] + at * row[f"{side}_step"] + of,
                        row[f"{side}_revision"],
                    )
                    for side, of in (("child", 0), ("parent", width))
                )
                parents.setdefault(child, set()).add((parent, row["operator"], row["declassifier"]))
    events: dict[str, Told] = {}
    for record in written:
        stamp_ns = record.timestamp_ms * 1_000_000
        if record.topic == MODELS and record.key != CURRENT_KEY:
            version = ModelVersion.load(record.value)
            identity = format_id(SOURCE, STREAM, version.version)
            edges = parents[identity]
            said: object = (record.value, edges)
            events[identity] = Told("model", SOURCE, "", version.trained_ns, said, names(edges))
        elif record.topic in {ZONED, DERIVED, ANSWERS, EXAMPLES}:
            tags = [dict(record.headers).get(name) for name in (ZONE, LABEL)]
            batch = build.CODEC.decode(record.value, 0, 0, captured=record.topic == ZONED)
            for at in range(batch.run.count):
                number = batch.run.first + at * batch.run.step
                identity = format_id(batch.source, batch.stream, number, batch.revision)
                columns = [(name, values[at]) for name, values in sorted(batch.columns.items())]
                edges = parents.get(identity, set())
                said = batch.wearer_id, batch.time_ns(at), tags, columns, edges
                events[identity] = Told(
                    batch.kind, batch.source, batch.wearer_id, stamp_ns, said, names(edges)
                )
    return events


def names(edges: set[tuple[str, ...]]) -> frozenset[str]:
    """Ids of the parents in edges."""
    return frozenset(parent for parent, *_ in edges)


def made_of(wearer: str, events: dict[str, Told]) -> set[str]:
    """Ids of a wearer's events, and of all that was made of them, through models too."""
    found = {event for event, told in events.items() if told.wearer == wearer}
    while more := {event for event, told in events.items() if told.parents & found} - found:
        found |= more
    return found


def ids_of(some: Reached) -> set[str]:
    """Ids of all events of runs."""
    return {
        format_id(source, stream, number, revision)
        for (source, stream, revision), numbers in some.items()
        for low, high in numbers
        for number in range(low, high + 1)
    }


def _compared(
    world: World, wearer: str, whole: dict[str, Told], without: dict[str, Told], of: Extent
) -> Compared:
    differ = {event for event, said in whole.items() if without.get(event) != said}
    every, besides = ids_of(of.every), ids_of(of.may_differ)
    worn = {device for device, by in world.pairs if by == wearer}
    only = [said for event, said in without.items() if event not in whole]

    def explained(said: Told) -> bool:
        since_ns = of.judged_ns if said.kind == "model" else of.counted_ns
        late = said.kind in _GIVEN and 0 < since_ns <= said.appended_ns
        return late or said.source in worn

    return Compared(
        world.seed,
        wearer,
        any(device in worn and by != wearer for device, by in world.pairs),
        len(whole),
        len(differ),
        len(every),
        len(differ - every),
        len(every - besides),
        len(made_of(wearer, whole) ^ (every - besides)),
        len(differ & (every - besides)),
        len(only),
        sum(not explained(said) for said in only),
    )


def main() -> None:
    """Print a row for each wearer of each world, and what they come to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=20, help="so many worlds")
    parser.add_argument("--first", type=int, default=1, help="the seed of the first one")
    parser.add_argument("--batches", type=int, default=240, help="batches of a world")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with logs.silenced("streams.pipeline"):
        seeds = range(given.first, given.first + given.seeds)
        rows = [row for seed in seeds for row in compared(seed, given.batches)]
    differ, reached, missed, led_to, astray, led_to_differ, only, unexplained = (
        sum(getattr(row, name) for row in rows)
        for name in (
            "differ",
            "reached",
            "missed",
            "led_to",
            "astray",
            "led_to_differ",
            "only_without",
            "unexplained",
        )
    )
    if given.json:
        emit_json({"rows": [row.row() for row in rows]})
    else:
        emit_rows([row.row() for row in rows])
        say("")
        say(
            f"{len(rows)} wearers of {given.seeds} worlds: {differ:,} events differ, {missed:,} of them not "
            f"reached. Of {reached:,} reached {(differ - missed) / max(reached, 1):.1%} differ, of the "
            f"{led_to:,} to which lineage leads {led_to_differ / max(led_to, 1):.1%}. {only:,} are there "
            f"only without the wearer, {unexplained:,} of them unexplained."
        )
    sys.exit(1 if missed or astray or unexplained else 0)


if __name__ == "__main__":
    main()
