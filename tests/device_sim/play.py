"""Plays into journals and reads them back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from device_sim.runner import Options, Run, Summary
from streams.events import codec, journal
from streams.events.batch import Batch

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
        return await Run(options(directory, **changes)).run()

    return asyncio.run(run())


def forget_acknowledgements(path: Path) -> None:
    """Leave a journal as a run leaves it that no broker has answered."""
    kept = [
        line for line in path.read_bytes().splitlines(keepends=True) if not line.startswith(b'{"line":"ack"')
    ]
    path.write_bytes(b"".join(kept))


def batches(path: Path) -> list[Batch]:
    return [codec.decode(sent.value, position) for position, sent in enumerate(journal.sent(path))]


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
