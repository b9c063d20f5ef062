"""Synthetic signals that no recording has: sound levels of a room, a pulse, and radios near by.

Sound levels follow measurements: the background is that of the Aria recording (-60 dBFS), and speech is 20 to
30 dB louder. A pulse is a cosine of 1.1 Hz with its first harmonic, at 128 readings per second like Aria
Gen 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_sim.scenarios import Turn

BLOCK_NS = 20_000_000  #: length of a block of sound, as on Aria Gen 2
PULSE_HZ, PULSE_RATE_HZ = 1.1, 128
SCAN_EVERY_NS, SCAN_MS = 20_000_000_000, 2000
_FLOOR_DBFS, _SPEECH_DBFS = -60.0, {"wearer": -28.0, "other": -36.0, "unknown": -40.0}
_CREST_DB = 9.0
_SYLLABLE_HZ = 4.0

Times = NDArray[np.int64]


def signal(name: str, turns: Sequence[Turn], duration_ns: int, seed: int) -> tuple[Times, dict[str, Any]]:
    """(times in ns since the start (n,), columns of n values) of the signal `name` over a session."""
    draw = np.random.default_rng([seed, *name.encode()])
    if name == "sound":
        return _sound(turns, duration_ns, draw)
    if name == "pulse":
        return _pulse(duration_ns, draw)
    return _radios(duration_ns, draw)


def _sound(
    turns: Sequence[Turn], duration_ns: int, draw: np.random.Generator
) -> tuple[Times, dict[str, Any]]:
    t_ns = np.arange(0, duration_ns, BLOCK_NS, dtype=np.int64)
    rms = _FLOOR_DBFS + draw.normal(0.0, 1.5, len(t_ns))
    voiced = np.zeros(len(t_ns), dtype=bool)
    for turn in turns:
        here = (t_ns >= turn.from_ns) & (t_ns < turn.to_ns)
        # The level rises and falls with syllables.
        swing = 6.0 * np.cos(2 * np.pi * _SYLLABLE_HZ * t_ns[here] / 1e9)
        rms[here] = _SPEECH_DBFS[turn.speaker] + swing + draw.normal(0.0, 2.0, int(here.sum()))
        voiced |= here
    peak = np.minimum(0.0, rms + _CREST_DB + draw.normal(0.0, 1.0, len(t_ns)))
    return t_ns, {"rms_dbfs": rms.round(2), "peak_dbfs": peak.round(2), "voiced": voiced}


def _pulse(duration_ns: int, draw: np.random.Generator) -> tuple[Times, dict[str, Any]]:
    n = duration_ns * PULSE_RATE_HZ // 1_000_000_000
    t_ns = np.arange(n, dtype=np.int64) * 1_000_000_000 // PULSE_RATE_HZ
    phase = 2 * np.pi * PULSE_HZ * t_ns / 1e9
    raw = 120_000 + 900 * np.cos(phase) + 250 * np.cos(2 * phase) + draw.normal(0.0, 40.0, n)
    return t_ns, {
        "raw": raw.astype(np.int64),
        "led_ma": np.full(n, 12.5),
        "integration_us": np.full(n, 24, dtype=np.int64),
    }


def _radios(duration_ns: int, draw: np.random.Generator) -> tuple[Times, dict[str, Any]]:
    t_ns = np.arange(SCAN_EVERY_NS // 2, duration_ns, SCAN_EVERY_NS, dtype=np.int64)
    n = len(t_ns)
    return t_ns, {
        "radio": ["ble"] * n,
        "scan_ms": np.full(n, SCAN_MS, dtype=np.int64),
        "sightings": draw.poisson(14, n).astype(np.int64),
        "strongest_dbm": draw.integers(-82, -41, n),
    }
