"""A process' numbers in memory: plain lists behind one lock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock

from streams.limits import SERIES_MAX
from streams.metrics.declared import DECLARED, Declared, Process

#: Values of a metric's labels, in the order in which they are declared.
Labels = tuple[str, ...]
#: Stands in all labels for the sets of labels that there was no room for.
OTHER = "other"


def series_of(declared: Declared) -> int:
    """Series of one set of labels: a histogram has its buckets, the one without a bound, sum and count."""
    return len(declared.buckets) + 3 if declared.kind == "histogram" else 1


#: Series for which there is always room: one set of labels of every metric.
RESERVED = sum(map(series_of, DECLARED.values()))


@dataclass(slots=True)
class Tally:
    """Counts of one fetch, made by a pure core; `Numbers.add` counts them when the fetch is committed."""

    counts: dict[tuple[str, Labels], float] = field(default_factory=dict)
    observed: list[tuple[str, Labels, float]] = field(default_factory=list)

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """See `Numbers.count`."""
        key = name, checked(name, labels)
        self.counts[key] = self.counts.get(key, 0) + amount

    def observe(self, name: str, value: float, **labels: str) -> None:
        """See `Numbers.observe`."""
        self.observed.append((name, checked(name, labels), value))

    def merge(self, other: Tally) -> None:
        """Add the counts of another part of the same fetch."""
        for key, amount in other.counts.items():
            self.counts[key] = self.counts.get(key, 0) + amount
        self.observed += other.observed


def checked(name: str, labels: Mapping[str, str]) -> Labels:
    """Values of a metric's labels in their order; AssertionError if they are not those that it has."""
    declared = DECLARED[name].labels
    if labels.keys() != set(declared):
        raise AssertionError(f"{name}: found labels {sorted(labels)}, expected {sorted(declared)}")
    return tuple([labels[label] for label in declared])


class Numbers:
    """Numbers by metric and labels, for any thread.

    At most SERIES_MAX series are made, whatever comes in labels: sets of labels beyond that are counted
    together under `other`, and `series_merged_total` counts how often.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        #: A number for each set of labels; of a histogram the count of each bucket, and the sum.
        self._values: dict[str, dict[Labels, list[float]]] = {}
        self._left = SERIES_MAX - RESERVED
        self._hooks: list[Callable[[], None]] = []

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        key = checked(name, labels)
        with self._lock:
            self._at(name, key)[0] += amount

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        key = checked(name, labels)
        with self._lock:
            self._at(name, key)[0] = value

    def highest(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge if `value` is higher than its current one."""
        key = checked(name, labels)
        with self._lock:
            at = self._at(name, key)
            at[0] = max(at[0], value)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add a measured value to a histogram."""
        key = checked(name, labels)
        with self._lock:
            self._observe(name, key, value)

    def add(self, tally: Tally) -> None:
        """Count what a committed fetch tallied."""
        with self._lock:
            for (name, key), amount in tally.counts.items():
                self._at(name, key)[0] += amount
            for name, key, value in tally.observed:
                self._observe(name, key, value)

    def forget(self, name: str, **labels: str) -> None:
        """Remove a gauge whose object is gone, such as a partition that another worker has now."""
        key = checked(name, labels)
        with self._lock:
            if self._values.get(name, {}).pop(key, None) is not None and _takes_room(key):
                self._left += series_of(DECLARED[name])

    def read(self, name: str, **labels: str) -> float:
        """Return a number, or the sum of a histogram; 0 if it was never set."""
        at = self._values.get(name, {}).get(checked(name, labels))
        return at[-1] if at else 0

    def begin(self, process: Process) -> None:
        """Show the counters and histograms without labels that a process has from now on, with zero.

        Prometheus sees changes only, so the first count of a counter that appears with it would be lost.
        """
        with self._lock:
            for name, declared in DECLARED.items():
                if process in declared.processes and declared.kind != "gauge" and not declared.labels:
                    self._at(name, ())

    def before_reading(self, hook: Callable[[], None]) -> Callable[[], None]:
        """Call `hook` before all numbers are read, for gauges that depend on the time.

        Return what ends that. The hook is called in any thread, and must not take long.
        """
        self._hooks.append(hook)
        return lambda: self._hooks.remove(hook)

    def current(self) -> Iterator[tuple[str, Declared, Mapping[Labels, list[float]]]]:
        """Name, declaration and values of each metric that has any, in the order of their declaration."""
        for hook in list(self._hooks):
            hook()
        with self._lock:
            values = {
                name: {key: list(at) for key, at in sets.items()} for name, sets in self._values.items()
            }
        return ((name, declared, values[name]) for name, declared in DECLARED.items() if values.get(name))

    def _observe(self, name: str, key: Labels, value: float) -> None:
        at = self._at(name, key)
        at[bisect_left(DECLARED[name].buckets, value)] += 1
        at[-1] += value

    def _at(self, name: str, key: Labels) -> list[float]:
        """Numbers of a set of labels, or of the set `other` if there is no room for one more."""
        sets = self._values.setdefault(name, {})
        at = sets.get(key)
        if at is not None:
            return at
        declared = DECLARED[name]
        if _takes_room(key):
            if self._left < series_of(declared):
                self._at("series_merged_total", ())[0] += 1
                return self._at(name, (OTHER,) * len(key))
            self._left -= series_of(declared)
        at = sets[key] = [0.0] * (len(declared.buckets) + 2 if declared.kind == "histogram" else 1)
        return at


def _takes_room(key: Labels) -> bool:
    return any(value != OTHER for value in key)
