"""Speech or silence from sound levels; the sound itself never leaves the device.

Method: short-time energy against a threshold above the background noise, after Rabiner and Sambur, "An
algorithm for determining the endpoints of isolated utterances", Bell System Technical Journal 54(2), 1975,
section III. The background is that of the Aria recording, about -60 dBFS; blocks 10 dB above it are speech.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streams.events.batch import Batch
from streams.events.codec import column
from streams.processing.operators import Operator
from streams.processing.windows import ClosedWindow, Columns, Samples

WINDOW_BLOCKS = 50
BACKGROUND_DBFS, MARGIN_DB = -60.0, 10.0
SPEECH_SHARE_MIN = 0.3  #: smallest share of loud blocks in a window of speech; a click has fewer


def samples(batches: Sequence[Batch]) -> Samples:
    """Level in dBFS of every block."""
    return column(batches, "rms_dbfs")


def values(closed: Sequence[ClosedWindow]) -> list[Columns]:
    """Columns of the speech event for each window."""
    return [_speech(window.samples.tolist()) for window in closed]


def _speech(levels: Sequence[float]) -> Columns:
    share = sum(level > BACKGROUND_DBFS + MARGIN_DB for level in levels) / len(levels)
    return {
        "speech": "speech" if share >= SPEECH_SHARE_MIN else "silence",
        "speech_share": round(share, 3),
        "level_dbfs": round(sum(levels) / len(levels), 2),
        "samples": len(levels),
    }


SPEECH = Operator(
    name="speech",
    version=1,
    reads="audio_level",
    primary="audio-level",
    sample=np.dtype("<f8"),
    samples=samples,
    length=WINDOW_BLOCKS,
    makes=values,
)
