"""Plays into journals and reads them back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from device_sim import gateway
from device_sim.runner import Options, Simulation, Summary
from streams.events import journal
from streams.events.batch import Batch
from streams.events.journal import Sent
from streams.events.record import StoredRecord
from tests import build

START_NS = 1_700_000_000_000_000_000


def options(directory: Path, **changes: Any) -> Options:
    values: dict[str, Any] = {
        "scenario": "smoke",
        "devices": 2,
        "speed": 1,
        "seed": 7,
        "duration_s": 60.0,
        "journal": directory,
        "partitions": 4,
        "broker": None,
        "start_ns": START_NS,
        "faults": False,
    }
    return Options(**{**values, **changes})


def play(directory: Path, **changes: Any) -> Summary:
    async def run() -> Summary:
        return await Simulation(options(directory, **changes)).run()

    return asyncio.run(run())


def forget_acknowledgements(path: Path) -> None:
    """Leave a journal as a run leaves it that no broker has answered."""
    kept = [
        line for line in path.read_bytes().splitlines(keepends=True) if not line.startswith(b'{"line":"ack"')
    ]
    path.write_bytes(b"".join(kept))


def batches(path: Path) -> list[Batch]:
    return [build.CODEC.decode(sent.value, position) for position, sent in enumerate(journal.sent(path))]


def by_stream(found: list[Batch]) -> dict[str, list[Batch]]:
    streams: dict[str, list[Batch]] = {}
    for batch in found:
        streams.setdefault(batch.stream, []).append(batch)
    return streams


def truth(path: Path) -> dict[tuple[str, int], list[str]]:
    """Zones that the journal claims for each event."""
    zones: dict[tuple[str, int], list[str]] = {}
    for line in journal.lines(path):
        if line["line"] == "truth":
            for number in range(line["first"], line["first"] + line["n"]):
                zones.setdefault((line["stream"], number), []).append(line["zone"])
    return zones


class Kafka:
    """Stands for a `KafkaLink`: acknowledges what `takes` lets it, in order, whenever somebody waits."""

    def __init__(
        self,
        broker: str,
        partitions: int,
        devices: object,
        on_ack: Callable[[Sent, int, int, int | None], None],
        on_answer: object,
        on_notice: object = None,
        *,
        takes: Callable[[Sent], bool] = lambda sent: True,
        stored: Mapping[str, Sequence[StoredRecord]] | None = None,
    ) -> None:
        self.broker, self.partitions = broker, partitions
        self.sent: list[Sent] = []
        self.looked: list[str] = []
        self.most = 0
        self._on_ack, self._takes, self._stored = on_ack, takes, stored or {}
        self._unacknowledged: list[Sent] = []
        self._offsets = count()

    @property
    def unacknowledged(self) -> int:
        return len(self._unacknowledged)

    async def start(self) -> None: ...

    def partition(self, key: bytes) -> int:
        return 0

    def send(self, sent: Sent) -> None:
        self.sent.append(sent)
        self._unacknowledged.append(sent)
        self.most = max(self.most, len(self._unacknowledged))

    async def until(self, met: Callable[[], bool]) -> None:
        if not met():
            self._acknowledge()
        assert met()

    async def flush(self, timeout_s: float) -> int:
        while self._acknowledge():
            pass
        return self.unacknowledged

    async def look(
        self, topic: str, partition: int, take: Callable[[StoredRecord], None], until_s: float
    ) -> int:
        self.looked.append(topic)
        for record in self._stored.get(topic, ()):
            take(record)
        return 0

    async def close(self) -> None: ...

    def _acknowledge(self) -> bool:
        taken = [sent for sent in self._unacknowledged if self._takes(sent)]
        for sent in taken:
            self._unacknowledged.remove(sent)
            self._on_ack(sent, 0, next(self._offsets), START_NS)
        return bool(taken)


def under_consent_too_early(path: Path) -> list[str]:
    """Ids of copies in a journal that were sent under a consent before its change was acknowledged."""
    heard: dict[int, int] = {}
    names: dict[str, set[int]] = {}
    for batch in batches(path):
        names[batch.first_id] = {context.consent for _, _, context in batch.spans() if context is not None}
    acks = [line for line in journal.lines(path) if line["line"] == "ack"]
    gives = {
        batch.first_id: batch.columns["consent"][0]
        for batch in batches(path)
        if batch.kind == "consent_change"
    }
    for line in acks:
        if line["id"] in gives:
            heard.setdefault(gives[line["id"]], line["acked_ns"])
    return [
        line["id"]
        for line in acks
        if any(number and line["sent_ns"] < heard.get(number, 2**63) for number in names[line["id"]])
    ]


def kafka(monkeypatch: pytest.MonkeyPatch, **how: Any) -> list[Kafka]:
    """Every `KafkaLink` that glasses, a command or a run make from now on."""
    made: list[Kafka] = []

    def link(*arguments: Any) -> Kafka:
        made.append(partial(Kafka, **how)(*arguments))
        return made[-1]

    monkeypatch.setattr(gateway, "KafkaLink", link)
    return made
