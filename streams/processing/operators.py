"""The windowed operators, as data: what each reads, how long its windows are, what it makes of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from streams import limits
from streams.events.identity import derived_stream
from streams.events.state import SAMPLES, Samples
from streams.policy.step import Tagged
from streams.processing import activity, fixation, place, speech
from streams.processing.windows import Breaks, Values


@dataclass(frozen=True, slots=True)
class Operator:
    """One windowed operator.

    `reads` is the kind it takes and `primary` the stream whose name the derived stream does not repeat;
    `length` is in events; `samples` gives one array of samples a batch; `values` turns closed windows and the
    devices' places into columns (None: a window makes no event) and places; `cites` names the column that a
    situation shows, if any; `breaks` says where windows end besides (see `windows.roll`).
    """

    name: str
    version: int
    reads: str
    primary: str
    length: int
    samples: Callable[[Sequence[Tagged]], Sequence[Samples]]
    values: Values
    cites: str = ""
    breaks: Breaks | None = None

    def stream(self, read: str) -> str:
        """Name of the stream that it derives from the stream `read` (law 1)."""
        return _stream(self.name, self.primary, read)


OPERATORS: Mapping[str, Operator] = {
    operator.reads: operator
    for operator in (
        Operator(
            "activity",
            1,
            "imu",
            "imu-right",
            activity.WINDOW_SAMPLES,
            activity.samples,
            activity.values,
            "activity",
        ),
        Operator(
            "fixation",
            1,
            "gaze",
            "gaze",
            fixation.WINDOW_SAMPLES,
            fixation.samples,
            fixation.values,
            breaks=fixation.breaks,
        ),
        Operator(
            "speech", 1, "audio_level", "audio-level", speech.WINDOW_BLOCKS, speech.samples, speech.values
        ),
        Operator(
            "place",
            1,
            "location",
            "location",
            place.WINDOW_FIXES,
            place.samples,
            place.values,
            "place_number",
        ),
    )
}

if (
    max(one.length * SAMPLES[kind].itemsize for kind, one in OPERATORS.items())
    * limits.STREAMS_PER_DEVICE_MAX
    > limits.OPEN_WINDOWS_BYTES_MAX
):
    raise AssertionError("a device's open windows must not outgrow their bound on any of its streams")


@lru_cache(maxsize=1024)
def _stream(name: str, primary: str, read: str) -> str:
    base = read.partition("~")[0]
    return derived_stream(name if base == primary else f"{name}-{base}", read)
