"""k, l, t and who is unique, as SQL computes them, against a count in Python and the tables of the papers."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.policy.rules import AnonymityBounds
from streams.queries.anonymity import DRAWN, LEVELS, Measures, Microdata, Unique
from tests.queries.anonymous import (
    Record,
    entropy_l_of,
    generalised,
    k_of,
    l_of,
    suppressed,
    t_of,
    unique_by,
    unique_by_one,
)

_HOURS = {"hour": 1, "part of day": 6, "day": 24}
#: Wearer, place, hour since 1970 and what was told, empty if nothing was.
Used = tuple[int, str, int, str]


def microdata(uses: Sequence[Used]) -> Microdata:
    columns = list(zip(*sorted(set(uses)), strict=True)) or [()] * 4
    kinds = {
        "wearer": pyarrow.int64(),
        "place": pyarrow.string(),
        "hour": pyarrow.int64(),
        "told": pyarrow.string(),
    }
    return Microdata(
        pyarrow.table(
            {
                name: pyarrow.array(column, kind)
                for (name, kind), column in zip(kinds.items(), columns, strict=True)
            }
        )
    )


def rows_of(data: Microdata) -> list[Record]:
    return sorted(Record(*map(str, row.values())) for row in data.rows().to_pylist())


def counted(rows: list[Record]) -> tuple[int, int, int, int]:
    return len(rows), len({(row.place, row.period) for row in rows}), k_of(rows), l_of(rows)


uses_made = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.sampled_from(["street", "cafe", "work"]),
        st.integers(499_990, 500_020),
        st.sampled_from(["", "voice_query", "feedback"]),
    ),
    max_size=60,
)


@settings(max_examples=20, deadline=None, print_blob=True)
@given(uses=uses_made, k_min=st.integers(2, 4), l_min=st.integers(1, 3), t_percent_max=st.integers(0, 100))
def test_every_level_measures_what_is_counted_by_hand(
    uses: list[Used], k_min: int, l_min: int, t_percent_max: int
) -> None:
    bounds = AnonymityBounds(k_min, l_min, t_percent_max, 100, 100)
    with microdata(uses) as data:
        for place, period in LEVELS:
            data.generalise(place, period)
            rows = generalised(uses, _HOURS[period], without_places=place == "any")
            for expected in (rows, suppressed(rows, k_min, l_min, t_percent_max)):
                assert rows_of(data) == expected
                measures = data.measures()
                assert (measures.rows, measures.classes, measures.k, measures.l_distinct) == counted(expected)
                assert measures.t == pytest.approx(float(t_of(expected)))
                assert measures.l_entropy == pytest.approx(entropy_l_of(expected))
                assert data.unique() == Unique(
                    len({row.wearer for row in expected}),
                    unique_by_one(expected),
                    unique_by(expected, DRAWN),
                    unique_by(expected),
                )
                data.suppress(bounds)


def of_classes(*classes: Sequence[str]) -> list[Used]:
    """A wearer for each value, those of one class at one place in one hour."""
    each = [(name, told) for name, some in zip("abcdefgh", classes, strict=False) for told in some]
    return [(wearer, name, 500_000, told) for wearer, (name, told) in enumerate(each)]


#: Machanavajjhala et al. 2007, figure 2: in the third class everybody has cancer. Figure 3 is 3-diverse.
_HEART, _VIRAL, _CANCER = "heart_disease", "viral_infection", "cancer"
FIGURE_2 = of_classes(
    [_HEART, _HEART, _VIRAL, _VIRAL], [_CANCER, _HEART, _VIRAL, _VIRAL], [_CANCER, _CANCER, _CANCER, _CANCER]
)
FIGURE_3 = of_classes(
    [_HEART, _VIRAL, _CANCER, _CANCER], [_CANCER, _HEART, _VIRAL, _VIRAL], [_HEART, _VIRAL, _CANCER, _CANCER]
)
#: Li et al. 2007, table 4: the diseases of three classes of three.
TABLE_4 = of_classes(
    ["gastric_ulcer", "gastritis", "stomach_cancer"],
    ["gastritis", "flu", "bronchitis"],
    ["bronchitis", "pneumonia", "stomach_cancer"],
)


@pytest.mark.parametrize(
    ("uses", "measures"),
    [
        # Of twelve, five have cancer, three a heart disease, four an infection: 1 - 5/12 is to be moved.
        (FIGURE_2, Measures(12, 3, 4, 1, 1.0, 7 / 12)),
        # The second class differs most: half of it is infected, a third of all is.
        (FIGURE_3, Measures(12, 3, 4, 3, 2 * 2**0.5, 1 / 6)),
        # Each class has a third of each of its diseases; all rows have one or two ninths of them.
        (TABLE_4, Measures(9, 3, 3, 3, 3.0, 4 / 9)),
    ],
)
def test_the_tables_of_the_papers(uses: list[Used], measures: Measures) -> None:
    with microdata(uses) as data:
        computed = data.measures()
    assert (computed.rows, computed.classes, computed.k, computed.l_distinct) == (
        measures.rows,
        measures.classes,
        measures.k,
        measures.l_distinct,
    )
    assert (computed.l_entropy, computed.t) == pytest.approx((measures.l_entropy, measures.t))


def test_a_wearer_among_others_everywhere_can_be_unique_all_the_same() -> None:
    """Each place has two wearers or more, so k is 2, and yet nobody but 0 was at both."""
    uses = [(0, "street", 500_000, ""), (0, "cafe", 500_001, "")]
    uses += [(1, "street", 500_000, ""), (2, "cafe", 500_001, "")]
    with microdata(uses) as data:
        assert data.measures().k == 2
        assert data.unique() == Unique(wearers=3, by_one=0, by_four=1, by_all=1)


def test_four_points_are_drawn_and_not_more() -> None:
    """Two wearers differ in one hour of thirty, which four drawn hours rarely hold."""
    uses = [(wearer, "street", 500_000 + hour, "") for wearer in (0, 1) for hour in range(30)]
    with microdata([*uses, (0, "street", 500_030, "")]) as data:
        unique = data.unique()
    assert (unique.by_one, unique.by_all) == (1, 1)
    assert unique.by_four == unique_by(generalised([*uses, (0, "street", 500_030, "")], 1), DRAWN)


def test_a_bound_holds_when_it_is_met_exactly() -> None:
    """t is 30 % exactly, of which floating-point numbers would make a little more."""
    with microdata(of_classes(["a"] * 8 + ["b"] * 2, ["a"] * 2 + ["b"] * 8)) as data:
        data.suppress(AnonymityBounds(10, 2, 30, 100, 100))
        assert data.measures().rows == 20
        data.suppress(AnonymityBounds(10, 2, 29, 100, 100))
        assert data.measures().rows == 0


def test_what_is_left_out_makes_others_differ_more() -> None:
    """Without the first class (t is 1/2) the second one, 1/4 before, is 5/12 from all rows, and goes too."""
    with microdata(of_classes("yyyy", "xyyy", "xxxxxxxy")) as data:
        data.suppress(AnonymityBounds(2, 1, 40, 100, 100))
        assert {row.place for row in rows_of(data)} == {"c"}
