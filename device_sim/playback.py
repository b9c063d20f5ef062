"""A recording -> what a device captures: samples of an activity, fixes of a track, utterances with their intents."""

from __future__ import annotations

import csv
import gzip
import random
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from streams.errors import InputError
from streams.events.kinds import KINDS

HERE = Path(__file__).parent / "recordings"
IMU_HZ = 100


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording: what it is, where it comes from, and its rows (texts, by column)."""

    name: str
    kind: str
    rate_hz: float | None
    licence: str
    source: str
    rows: Sequence[dict[str, str]]

    @property
    def origin(self) -> str:
        """What a batch played from it says in `origin`."""
        return f"playback:{self.name}"

    @property
    def length_s(self) -> float | None:
        """Length in seconds; None where the rows have no time."""
        return len(self.rows) / self.rate_hz if self.rate_hz else None


@cache
def recordings() -> dict[str, Recording]:
    """All recordings by name, read once."""
    found = {}
    for name, about in tomllib.loads((HERE / "recordings.toml").read_text("utf-8")).items():
        path = HERE / about["file"]
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        rows = list(csv.DictReader(data.decode().splitlines()))
        found[name] = Recording(name, about["kind"], about.get("rate_hz"), about["licence"], about["source"], rows)
    return found


def recording(name: str, kind: str) -> Recording:
    """Return the recording called `name`; InputError names those of `kind` when it is not one of them."""
    found = recordings().get(name)
    if found is None or found.kind != kind:
        known = ", ".join(r.name for r in recordings().values() if r.kind == kind)
        raise InputError(f"Recording {name!r} is none of kind {kind}; expected one of: {known}.")
    return found


class Motion:
    """Head motion of one wearer along a story of activities, endless: a piece that is too short begins again.

    Parameters
    ----------
    name
        Recording of kind imu.
    story
        (from, activities): from that time of a session on (ns), the first of the activities that the recording has.
    duration_ns
        Length of a session.
    """

    def __init__(self, name: str, story: Iterable[tuple[int, Sequence[str]]], duration_ns: int) -> None:
        self.recording = recording(name, "imu")
        pieces: dict[str, list[list[float]]] = {}
        for row in self.recording.rows:
            pieces.setdefault(row["activity"], []).append([float(row[column]) for column in KINDS["imu"].columns])
        self._pieces = pieces
        self._parts: list[tuple[int, str, int]] = []
        self._used: dict[str, int] = {}
        starts = [(start_ns * IMU_HZ // 1_000_000_000, activities) for start_ns, activities in story]
        ends = [*(start for start, _ in starts[1:]), duration_ns * IMU_HZ // 1_000_000_000]
        for (start, activities), end in zip(starts, ends, strict=True):
            played = next((activity for activity in activities if activity in pieces), None)
            if played is None:
                raise InputError(f"Recording {name} has none of the activities {', '.join(activities)}; it has {', '.join(pieces)}.")
            self._parts.append((start, played, self._used.get(played, 0)))
            self._used[played] = self._used.get(played, 0) + end - start

    def samples(self, session: int, first: int, count: int) -> dict[str, list[float]]:
        """Columns of `count` samples from sample `first` of session number `session` (from 1), 10 ms apart.

        A session goes on in each piece where the one before stopped.
        """
        rows = [self._sample(session, index) for index in range(first, first + count)]
        return {name: [row[i] for row in rows] for i, name in enumerate(KINDS["imu"].columns)}

    def _sample(self, session: int, index: int) -> list[float]:
        start, activity, offset = next(part for part in reversed(self._parts) if part[0] <= index)
        piece = self._pieces[activity]
        return piece[((session - 1) * self._used[activity] + offset + index - start) % len(piece)]


class Track:
    """Fixes of one drive, one a second; a session longer than the track begins it again."""

    def __init__(self, name: str) -> None:
        self.recording = recording(name, "location")
        self._fixes = [{column: float(row[column]) for column in KINDS["location"].columns} for row in self.recording.rows]

    def fix(self, second: int) -> dict[str, Any]:
        """Columns of the fix at `second` of a session."""
        return {name: [value] for name, value in self._fixes[second % len(self._fixes)].items()}


class Queries:
    """Utterances in an order that the seed draws; `devices` devices share it, so none repeats another's soon.

    Every round holds one utterance of each intent, as people ask for all of them; the order within a round is random.
    """

    def __init__(self, name: str, seed: int, device: int, devices: int) -> None:
        self.recording = recording(name, "voice_query")
        self._device, self._devices = device, devices
        draw = random.Random(seed)  # noqa: S311  a reproducible order, no secret
        by_intent: dict[str, list[tuple[str, str]]] = {}
        for row in self.recording.rows:
            by_intent.setdefault(row["intent"], []).append((row["utterance"], row["intent"]))
        for rows in by_intent.values():
            draw.shuffle(rows)
        self._order: list[tuple[str, str]] = []
        for i in range(max(map(len, by_intent.values()))):
            turn = [rows[i] for rows in by_intent.values() if i < len(rows)]
            draw.shuffle(turn)
            self._order.extend(turn)
        self._intents = dict(self._order)

    def query(self, number: int) -> tuple[str, str]:
        """(utterance, annotated intent) of the device's query `number`."""
        return self._order[(number * self._devices + self._device) % len(self._order)]

    def intent(self, utterance: str) -> str | None:
        """Annotated intent of an utterance that was asked, perhaps with another seed; None when it is not from here."""
        return self._intents.get(utterance)
