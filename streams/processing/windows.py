"""Windows over one stream, aligned to event numbers, so that they do not depend on the division into fetches.

A window holds at most the numbers `k * length ... k * length + length - 1`. It closes early where the zone,
label, consent or session changes (law 2: a window never mixes zones), where a number is missing, where the
session ends, and where its operator begins a new run of samples. Here a late batch makes windows of its own:
every event is in exactly one window, so no two windows have the same first number. `streams.processing.late`
joins them with the windows beside them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from streams.events.batch import Batch
from streams.events.identity import incarnation_of
from streams.events.runs import Parent
from streams.events.state import OpenWindow
from streams.policy.crossing import Cited
from streams.policy.step import Stretch, Tagged

#: Samples of events, shape (n,), as their operator keeps them until the window closes.
Samples = NDArray[Any]
Columns = dict[str, Any]
#: (position in the partition, session, incarnation): this session ended there or, if it is None, all sessions
#: of earlier incarnations did.
Ended = tuple[int, str | None, int]
#: (last samples of the open window, at most FRONT_SAMPLES_MAX; new samples) -> indices of new samples at
#: which a window begins. The result must not depend on how samples are divided into batches.
Breaks = Callable[[Samples, Samples], Sequence[int]]
FRONT_SAMPLES_MAX = 4


class ClosedWindow(Struct, frozen=True):
    """A finished window of a device's stream; `position` is the offset of the record that closed it.

    `samples` has shape (count,) and is read-only.
    """

    source: str
    stream: str
    window: OpenWindow
    position: int
    samples: Samples

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(self.samples)

    def cited(self) -> Cited:
        """What an event derived from the window inherits; its samples together are one parent."""
        window = self.window
        return Cited(
            Parent(self.source, self.stream, window.first, 1, self.count),
            window.zone,
            bytes.fromhex(window.label),
            window.consent,
            window.since_ns,
        )


def begun(tagged: Tagged, batch: Batch, index: int, t_last_ns: int, samples: bytes) -> OpenWindow:
    """Window that begins with the event at `index` of `batch`, which is tagged as `tagged` is."""
    t_first_ns = batch.time_ns(index)
    return OpenWindow(
        batch.run.first + index,
        t_first_ns,
        t_last_ns,
        tagged.zone,
        tagged.label.hex(),
        batch.session_id,
        batch.wearer_id,
        tagged.consent_number,
        batch.origin,
        min(t_first_ns, batch.appended_ns),
        samples,
    )


class _Piece(NamedTuple):
    """Consecutive batches of a stretch and their samples, within which only event numbers can end a window.

    `ends` has the cumulative number of events at the end of each batch.
    """

    first: Tagged
    batches: Sequence[Batch]
    ends: Sequence[int]
    samples: Samples

    @classmethod
    def of(cls, stretch: Stretch, samples: Samples) -> _Piece:
        """Make one piece of a whole stretch."""
        ends = list(accumulate(batch.run.count for batch in stretch.batches))
        return cls(stretch.first, stretch.batches, ends, samples)

    def parts(self, apart: Callable[[int], bool]) -> Iterator[_Piece]:
        """Split the piece after each batch for whose next number `apart` is true."""
        begun = start = 0
        for at, (batch, end) in enumerate(zip(self.batches, self.ends, strict=True), 1):
            if at == len(self.batches) or apart(batch.run.first + batch.run.count):
                ends = [end_here - start for end_here in self.ends[begun:at]]
                yield _Piece(self.first, self.batches[begun:at], ends, self.samples[start:end])
                begun, start = at, end

    @property
    def size(self) -> int:
        """Number of events."""
        return self.ends[-1]

    def holding(self, index: int) -> tuple[Batch, int]:
        """Find the event at `index`: its batch, and its index in that batch."""
        at = bisect_right(self.ends, index)
        batch = self.batches[at]
        return batch, index - self.ends[at] + batch.run.count


def roll(
    name: tuple[str, str],
    opened: OpenWindow | None,
    stretches: Sequence[tuple[Stretch, Samples]],
    sample: np.dtype[Any],
    length: int | None,
    ended: Sequence[Ended],
    breaks: Breaks | None = None,
) -> tuple[list[ClosedWindow], OpenWindow | None]:
    """Divide the samples of one stream's stretches (in partition order) into windows.

    `name` is the stream as (source, stream). Each stretch comes with one sample of type `sample` per event.
    `length` is the maximal number of events in a window; None: each batch is a window. `ended` are the ends
    of sessions in this fetch; `breaks` finds further ends of windows. Returns the closed windows in order and
    the one that stays open.
    """
    rolling = _Rolling(name, opened, sample)
    known_to = -1

    def apart(number: int) -> bool:
        """Whether a window may end before a batch with this number for another reason than its length."""
        # Shortly after a window began, `breaks` needs its few samples so far, and only those.
        return bool(ended) or length is None or (breaks is not None and number % length < FRONT_SAMPLES_MAX)

    for stretch, samples in stretches:
        for piece in _Piece.of(stretch, samples).parts(apart):
            first, count, position = piece.batches[0].run.first, piece.size, piece.batches[0].position
            over = rolling.end_between(ended, known_to, position)
            if over is not None or not rolling.continued_by(piece):
                rolling.close(position if over is None else over)
            full: Sequence[int] = (
                (count,) if length is None else range(length - first % length, count + 1, length)
            )
            # A full window closes with its last sample, one that breaks off with the sample after it.
            known = {} if breaks is None else {end: end for end in breaks(rolling.front(), piece.samples)}
            known |= {end: end - 1 for end in full}
            start, packed = 0, piece.samples.tobytes()
            for end in sorted(known):
                rolling.grow(piece, packed, start, end)
                rolling.close(piece.holding(known[end])[0].position)
                start = end
            rolling.grow(piece, packed, start, count)
            known_to = piece.batches[-1].position
    over = rolling.end_between(ended, known_to, math.inf)
    if over is not None:
        rolling.close(over)
    return rolling.closed, rolling.left()


class _Rolling:
    """The open window of one stream, which grows during a fetch.

    `head` is the window with its first samples, None if none is open. Most windows close without growing.
    """

    def __init__(self, name: tuple[str, str], opened: OpenWindow | None, sample: np.dtype[Any]) -> None:
        self.closed: list[ClosedWindow] = []
        self.head = opened
        # All samples once the window grew beyond `head`, empty before. They grow in place, so that adding a
        # batch copies its samples only and not the whole window.
        self._samples = bytearray()
        self._sample = sample
        self._next = opened.first + len(opened.samples) // sample.itemsize if opened is not None else -1
        self._label = bytes.fromhex(opened.label) if opened is not None else b""
        self._t_last_ns = opened.t_last_ns if opened is not None else 0
        self._name, self._incarnation = name, incarnation_of(name[1])

    def continued_by(self, piece: _Piece) -> bool:
        """Whether a piece continues the window: next number; same zone, label, session, wearer, consent."""
        tagged, batch, head = piece.first, piece.batches[0], self.head
        return (
            head is not None
            and self._next == batch.run.first
            and head.zone == tagged.zone
            and self._label == tagged.label
            and head.session_id == batch.session_id
            and head.wearer_id == batch.wearer_id
            and head.consent == tagged.consent_number
        )

    def end_between(self, ended: Sequence[Ended], low: int, high: float) -> int | None:
        """Position between `low` and `high` (exclusive) at which the window's session ended, if it did.

        Sessions are compared, because the end of an earlier session may arrive late. A newer incarnation of
        the device ends all earlier sessions.
        """
        head = self.head
        if head is None:
            return None
        return min(
            (
                position
                for position, session, incarnation in ended
                if low < position < high
                and (session == head.session_id if session is not None else self._incarnation < incarnation)
            ),
            default=None,
        )

    def front(self) -> Samples:
        """Last samples of the window, at most FRONT_SAMPLES_MAX."""
        size = self._sample.itemsize
        samples = self._samples or (self.head.samples if self.head is not None else b"")
        return np.frombuffer(bytes(samples[-FRONT_SAMPLES_MAX * size :]), self._sample)

    def grow(self, piece: _Piece, packed: bytes, start: int, end: int) -> None:
        """Add samples `start` to `end` (exclusive) of a piece; `packed` are the bytes of all its samples."""
        if end <= start:
            return
        size = self._sample.itemsize
        samples = packed if end - start == piece.size else packed[start * size : end * size]
        last, index = piece.holding(end - 1)
        self._next = last.run.first + index + 1
        self._t_last_ns = last.time_ns(index)
        if self.head is not None:
            self._samples += samples if self._samples else self.head.samples + samples
            return
        batch, index = piece.holding(start)
        self._label = piece.first.label
        self.head = begun(piece.first, batch, index, self._t_last_ns, samples)

    def close(self, position: int) -> None:
        """Close the window, if one is open, at `position`."""
        window = self.left()
        if window is not None:
            samples = np.frombuffer(window.samples, self._sample)
            self.closed.append(ClosedWindow(*self._name, window, position, samples))
            self.head, self._samples = None, bytearray()

    def left(self) -> OpenWindow | None:
        """Return the open window; None if there is none."""
        if self.head is None or not self._samples:
            return self.head
        return replace(self.head, t_last_ns=self._t_last_ns, samples=bytes(self._samples))
