"""Runs: lineage of single events, written compactly as arithmetic progressions (law 3).

An edge run means that child number `child.first + i * child.step` comes from parents
`parent_first + i * parent_step ... + width - 1`, for `0 <= i < child.count`. One formula covers one-to-one
(`width` 1), all-to-one (`count` 1), tumbling (`parent_step == width`) and overlapping windows
(`parent_step < width`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from msgspec import Struct


class Run(Struct, frozen=True, order=True, gc=False):
    """`count` numbers from `first`, `step` apart."""

    first: int
    step: int
    count: int

    def __post_init__(self) -> None:
        if self.count < 1 or self.step < 1 or self.first < 0:
            raise ValueError(
                f"a run has first >= 0, step >= 1 and count >= 1, found {self.first}, "
                f"{self.step}, {self.count}"
            )

    @property
    def last(self) -> int:
        """Highest number of the run."""
        return self.first + self.step * (self.count - 1)

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.last + 1, self.step))

    def __contains__(self, number: object) -> bool:
        return (
            isinstance(number, int)
            and self.first <= number <= self.last
            and (number - self.first) % self.step == 0
        )


class EdgeRun(Struct, frozen=True, gc=False):
    """Lineage between the children in one stream and their parents in one other stream."""

    child: Run
    parent_first: int
    parent_step: int
    width: int

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Every (child number, parent number) of the run."""
        for i, number in enumerate(self.child):
            start = self.parent_first + i * self.parent_step
            for parent in range(start, start + self.width):
                yield number, parent


def consecutive(numbers: Iterable[int]) -> list[Run]:
    """Cover strictly increasing numbers with the fewest runs of step 1."""
    runs: list[Run] = []
    for number in numbers:
        if runs and runs[-1].last + 1 == number:
            runs[-1] = Run(runs[-1].first, 1, runs[-1].count + 1)
        else:
            runs.append(Run(number, 1, 1))
    return runs


def longer_run(earlier: Run, later: Run) -> Run | None:
    """Join two runs; None if the later one does not continue the earlier."""
    if earlier.count == 1 and later.count == 1:
        step = later.first - earlier.first
    else:
        step = earlier.step if earlier.count > 1 else later.step
        if later.count > 1 and later.step != step:
            return None
    if step < 1 or later.first != earlier.first + step * earlier.count:
        return None
    return Run(earlier.first, step, earlier.count + later.count)


def extends(earlier: EdgeRun, later: EdgeRun) -> EdgeRun | None:
    """Join two edge runs; None if the later one does not continue the earlier."""
    a, b = earlier, later
    if a.width != b.width:
        return None
    child_step = a.child.step if a.child.count > 1 else b.child.first - a.child.first
    parent_step = a.parent_step if a.child.count > 1 else b.parent_first - a.parent_first
    follows = (
        child_step > 0
        and parent_step >= 0
        and b.child.first == a.child.first + child_step * a.child.count
        and b.parent_first == a.parent_first + parent_step * a.child.count
        and (b.child.count == 1 or (b.child.step == child_step and b.parent_step == parent_step))
    )
    if not follows:
        return None
    return EdgeRun(
        Run(a.child.first, child_step, a.child.count + b.child.count), a.parent_first, parent_step, a.width
    )


Directness = Literal["direct", "indirect"]


class Parent(Struct, frozen=True):
    """Parents of a derived run in one stream: child i comes from `first + i * step ... + width - 1`.

    All parents have the same `revision`.
    """

    source: str
    stream: str
    first: int
    step: int
    width: int
    directness: Directness = "direct"
    declassifier: str = ""
    revision: int = 0
