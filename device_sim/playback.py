"""Samples of a device's streams in a session: recordings arranged by the scenario's story, or signals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_sim import recordings, sensors
from device_sim.scenarios import Scenario, Stream, Turn
from streams.errors import InputError
from streams.events.shipped import SHIPPED

Ints = NDArray[np.int64]
Story = tuple[tuple[int, tuple[str, ...]], ...]
_SESSIONS_CACHED = 512
_DECIMALS = 4  #: as in the recordings


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """Samples of one stream over one session.

    `t_ns` (n,) are increasing times since the start of the session; `rows` (n,) has the row of `columns` that
    is played at each time, so that many devices share the columns of a recording.
    """

    origin: str
    t_ns: Ints
    rows: Ints
    columns: Mapping[str, Any]
    kind: str

    def between(self, start_ns: int, end_ns: int) -> tuple[list[int], dict[str, list[Any]]]:
        """Times and columns of the samples in [start, end)."""
        low, high = np.searchsorted(self.t_ns, (start_ns, end_ns)).tolist()
        rows = self.rows[low:high]
        return self.t_ns[low:high].tolist(), {
            name: _values(self.columns[name], rows, nullable=wanted.endswith("?"))
            for name, wanted in SHIPPED[self.kind].columns.items()
        }


def _values(column: Any, rows: Ints, *, nullable: bool) -> list[Any]:
    if isinstance(column, list):
        return [column[row] for row in rows.tolist()]
    values: list[Any] = column[rows].tolist()
    # NaN means not measured, which is null in JSON.
    return [None if isnan(value) else value for value in values] if nullable else values


def timeline(scenario: Scenario, device: int, seed: int, stream: Stream, session: int) -> Timeline:
    """Return the samples of a stream of device number `device` (from 0) in a session (from 1).

    InputError if the recording cannot be played.
    """
    if stream.sensor:
        whole = _signal(stream.sensor, stream.kind, scenario.turns, scenario.duration_ns, seed + device)
    else:
        name = stream.recordings[device % len(stream.recordings)]
        whole = _played(name, stream.kind, stream.story, scenario.duration_ns, session, stream.rate_hz)
    if not stream.during:
        return whole
    on = np.logical_or.reduce([(whole.t_ns >= start) & (whole.t_ns < end) for start, end in stream.during])
    return replace(whole, t_ns=whole.t_ns[on], rows=whole.rows[on])


@lru_cache(_SESSIONS_CACHED)
def _signal(sensor: str, kind: str, turns: tuple[Turn, ...], duration_ns: int, seed: int) -> Timeline:
    t_ns, columns = sensors.signal(sensor, turns, duration_ns, seed)
    return Timeline(f"synthetic:{seed}", t_ns, np.arange(len(t_ns)), columns, kind)


@lru_cache(_SESSIONS_CACHED)
def _played(name: str, kind: str, story: Story, duration_ns: int, session: int, rate_hz: int = 0) -> Timeline:
    """Play a recording along a story, resampled to `rate_hz` if not 0.

    In each piece, a session continues where the session before stopped.
    """
    about = recordings.named(name, kind)
    samples = recordings.samples(name)
    parts = _parts(about, story, duration_ns)
    used: dict[tuple[int, int], int] = {}
    for piece, start_ns, end_ns in parts:
        used[piece] = used.get(piece, 0) + end_ns - start_ns
    offset = {piece: (session - 1) * total for piece, total in used.items()}
    times, rows = [], []
    for piece, start_ns, end_ns in parts:
        first, count = piece
        t_ns = samples.t_ns[first : first + count] - samples.t_ns[first]
        repeated, index = _repeated(t_ns, offset[piece], offset[piece] + end_ns - start_ns)
        times.append(repeated - offset[piece] + start_ns)
        rows.append(index + first)
        offset[piece] += end_ns - start_ns
    whole = Timeline(about.origin, np.concatenate(times), np.concatenate(rows), samples.columns, kind)
    return (
        _resampled(whole, rate_hz, duration_ns) if rate_hz else replace(whole, columns=_whole(whole.columns))
    )


def _resampled(played: Timeline, rate_hz: int, duration_ns: int) -> Timeline:
    """Resample by linear interpolation, as if a faster or slower sensor had measured."""
    t_ns = np.arange(duration_ns * rate_hz // 1_000_000_000, dtype=np.int64) * 1_000_000_000 // rate_hz
    columns = {
        name: np.interp(t_ns, played.t_ns, column[played.rows]).round(_DECIMALS)
        for name, column in played.columns.items()
    }
    return replace(played, t_ns=t_ns, rows=np.arange(len(t_ns)), columns=columns)


def _parts(about: recordings.About, story: Story, duration_ns: int) -> list[tuple[tuple[int, int], int, int]]:
    """((first row, rows), from, to) of each part of a session."""
    if not story:
        return [((0, about.rows), 0, duration_ns)]
    parts = []
    for (start_ns, wanted), end_ns in zip(
        story, [*(start for start, _ in story[1:]), duration_ns], strict=True
    ):
        piece = next((about.pieces[name] for name in wanted if name in about.pieces), None)
        if piece is None:
            raise InputError(
                f"Recording {about.name} has none of the pieces {', '.join(wanted)}; "
                f"it has {', '.join(about.pieces)}."
            )
        parts.append(((piece[0], piece[1]), start_ns, end_ns))
    return parts


def _repeated(t_ns: Ints, start_ns: int, end_ns: int) -> tuple[Ints, Ints]:
    """Times in [start, end) of endlessly repeated samples, and the index of each.

    The samples are at `t_ns` (n,); the repetition begins at 0.
    """
    # One mean step longer, so that the first sample of a round is not at the time of the last one before it.
    length_ns = int(t_ns[-1]) + max(1, int(t_ns[-1]) // max(1, len(t_ns) - 1))
    rounds = np.arange(start_ns // length_ns, -(-end_ns // length_ns), dtype=np.int64)
    times = (rounds[:, None] * length_ns + t_ns[None, :]).ravel()
    index = np.tile(np.arange(len(t_ns), dtype=np.int64), len(rounds))
    inside = (times >= start_ns) & (times < end_ns)
    return times[inside], index[inside]


def _whole(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Convert columns with only whole numbers, such as counts and sizes, to integers."""
    return {
        name: (
            column.astype(np.int64)
            if isinstance(column, np.ndarray)
            and column.dtype == np.float64
            and np.isfinite(column).all()
            and (column == np.round(column)).all()
            else column
        )
        for name, column in columns.items()
    }
