"""What may be otherwise without a wearer although no lineage leads to it from her data.

- On glasses that others wear too, her data ends their windows, and stands beside theirs in what the device
  remembers.
- How many examples there are decides when a training run begins. Those that are kept from learning decide
  which version serves, those that are learned whether a run is held, and a version lists those refused.

All of it goes by the broker's time alone, so it is told too widely rather than too narrowly.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from streams.limits import NUMBER_MAX
from streams.queries.relation import Interval, Stream
from streams.queries.rows import BesideRuns, Since, WearerRuns, WornSince
from streams.queries.store import Store
from streams.queries.walk import Reached, union, united


class Beside(NamedTuple):
    """Events that may be otherwise; since when (ns) training has judged and counted examples, 0: never."""

    events: Reached
    judged_ns: int
    counted_ns: int


def beside(store: Store, wearer: str) -> Beside:
    """Return what may be otherwise without a wearer, as far as the store's role may see it.

    The wearer's own events may be among it.
    """
    worn: dict[str, int] = {}
    judged: list[int] = []
    of_hers = store.query("worn_since", {"wearer": wearer}).of(WornSince)
    for row in store.sift(of_hers, "events", counted=False):
        worn[row.source] = min(row.since_ns, worn.get(row.source, row.since_ns))
        judged += [row.example_ns] if row.example_ns else []
    places = {"wearer": wearer, "sources": list(worn), "since": list(worn.values())}
    derived = store.sift(store.query("beside_runs", places).of(BesideRuns), "events", counted=False)
    others = [row.since_ns for row in derived if row.kind == "example"]
    admitted = store.query("counted_since", {"wearer": wearer}).of(Since)
    counted = [row.since_ns for row in store.sift(admitted, "decisions", counted=False)]
    counted_ns, judged_ns = min((*counted, *others), default=0), min((*judged, *others), default=0)
    times = {"judged_ns": judged_ns or NUMBER_MAX, "counted_ns": counted_ns or NUMBER_MAX}
    given = store.sift(store.query("given_runs", times).of(WearerRuns), "events", counted=False)
    return Beside(united((numbers_of(derived), numbers_of(given))), judged_ns, counted_ns)


def numbers_of(runs: Iterable[WearerRuns]) -> Reached:
    """Events of runs by stream."""
    numbers: dict[Stream, list[Interval]] = {}
    for row in runs:
        of_stream = numbers.setdefault((row.source, row.stream, row.revision), [])
        for first, step, count in zip(row.firsts, row.steps, row.counts, strict=True):
            if step == 1 or count == 1:
                of_stream.append((first, first + count - 1))
            else:
                of_stream += ((first + step * nth,) * 2 for nth in range(count))
    return {stream: union(of_stream) for stream, of_stream in numbers.items()}
