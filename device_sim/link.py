"""The simulated radio between the glasses and Kafka, and the errors of their clocks.

The radio repeats, delays and swaps batches, and has outages. It loses nothing, because the device keeps a
batch until it is acknowledged. It is pure: time is an argument and random numbers come from the seed, so the
same run has the same faults.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from streams.events.journal import Sent

_FIELDS = {
    "repeat",
    "delay",
    "swap",
    "delay_max_s",
    "outage_from_s",
    "outage_s",
    "clock_offset_max_s",
    "clock_drift_max_ppm",
    "clock_jump_every_s",
    "clock_jump_max_s",
}


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults of a link. `repeat`, `delay`, `swap` are probabilities per batch, 0 to 1; the others are bounds.

    An outage of `outage_ns` begins `outage_from_ns` after the device's start; batches of that time are sent
    after it, in order. The clock jumps back or ahead every `clock_jump_every_ns` (0: never), and is then off
    by at most `clock_jump_max_ns`.
    """

    repeat: float = 0.01
    delay: float = 0.01
    swap: float = 0.01
    delay_max_ns: int = 1_500_000_000
    outage_from_ns: int = 0
    outage_ns: int = 0
    clock_offset_max_ns: int = 2_000_000_000
    clock_drift_max_ppm: int = 40
    clock_jump_every_ns: int = 0
    clock_jump_max_ns: int = 0

    @classmethod
    def parse(cls, table: Mapping[str, Any]) -> Faults:
        """Read the `link` table of a scenario, with times in seconds.

        ValueError if a field is unknown or out of range.
        """
        if not table.keys() <= _FIELDS:
            raise ValueError(f"link has other fields, expected some of {', '.join(sorted(_FIELDS))}")
        made = cls(
            **{
                name.replace("_s", "_ns") if name.endswith("_s") else name: round(value * 1_000_000_000)
                if name.endswith("_s")
                else value
                for name, value in table.items()
            }
        )
        if not all(0 <= chance <= 1 for chance in (made.repeat, made.delay, made.swap)):
            raise ValueError("link.repeat, link.delay and link.swap are chances, expected 0 to 1")
        return made


#: A link without faults, and a correct clock.
NONE = Faults(0.0, 0.0, 0.0, 0, 0, 0, 0, 0, 0, 0)


class Link:
    """The link of one device.

    Parameters
    ----------
    faults
        Its faults.
    seed, device
        Seed of the random numbers.
    """

    def __init__(self, faults: Faults, seed: int, device: str) -> None:
        self.faults = faults
        self._seed = f"{seed}/{device}"
        self._draw = random.Random(f"link/{self._seed}")  # noqa: S311  reproducible faults, no secret
        self.clock_offset_ns = self._draw.randint(-faults.clock_offset_max_ns, faults.clock_offset_max_ns)
        self.clock_drift_ppm = self._draw.randint(-faults.clock_drift_max_ppm, faults.clock_drift_max_ppm)
        self._jump = (0, 0)
        self._order = count()
        self._held: list[tuple[int, int, Sent]] = []
        self._swapped: tuple[int, Sent] | None = None

    def clock_shift_ns(self, elapsed_ns: int) -> int:
        """Error of the clock by its jumps, `elapsed_ns` after the device's start."""
        every_ns = self.faults.clock_jump_every_ns
        jump = elapsed_ns // every_ns if every_ns else 0
        if not jump:
            return 0
        if jump != self._jump[0]:
            draw = random.Random(f"clock/{self._seed}/{jump}")  # noqa: S311  reproducible faults, no secret
            self._jump = jump, draw.randint(-self.faults.clock_jump_max_ns, self.faults.clock_jump_max_ns)
        return self._jump[1]

    @property
    def held(self) -> int:
        """Number of batches, including repeats, that wait for the radio."""
        return len(self._held) + (self._swapped is not None)

    def pass_on(self, captured: Iterable[Sent], now_ns: int) -> list[Sent]:
        """Take what the device sends at `now_ns` (its own time since the start).

        Return what gets through by then, in order. A swapped batch is sent after the next one, or alone if
        none follows soon.
        """
        for sent in captured:
            draw = self._draw.random()
            faults = self.faults
            if draw < faults.delay:
                self._hold(sent, now_ns + self._draw.randint(1, max(1, faults.delay_max_ns)))
            elif draw < faults.delay + faults.swap and self._swapped is None:
                self._swapped = now_ns, sent
                continue
            else:
                self._hold(sent, now_ns)
                if draw > 1 - faults.repeat:
                    self._hold(sent, now_ns + self._draw.randint(0, max(0, faults.delay_max_ns)))
            self._swap_back(now_ns)
        if self._swapped is not None and self._swapped[0] < now_ns:
            self._swap_back(now_ns)
        return self._due(now_ns)

    def drain(self) -> list[Sent]:
        """Return all batches that still wait, in order; the link has no more faults from now on."""
        self.faults = NONE
        self._swap_back(0)
        return [heapq.heappop(self._held)[2] for _ in range(len(self._held))]

    def _swap_back(self, due_ns: int) -> None:
        if self._swapped is not None:
            self._hold(self._swapped[1], due_ns)
            self._swapped = None

    def _hold(self, sent: Sent, due_ns: int) -> None:
        faults = self.faults
        if faults.outage_from_ns <= due_ns < faults.outage_from_ns + faults.outage_ns:
            due_ns = faults.outage_from_ns + faults.outage_ns
        heapq.heappush(self._held, (due_ns, next(self._order), sent))

    def _due(self, now_ns: int) -> list[Sent]:
        due = []
        while self._held and self._held[0][0] <= now_ns:
            due.append(heapq.heappop(self._held)[2])
        return due
