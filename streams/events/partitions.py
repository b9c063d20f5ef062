"""Sets of partitions as people write them: `0-1,3`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from streams.errors import InputError

#: No Kafka is asked for more partitions of a topic than this.
PARTITIONS_MAX = 100_000
_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)


def parse(text: str) -> tuple[int, ...]:
    """Partitions of a list of numbers and ranges, sorted.

    InputError if the text is malformed, a range is empty, or a partition is named twice.
    """
    partitions: list[int] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise InputError(f"partitions: found {text!r}, expected numbers and ranges such as 0-1 or 0,2-3")
        low, high = int(match[1]), int(match[2] or match[1])
        if high < low:
            raise InputError(
                f"partitions: found the range {part.strip()}, which is empty, expected the lower number first"
            )
        if high >= PARTITIONS_MAX:
            raise InputError(f"partitions: found {high}, expected less than {PARTITIONS_MAX:,}")
        partitions += range(low, high + 1)
    if len(set(partitions)) < len(partitions):
        raise InputError(f"partitions: found {text!r}, which names one twice, expected each once")
    return tuple(sorted(partitions))


def spelled(partitions: Iterable[int]) -> str:
    """Partitions as `parse` reads them, with as few ranges as possible."""
    ranges: list[list[int]] = []
    for partition in sorted(partitions):
        if ranges and partition == ranges[-1][1] + 1:
            ranges[-1][1] = partition
        else:
            ranges.append([partition, partition])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)
