"""A world of several days and retention classes, and which of it is over, counted in plain Python."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from streams.events.record import StoredRecord
from streams.snapshots.writer import Writer
from tests.snapshots.build import (
    HOUSEHOLD,
    POLICY,
    T0_NS,
    Row,
    batch,
    derived,
    edge,
    record,
    row,
    stream,
    tagged,
)

DAY_NS = 86_400 * 10**9
#: As the text of the policy says.
DAYS = {"bystander-present": 1, "home-private": 30, "public": 182}
DEVICES = ("g1", "g2")
#: Days of the world on which something is captured.
ON = (0, 1, 2, 5, 31, 40)


def name(day: int, zone: str) -> str:
    """A wearer who occurs in rows of one day and zone alone."""
    return f"canary{day}x{zone.partition('-')[0]}"


class World:
    """Rows by record, each with its day and zone; `None` as a zone: it stays whatever the time."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        #: (day, rows, [(table, row, zone)]) of each record, in order.
        self.records: list[tuple[int, dict[str, list[Row]]]] = []
        #: Zone and day of every captured number, of refused ones too, by device.
        self.numbers: dict[str, dict[int, tuple[int, str]]] = {device: {} for device in DEVICES}
        self.holes: dict[str, set[int]] = {device: set() for device in DEVICES}
        self._next = dict.fromkeys(DEVICES, 0)
        self._examples: list[tuple[str, int, int, str]] = []
        for nth, day in enumerate(ON):
            for device in DEVICES:
                rows: dict[str, list[Row]] = defaultdict(list)
                if not self.records:
                    rows["policies"].append(POLICY)
                if not nth:
                    for text, kind in (
                        ("imu-right", "imu"),
                        ("activity", "activity"),
                        ("example", "example"),
                    ):
                        rows["streams"].append(stream(device, text, kind, captured=kind == "imu"))
                for _ in range(3):
                    self._captured(rows, device, day)
                self.records.append((day, rows))
            self.records.append((day, self._trained(nth + 1, day)))

    def _captured(self, rows: dict[str, list[Row]], device: str, day: int) -> None:
        zone = self._draw.choice([*DAYS])
        at_ns = T0_NS + day * DAY_NS + self._draw.randint(0, 3_600) * 10**9
        about: Row = {
            "wearer": name(day, zone),
            **dict.fromkeys(("appended_ns", "t_first_ns", "t_last_ns"), at_ns),
        }
        first = self._next[device]
        if not self._draw.randint(0, 2):
            self.holes[device] |= {first, first + 1}
            first += 2
        if not self._draw.randint(0, 2):
            about_refusal = {"topic": "glasses.captured", "policy_version": HOUSEHOLD.version, "zone": zone}
            rows["rejected"].append(
                row(
                    "rejected",
                    source=device,
                    stream="imu-right",
                    first=first,
                    count=2,
                    stage="zones",
                    rule="sinks.glasses.zoned",
                    wearer=about["wearer"],
                    t_ns=at_ns,
                    appended_ns=at_ns,
                    **about_refusal,
                )
            )
            self.numbers[device] |= dict.fromkeys((first, first + 1), (day, zone))
            first += 2
        count = self._draw.randint(2, 5)
        self._next[device] = first + count
        self.numbers[device] |= dict.fromkeys(range(first, first + count), (day, zone))
        rows["events"].append(batch(device, "imu-right", first, count, **{**tagged(zone=zone), **about}))
        judged = {"verdict": "allow", "policy_version": HOUSEHOLD.version, "zone": zone}
        rows["decisions"].append(
            row(
                "decisions",
                source=device,
                stream="imu-right",
                first=first,
                count=count,
                sink="store",
                mode="enforcing",
                at_ns=0,
                t_ns=at_ns,
                appended_ns=at_ns,
                label=tagged(zone=zone)["label"],
                wearer=about["wearer"],
                **judged,
            )
        )
        made = {**tagged(zone=zone), **about, "kind": "activity", "topic": "glasses.derived"}
        rows["events"] += [
            derived(device, "activity", number, **made) for number in range(first, first + count)
        ]
        run = {"child_count": count, "operator": "activity"}
        rows["edges"].append(edge((device, "activity", first), (device, "imu-right", first), **run))
        example = {**made, "kind": "example", "topic": "glasses.examples"}
        rows["events"].append(derived(device, "example", first, **example))
        rows["edges"].append(
            edge((device, "example", first), (device, "activity", first), operator="example")
        )
        self._examples.append((device, first, day, zone))

    def _trained(self, version: int, day: int) -> dict[str, list[Row]]:
        kind: Row = {**tagged(), "kind": "model", "topic": "glasses.models", "wearer": "", "partition": 0}
        rows: dict[str, list[Row]] = {"events": [derived("training", "model", version, **kind)]}
        rows["edges"] = [
            edge(("training", "model", version), (device, "example", number), operator="training")
            for device, number, made_on, zone in self._examples
            # The gate refuses what is over.
            if not is_over(made_on, zone, day)
        ]
        return rows

    def lineage(self) -> list[StoredRecord]:
        made = []
        for offset, (day, rows) in enumerate(self.records):
            key = b"training/0" if "streams" not in rows and "decisions" not in rows else b"glasses/0"
            made.append(appended(record(offset, rows, key), day))
        return made


def appended(one: StoredRecord, day: float) -> StoredRecord:
    """A record that the broker appended on a day, an hour and a half after its beginning at T0."""

    return replace(one, timestamp=int(T0_NS + day * DAY_NS + 5_400 * 10**9) // 1_000_000)


def filled(path: Path, records: Sequence[StoredRecord], *, settle: bool = True) -> Path:
    writer = Writer.open(path, fold="inline")
    take_in(writer, records)
    if settle:
        writer.settle(T0_NS)
    writer.close()
    return path


def take_in(writer: Writer, records: Sequence[StoredRecord]) -> None:
    for one in records:
        writer.ingest({0: [one]}, {}, 0)
        writer.publish(T0_NS)


def is_over(day: int, zone: str, now: float) -> bool:
    """What was appended in the first hour of a day is over before the records of another day come."""
    return day + DAYS[zone] <= now


def gone(world: World, now: float) -> tuple[set[str], set[str]]:
    """Wearers of whom nothing may be left, and those of whom all is."""
    every = {place for numbers in world.numbers.values() for place in numbers.values()}
    over = {name(*place) for place in every if is_over(*place, now)}
    return over, {name(*place) for place in every} - over
