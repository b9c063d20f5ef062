"""Windows over one stream, aligned to event numbers so that they do not depend on how a fetch was cut.

A window holds numbers `k * length ... k * length + length - 1` at most. It also closes where the zone, the
label, the consent or the session changes, where a number is missing, where the session ends (law 2: a window
never mixes zones), and where its operator says that another run of samples begins. A batch that comes late
makes windows of its own: every event is in exactly one, so no two have the same number.
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

#: Samples of events as their operator keeps them until a window closes, shape (n,).
Samples = NDArray[Any]
Columns = dict[str, Any]
#: (position in the partition, session that ended there; None: all of incarnations before `incarnation`,
#: `incarnation`).
Ended = tuple[int, str | None, int]
#: (the last samples in front that are in the same window, FRONT_SAMPLES_MAX at most; samples of batches) ->
#: indices at which another window begins. It says the same however batches are put together.
Breaks = Callable[[Samples, Samples], Sequence[int]]
FRONT_SAMPLES_MAX = 4


class ClosedWindow(Struct, frozen=True):
    """A finished window of a device's stream and the place in the partition where it became known.

    `samples` has shape (count,) and is not to be written to.
    """

    source: str
    stream: str
    window: OpenWindow
    position: int
    samples: Samples

    @property
    def count(self) -> int:
        """How many samples it has."""
        return len(self.samples)

    def cited(self) -> Cited:
        """What the event that is made of it inherits: all its samples are one parent."""
        window = self.window
        return Cited(
            Parent(self.source, self.stream, window.first, 1, self.count),
            window.zone,
            bytes.fromhex(window.label),
            window.consent,
            window.since_ns,
        )


class _Piece(NamedTuple):
    """Consecutive events that no window can end between but by their numbers: batches, and their samples.

    `ends` are the numbers of events up to the end of each batch.
    """

    first: Tagged
    batches: Sequence[Batch]
    ends: Sequence[int]
    samples: Samples

    @classmethod
    def of(cls, stretch: Stretch, samples: Samples) -> _Piece:
        """All of a stretch."""
        ends = list(accumulate(batch.run.count for batch in stretch.batches))
        return cls(stretch.first, stretch.batches, ends, samples)

    def parts(self, apart: Callable[[int], bool]) -> Iterator[_Piece]:
        """Its batches in parts, cut where one ends that has a next number of which `apart` is true."""
        begun = start = 0
        for at, (batch, end) in enumerate(zip(self.batches, self.ends, strict=True), 1):
            if at == len(self.batches) or apart(batch.run.first + batch.run.count):
                ends = [end_here - start for end_here in self.ends[begun:at]]
                yield _Piece(self.first, self.batches[begun:at], ends, self.samples[start:end])
                begun, start = at, end

    @property
    def size(self) -> int:
        """How many events it has."""
        return self.ends[-1]

    def holding(self, index: int) -> tuple[Batch, int]:
        """The batch that has the event at `index`, and the index of the event in it."""
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
    """Put the samples of one stream's stretches (in partition order) into windows.

    `name` is the stream as (source, stream); stretches come with one sample of type `sample` per event;
    `length` is how many events a window has at most, None: what it has of one batch; `ended` are the session
    ends in this fetch; `breaks` finds where windows end besides. Returns the closed windows in order and the
    one that stays open.
    """
    rolling = _Rolling(name, opened, sample)
    known_to = -1

    def apart(number: int) -> bool:
        """Whether a window may end in front of a batch with this number, for more than what numbers say."""
        # What breaks windows is shown so many samples in front, of the window alone.
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
            # A window that is full is known with its last sample, one that breaks off with the next one.
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
    """The window of one stream that grows while a fetch lasts.

    `head` is the window as it began, None when there is none: most are never more than that.
    """

    def __init__(self, name: tuple[str, str], opened: OpenWindow | None, sample: np.dtype[Any]) -> None:
        self.closed: list[ClosedWindow] = []
        self.head = opened
        # All samples of one that has grown since, empty before. Grows in place while the fetch lasts: a batch
        # costs its own samples, not those of the window.
        self._samples = bytearray()
        self._sample = sample
        self._next = opened.first + len(opened.samples) // sample.itemsize if opened is not None else -1
        self._label = bytes.fromhex(opened.label) if opened is not None else b""
        self._t_last_ns = opened.t_last_ns if opened is not None else 0
        self._name, self._incarnation = name, incarnation_of(name[1])

    def continued_by(self, piece: _Piece) -> bool:
        """Whether a piece goes on where the window ends.

        It has the next number and the same zone, label, session, wearer and consent.
        """
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
        """Where between two positions the window's own session ended, if it did.

        An end that comes late is not that of the next session. A newer incarnation of the device ends them
        all.
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
        """Its last samples, FRONT_SAMPLES_MAX at most."""
        size = self._sample.itemsize
        samples = self._samples or (self.head.samples if self.head is not None else b"")
        return np.frombuffer(bytes(samples[-FRONT_SAMPLES_MAX * size :]), self._sample)

    def grow(self, piece: _Piece, packed: bytes, start: int, end: int) -> None:
        """Add samples `start` to `end` (exclusive) of a piece, whose samples are `packed`."""
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
        tagged, (batch, index) = piece.first, piece.holding(start)
        t_first_ns = batch.time_ns(index)
        self._label = tagged.label
        self.head = OpenWindow(
            batch.run.first + index,
            t_first_ns,
            self._t_last_ns,
            tagged.zone,
            tagged.label.hex(),
            batch.session_id,
            batch.wearer_id,
            tagged.consent_number,
            batch.origin,
            min(t_first_ns, batch.appended_ns),
            samples,
        )

    def close(self, position: int) -> None:
        """Finish the window, if there is one, as known at `position`."""
        window = self.left()
        if window is not None:
            samples = np.frombuffer(window.samples, self._sample)
            self.closed.append(ClosedWindow(*self._name, window, position, samples))
            self.head, self._samples = None, bytearray()

    def left(self) -> OpenWindow | None:
        """Return the window as it stands; None when there is none."""
        if self.head is None or not self._samples:
            return self.head
        return replace(self.head, t_last_ns=self._t_last_ns, samples=bytes(self._samples))
