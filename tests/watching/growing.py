"""A store that grows epoch by epoch under a clock that a test moves, and somebody who watches it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from streams import clock
from streams.policy.load import load
from streams.queries.role import Role
from streams.snapshots.writer import Writer
from streams.watching.alert import Alert
from streams.watching.thresholds import Thresholds
from streams.watching.watcher import Watcher
from tests.snapshots.build import POLICY, T0_NS, Row, batch, row, stream, tables, tagged

HOUSEHOLD = load("household")
OFFICER = "privacy-officer"


class Time:
    """A wall clock that may step, and clocks that never do: of the process, and of the broker."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall_ns, self.broker_ns, self.steady_s = T0_NS, T0_NS, 1000.0
        monkeypatch.setattr(clock, "now_ns", lambda: self.wall_ns)
        monkeypatch.setattr(clock, "monotonic_s", lambda: self.steady_s)

    def pass_s(self, seconds: float) -> None:
        """Let time pass."""
        self.wall_ns += int(seconds * 1e9)
        self.broker_ns += int(seconds * 1e9)
        self.steady_s += seconds

    def step_s(self, seconds: float) -> None:
        """Set the wall clock."""
        self.wall_ns += int(seconds * 1e9)


class Growing:
    """A store and its writer; `publish` adds an epoch some seconds after the one before."""

    def __init__(self, path: Path, time: Time) -> None:
        self.path, self.time = path, time
        self._writer = Writer.open(path)
        self._numbers: dict[tuple[str, str], int] = {}
        self.epoch = 0
        self.publish(policies=[POLICY])

    def close(self) -> None:
        self._writer.close()

    def publish(self, after_s: float = 1.0, **rows: Sequence[Row]) -> None:
        """Publish an epoch with these rows, and with a quiet device's data, for an epoch must have some."""
        self.time.pass_s(after_s)
        whole: Mapping[str, Sequence[Row]] = {
            **rows,
            "events": [*self.heard("quiet"), *rows.get("events", ())],
            "streams": [stream("quiet", "imu-right"), *rows.get("streams", ())],
        }
        self._writer.ingest_tables(tables(whole), self.time.wall_ns)
        self._writer.publish(self.time.wall_ns)
        self.epoch += 1

    def heard(self, device: str, **columns: Any) -> list[Row]:
        """An event of a device."""
        name = columns.pop("stream", "imu-right")
        number = self.number(device, name)
        return [batch(device, name, number, offset=number, **columns)]

    def number(self, device: str, name: str, count: int = 1) -> int:
        """The next number of a stream."""
        first = self._numbers.get((device, name), 0)
        self._numbers[device, name] = first + count
        return first


def decision(zone: str, sink: str, *, count: int = 1, first: int = 0, **columns: Any) -> Row:
    """A decision about `count` events of g1, which passed unless it is told otherwise."""
    kind = columns.pop("kind", "imu")
    around = {name: value for name, value in tagged(kind, zone).items() if name != "kind"}
    told = {"verdict": "allow", "mode": "enforcing", "rule": f"sinks.{sink}", "wearer": "w1", **columns}
    named = {"source": "g1", "stream": "imu-right", "first": first, "count": count, "sink": sink}
    return row("decisions", **{**named, **around, **told})


def refusal(rule: str, count: int, **columns: Any) -> Row:
    """Events that were kept from training."""
    return decision(
        "public", "training-run", count=count, **{"passed": False, "verdict": "deny", "rule": rule, **columns}
    )


def watcher(growing: Growing, thresholds: Thresholds | None = None, role: str = OFFICER) -> Watcher:
    """Somebody who watches a store."""
    return Watcher(growing.path, Role.of(role), thresholds or Thresholds())


def named(alerts: Sequence[Alert]) -> set[tuple[str, ...]]:
    """Rule and subject of alerts, without those of time alone."""
    return {(alert.rule, *alert.about.values()) for alert in alerts}


@contextmanager
def growing_store(path: Path, time: Time) -> Iterator[Growing]:
    """A growing store, closed after the block."""
    growing = Growing(path, time)
    try:
        yield growing
    finally:
        growing.close()
