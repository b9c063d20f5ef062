"""What anonymised exports are judged by: k, l, t and who is unique, counted in plain Python, row by row."""

from __future__ import annotations

import csv
import hashlib
import math
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple


class Record(NamedTuple):
    """A row: who, where, when and what was told."""

    wearer: str
    place: str
    period: str
    told: str


def records_in(path: Path) -> list[Record]:
    """Rows of an export as CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [Record(*row) for row in csv.reader(file)]
    assert rows[0] == ("token", "place", "period", "told")
    return rows[1:]


def generalised(
    uses: Iterable[tuple[object, str, int, str]], hours: int, *, without_places: bool = False
) -> list[Record]:
    """Rows of each wearer, place and so many hours, from (wearer, place, hour since 1970, told)."""
    told: dict[tuple[str, str, str], set[str]] = {}
    spelled = {1: "PT1H", 6: "PT6H", 24: "P1D"}[hours]
    for wearer, place, hour, kind in uses:
        begin = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=hour - hour % hours)
        period = f"{begin:%Y-%m-%dT%H}:00Z/{spelled}"
        told.setdefault((str(wearer), "any" if without_places else place, period), set()).add(kind)
    return sorted(Record(*key, " ".join(sorted(kinds - {""}))) for key, kinds in told.items())


def classes_of(rows: Iterable[Record]) -> dict[tuple[str, str], list[Record]]:
    """Rows by place and period."""
    classes: dict[tuple[str, str], list[Record]] = {}
    for row in rows:
        classes.setdefault((row.place, row.period), []).append(row)
    return classes


def k_of(rows: list[Record]) -> int:
    return min((len({row.wearer for row in some}) for some in classes_of(rows).values()), default=0)


def l_of(rows: list[Record]) -> int:
    return min((len({row.told for row in some}) for some in classes_of(rows).values()), default=0)


def entropy_l_of(rows: list[Record]) -> float:
    values = [
        math.exp(
            -sum(n / len(some) * math.log(n / len(some)) for n in Counter(r.told for r in some).values())
        )
        for some in classes_of(rows).values()
    ]
    return min(values, default=0)


def distance(some: list[Record], rows: list[Record]) -> Fraction:
    """The earth mover's distance between what some rows tell and what all do, all values equally far apart.

    What has to be moved is what a class has too much of.
    """
    here, everywhere = Counter(row.told for row in some), Counter(row.told for row in rows)
    return sum(
        (max(Fraction(here[v], len(some)) - Fraction(everywhere[v], len(rows)), Fraction(0)) for v in here),
        Fraction(0),
    )


def t_of(rows: list[Record]) -> Fraction:
    return max((distance(some, rows) for some in classes_of(rows).values()), default=Fraction(0))


def points_of(rows: list[Record]) -> dict[str, set[tuple[str, str]]]:
    """Places and periods of each wearer."""
    points: dict[str, set[tuple[str, str]]] = {}
    for row in rows:
        points.setdefault(row.wearer, set()).add((row.place, row.period))
    return points


def unique_by_one(rows: list[Record]) -> int:
    points = points_of(rows)
    return sum(
        any(all(point not in points[other] for other in points if other != wearer) for point in own)
        for wearer, own in points.items()
    )


def unique_by(rows: list[Record], known: int | None = None) -> int:
    """Wearers of whom nobody else has all points that are known: all of them, or the first in an order."""
    points = points_of(rows)

    def order(wearer: str, point: tuple[str, str]) -> str:
        return hashlib.md5(f"{wearer} {point[0]} {point[1]}".encode(), usedforsecurity=False).hexdigest()

    unique = 0
    for wearer, own in points.items():
        drawn = set(sorted(own, key=lambda point: order(wearer, point))[:known])
        unique += not any(drawn <= points[other] for other in points if other != wearer)
    return unique


def suppressed(rows: list[Record], k_min: int, l_min: int, t_percent_max: int) -> list[Record]:
    """The rows without the classes that do not hold to the bounds, t computed anew until all do."""
    kept = [
        row
        for some in classes_of(rows).values()
        if len(some) >= k_min and len({row.told for row in some}) >= l_min
        for row in some
    ]
    while True:
        far = {key for key, some in classes_of(kept).items() if 100 * distance(some, kept) > t_percent_max}
        if not far:
            return sorted(kept)
        kept = [row for row in kept if (row.place, row.period) not in far]
