"""How far rows about people are anonymous: k, l, t and who is unique, each computed by a statement in SQL.

A row says what a wearer told the glasses (`told`) at a place in a period of time; place and period are the
quasi-identifiers, which somebody else may know, `told` is the sensitive attribute. Rows that agree in place
and period are a class, and a wearer has one row of each, so a class has as many wearers as rows.

- k: wearers of the smallest class (Sweeney 2002).
- l: different values of `told` in the class that has fewest: distinct l-diversity. Entropy l-diversity, the
  exponential of the entropy, is computed beside it (Machanavajjhala et al. 2007).
- t: the greatest distance between the values of a class and those of all rows. Values have no order, so the
  earth mover's distance is half the sum of the differences of their shares (Li et al. 2007).
- unique: wearers of whom some points (place and period) are known that no other wearer has all of (de
  Montjoye et al. 2013). k does not bound that, because the rows of one wearer have one token.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal

import duckdb
import pyarrow
from msgspec import Struct

from streams.policy.rules import AnonymityBounds
from streams.queries import instance
from streams.queries.statement import unsaid

Places = Literal["each", "any"]
Period = Literal["hour", "part of day", "day"]
#: Hours of a period, and how ISO 8601 spells that.
_HOURS: Mapping[Period, tuple[int, str]] = {
    "hour": (1, "PT1H"),
    "part of day": (6, "PT6H"),
    "day": (24, "P1D"),
}
#: From the finest to the coarsest. There are few places to begin with, so times give way first.
LEVELS: tuple[tuple[Places, Period], ...] = tuple(
    (place, period) for place in ("each", "any") for period in ("hour", "part of day", "day")
)
#: How many points of a wearer are drawn for the test of de Montjoye et al.
DRAWN = 4
_GENERALISED = """
    CREATE OR REPLACE TABLE rows AS
    SELECT wearer, {place} AS place, {period} AS period,
        coalesce(string_agg(DISTINCT told, ' ' ORDER BY told) FILTER (told <> ''), '') AS told
    FROM used GROUP BY ALL
"""
#: Of each class: its wearers and values, the entropy of these, and t as a fraction of integers, so that no
#: rounding decides. Values that a class does not have count with their share of all rows.
_CLASSES = """
    CREATE OR REPLACE VIEW classes AS
    WITH whole AS (SELECT told, count(*)::HUGEINT AS of_all FROM rows GROUP BY told),
        cells AS (SELECT place, period, told, count(*)::HUGEINT AS of_class FROM rows GROUP BY ALL),
        sizes AS (
            SELECT place, period, sum(of_class)::HUGEINT AS wearers, count(*) AS told_values
            FROM cells GROUP BY ALL)
    SELECT place, period, any_value(wearers) AS wearers, any_value(told_values) AS told_values,
        -sum(of_class / wearers * ln(of_class / wearers)) AS entropy,
        sum(abs(of_class * every - of_all * wearers)) + any_value(wearers) * (any_value(every) - sum(of_all))
            AS differences,
        2 * any_value(wearers) * any_value(every) AS of_differences
    FROM cells JOIN sizes USING (place, period) JOIN whole USING (told),
        (SELECT count(*)::HUGEINT AS every FROM rows)
    GROUP BY ALL
"""
_MEASURED = """
    SELECT count(*), coalesce(min(wearers), 0), coalesce(min(told_values), 0),
        coalesce(min(exp(entropy)), 0), coalesce(max(differences / of_differences), 0)
    FROM classes
"""
_SUPPRESSED = """
    DELETE FROM rows WHERE (place, period) IN (SELECT (place, period) FROM classes WHERE {short})
"""
#: Wearers of whom nobody else has all points that are drawn (the first in an order by chance that is the same
#: each time), and of whom nobody else has all. Only who has the drawn ones can have all, and who has the very
#: points of another wearer is not unique; both spare comparisons.
_UNIQUE = """
    WITH points AS (
        SELECT wearer, place, period, count(*) OVER (PARTITION BY wearer) AS own,
            row_number() OVER (PARTITION BY wearer ORDER BY md5(wearer || ' ' || place || ' ' || period))
                AS nth
        FROM rows),
    having_drawn AS (
        SELECT points.wearer, rows.wearer AS other
        FROM points JOIN rows USING (place, period)
        WHERE nth <= $drawn AND rows.wearer <> points.wearer
        GROUP BY ALL HAVING count(*) = least(any_value(own), $drawn)),
    singular AS (
        SELECT any_value(wearer) AS wearer
        FROM (
            SELECT wearer, string_agg(place || ' ' || period, ',' ORDER BY place, period) AS every_point
            FROM rows GROUP BY wearer)
        GROUP BY every_point HAVING count(*) = 1),
    having_all AS (
        SELECT points.wearer, rows.wearer AS other
        FROM points SEMI JOIN singular USING (wearer) JOIN rows USING (place, period)
            SEMI JOIN having_drawn
                ON having_drawn.wearer = points.wearer AND having_drawn.other = rows.wearer
        GROUP BY ALL HAVING count(*) = any_value(own))
    SELECT (SELECT count(DISTINCT wearer) FROM rows) - (SELECT count(DISTINCT wearer) FROM having_drawn),
        (SELECT count(*) FROM singular ANTI JOIN having_all USING (wearer))
"""
_ALONE = """
    SELECT count(DISTINCT wearer) FROM rows JOIN classes USING (place, period) WHERE wearers = 1
"""


class Unique(Struct, frozen=True):
    """How many of the wearers are unique by place and period, by how many of their points are known.

    `by_one`: one of their points is nobody else's. `by_four`: nobody else has all of four of their points
    that are drawn by chance (of fewer, all). `by_all`: nobody else has all of their points.
    """

    wearers: int
    by_one: int
    by_four: int
    by_all: int

    @property
    def percent(self) -> float:
        """Share of the wearers whom all of their points tell from the others, which no other test exceeds."""
        return 100 * self.by_all / max(self.wearers, 1)


class Measures(Struct, frozen=True):
    """What holds of rows: their number, that of their classes, and k, l (distinct, by entropy) and t."""

    rows: int
    classes: int
    k: int
    l_distinct: int
    l_entropy: float
    t: float


class Microdata:
    """Rows about wearers, in an instance of DuckDB of their own; use it in `with`.

    Parameters
    ----------
    used
        A row of each place and hour (`hour`, since the Unix epoch, UTC) in which a wearer told something or
        wore the glasses: `wearer` (a number), `place`, `hour`, `told`.
    """

    def __init__(self, used: pyarrow.Table) -> None:
        self._connection = instance.make("[]")
        self._connection.register("used", used)
        self.generalise(*LEVELS[0])
        self._run(_CLASSES)

    def __enter__(self) -> Microdata:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def generalise(self, place: Places, period: Period) -> None:
        """Make the rows anew: a row of each wearer, place and period, with all that was told there."""
        hours, spelled = _HOURS[period]
        begin = f"make_timestamp(hour // {hours} * {hours} * 3600000000)"
        self._run(
            _GENERALISED.format(
                place="place" if place == "each" else "'any'",
                period=f"strftime({begin}, '%Y-%m-%dT%H:00Z/{spelled}')",
            )
        )

    def suppress(self, bounds: AnonymityBounds) -> None:
        """Leave out the classes that do not hold to k, l and t, until all others do.

        What is left out changes the shares of all rows, so t is computed again until it holds.
        """
        self._drop(f"wearers < {bounds.k_min} OR told_values < {bounds.l_min}")
        while self._drop(f"100 * differences > {bounds.t_percent_max} * of_differences"):
            pass

    def measures(self) -> Measures:
        """k, l and t of the rows."""
        return Measures(self._number("SELECT count(*) FROM rows"), *self._run(_MEASURED)[0])

    def unique(self) -> Unique:
        """Who is unique by place and period."""
        return Unique(
            self._number("SELECT count(DISTINCT wearer) FROM rows"),
            self._number(_ALONE),
            *self._run(_UNIQUE, {"drawn": DRAWN})[0],
        )

    def rows(self) -> pyarrow.Table:
        """The rows, in an order that tells nothing but what is in them."""
        try:
            return self._connection.sql(
                "SELECT wearer, place, period, told FROM rows ORDER BY ALL"
            ).to_arrow_table()
        except duckdb.Error as error:
            raise unsaid(error) from None

    def _drop(self, short: str) -> bool:
        """Leave out the classes of which that holds; whether there were any."""
        return self._number(_SUPPRESSED.format(short=short)) > 0

    def _number(self, statement: str) -> int:
        [(number,)] = self._run(statement)
        return int(number)

    def _run(self, statement: str, parameters: Mapping[str, object] | None = None) -> list[Any]:
        try:
            return self._connection.execute(statement, parameters).fetchall()
        except duckdb.Error as error:
            raise unsaid(error) from None
