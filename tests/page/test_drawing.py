"""Boxes and arrows: read back from the SVG, they stand apart, are in order, and say what they were given."""

from __future__ import annotations

import unicodedata
from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.page.drawing.graph import Arrow, Node, Picture
from streams.page.drawing.layers import spread
from streams.page.drawing.svg import drawn
from streams.page.drawing.text import clipped, clipped_id, width_px
from streams.page.drawing.zones import Looks
from tests.page.paths import elements, parsed, points, words

ZONES = [("rights", 70), ("health", 60), ("bystander-present", 50), ("voice-assistant", 40), ("public", 20)]
LOOKS = Looks.of(ZONES)
Rectangle = tuple[float, float, float, float]


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    """Any boxes with any arrows between them, cycles and arrows to the same box among them."""
    count = draw(st.integers(1, 14))
    nodes = tuple(
        Node(
            key=str(number),
            title=f"g1/stream/{number}",
            column=draw(st.none() | st.integers(0, 4)),
            lines=tuple(draw(st.lists(st.sampled_from(["100 events", "made of it"]), max_size=2))),
            zone=draw(st.sampled_from(["", "health", "public"])),
            href=f"/event/{number}",
        )
        for number in range(count)
    )
    number = st.integers(0, count - 1).map(str)
    arrows = st.builds(
        Arrow, of=number, to=number, words=st.sampled_from(["", "100 events"]), back=st.booleans()
    )
    return Picture(title="t", description="d", nodes=nodes, arrows=tuple(draw(st.lists(arrows, max_size=24))))


def boxes(root: ElementTree.Element) -> dict[str, Rectangle]:
    """Left, top, right and bottom of each box, by its title."""
    rectangles = {}
    for node in elements(root, "a", "node"):
        outline = elements(node, "rect", "outline")[0]
        x, y, width, height = (float(outline.get(name, "")) for name in ("x", "y", "width", "height"))
        rectangles[words(node)[0]] = (x, y, x + width, y + height)
    return rectangles


@settings(max_examples=150, deadline=None)
@given(pictures())
def test_boxes_stand_apart_and_no_arrow_crosses_one(picture: Picture) -> None:
    root = parsed(drawn(picture, LOOKS))
    rectangles = boxes(root)
    assert len(rectangles) == len(picture.nodes)
    for (left, top, right, bottom), (x0, y0, x1, y1) in combinations(rectangles.values(), 2):
        assert right < x0 or x1 < left or bottom < y0 or y1 < top
    lines = [path for path in elements(root, "path", "arrow") if "point" not in path.get("class", "").split()]
    assert len(lines) == len(picture.arrows)
    for line in lines:
        for x, y in points(line.get("d", "")):
            for title, (left, top, right, bottom) in rectangles.items():
                inside = left + 0.1 < x < right - 0.1 and top + 0.1 < y < bottom - 0.1
                assert not inside, f"an arrow crosses {title} at {x}, {y}"


#: A low box with so many arrows that their words stand above it.
CROWDED = Picture(
    title="t",
    description="d",
    nodes=(Node(key="0", title="g1/stream/0", href="/event/0"),),
    arrows=(Arrow(of="0", to="0", words="100 events"),) * 8,
)


@settings(max_examples=150, deadline=None)
@given(pictures())
@example(CROWDED)
def test_an_arrow_begins_and_ends_at_its_boxes_and_stays_in_the_drawing(picture: Picture) -> None:
    root = parsed(drawn(picture, LOOKS))
    rectangles = boxes(root)
    _, _, width, height = map(float, elements(root, "svg")[0].get("viewBox", "").split())
    lines = [path for path in elements(root, "path", "arrow") if "point" not in path.get("class", "").split()]
    for arrow, line in zip(picture.arrows, lines, strict=True):
        along = list(points(line.get("d", "")))
        of, to = rectangles[f"g1/stream/{arrow.of}"], rectangles[f"g1/stream/{arrow.to}"]
        assert along[0][0] == pytest.approx(of[2], abs=0.2)
        assert of[1] < along[0][1] < of[3]
        assert along[-1][0] == pytest.approx(to[0], abs=0.2)
        assert to[1] < along[-1][1] < to[3]
        assert all(0 <= x <= width and 0 <= y <= height for x, y in along)
        if arrow.back:
            # Its lane is below everything that stands above it.
            assert max(y for _, y in along) > max(bottom for _, _, _, bottom in rectangles.values())


@settings(max_examples=100, deadline=None)
@given(pictures())
def test_an_arrow_points_right_unless_it_closes_the_loop(picture: Picture) -> None:
    root = parsed(drawn(picture, LOOKS))
    rectangles = boxes(root)
    lowest = max(bottom for _, _, _, bottom in rectangles.values())
    lines = [path for path in elements(root, "path", "arrow") if "point" not in path.get("class", "").split()]
    for arrow, line in zip(picture.arrows, lines, strict=True):
        if max(y for _, y in points(line.get("d", ""))) <= lowest:
            assert rectangles[f"g1/stream/{arrow.of}"][2] < rectangles[f"g1/stream/{arrow.to}"][0]


def test_columns_are_kept_and_have_their_headings() -> None:
    nodes = tuple(
        Node(key=key, title=key, column=column) for key, column in (("run", 0), ("answer", 3), ("sink", 4))
    )
    picture = Picture(
        title="t",
        description="d",
        nodes=nodes,
        arrows=(Arrow(of="run", to="answer"), Arrow(of="answer", to="sink")),
        columns=("runs", "derived", "situation", "answers", "sinks"),
    )
    root = parsed(drawn(picture, LOOKS))
    assert words(elements(root, "g", "headings")[0]) == ["runs", "answers", "sinks"]


def test_tab_goes_from_left_to_right_and_from_box_to_its_counts() -> None:
    nodes = tuple(Node(key=key, title=key, href=f"/event/{key}") for key in ("c", "b", "a"))
    arrows = (
        Arrow(of="a", to="b", words="100 events", href="/event/b/records"),
        Arrow(of="b", to="c", words="1 event", href="/event/c/records"),
    )
    root = parsed(drawn(Picture(title="t", description="d", nodes=nodes, arrows=arrows), LOOKS))
    hrefs = [link.get("href") for link in elements(root, "a")]
    assert hrefs == ["/event/a", "/event/b/records", "/event/b", "/event/c/records", "/event/c"]
    assert not any(link.get("tabindex") for link in elements(root, "a"))


HOSTILE = st.text(st.characters(codec="utf-8"), max_size=40) | st.sampled_from(
    ['"><script>alert(1)</script>', "'\"&<>", "\x00\x07\u202e<b>", "]]>", "&amp;amp;", "x" * 400]
)


@settings(max_examples=200, deadline=None)
@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_whatever_somebody_wrote_is_text(title: str, line: str, zone: str, on_arrow: str) -> None:
    nodes = (
        Node(key="a", title=title, lines=(line,), zone=zone, href="/event/a?x=1&y=2"),
        Node(key="b", title="b", shape="model"),
    )
    arrows = (Arrow(of="a", to="b", words=on_arrow, href="/x"),)
    drawing = drawn(Picture(title=title, description=line, nodes=nodes, arrows=arrows), LOOKS)
    root = parsed(drawing)
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert names <= {"div", "svg", "title", "desc", "g", "a", "path", "rect", "text"}
    attributes = {name for element in root.iter() for name in element.attrib}
    assert not {name for name in attributes if name.startswith(("on", "style"))}
    assert elements(root, "a", "node")[0].get("href") == "/event/a?x=1&y=2"
    assert not {unicodedata.category(each) for each in drawing} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_a_long_word_is_clipped_and_told_whole() -> None:
    long = "g1/" + "a" * 63 + "/1830012345"
    node = Node(key="a", title=long, lines=("w" * 200,), zone="z" * 100, href="/event/a")
    root = parsed(drawn(Picture(title="t", description="d", nodes=(node,)), LOOKS))
    box = elements(root, "a", "node")[0]
    (left, _, right, _) = next(iter(boxes(root).values()))
    shown = words(box)
    assert shown[0].startswith("g1/a")
    assert shown[0].endswith("…aaa/1830012345") or shown[0].endswith("/1830012345")
    assert all("…" in line for line in shown)
    assert all(width_px(line, 12.5) <= right - left + 1 for line in shown[1:])
    told = elements(box, "title")[0].text or ""
    assert long in told
    assert "w" * 200 in told
    assert "z" * 100 in told


def test_an_arrow_to_nowhere_is_refused() -> None:
    picture = Picture(
        title="t", description="d", nodes=(Node(key="a", title="a"),), arrows=(Arrow(of="a", to="b"),)
    )
    with pytest.raises(ValueError, match="found no node 'b'"):
        drawn(picture, LOOKS)


def test_a_refusal_ends_in_a_bar_and_says_so() -> None:
    nodes = (Node(key="a", title="a"), Node(key="s", title="training-run", shape="sink"))
    arrows = (Arrow(of="a", to="s", words="ai:ModelTraining", verdict="deny"),)
    root = parsed(drawn(Picture(title="t", description="d", nodes=nodes, arrows=arrows), LOOKS))
    assert words(elements(root, "g", "words")[0]) == ["deny · ai:ModelTraining"]
    (point,) = elements(root, "path", "point")
    along = list(points(point.get("d", "")))
    assert len({x for x, _ in along}) == 1, "a bar across the arrow, not a head"


def test_a_thousand_boxes_are_all_drawn() -> None:
    # 8 columns of 125; each box is made of two of the column before it.
    nodes = tuple(
        Node(key=str(n), title=f"g1/activity/{n}", zone="public", href=f"/event/{n}") for n in range(1000)
    )
    arrows = tuple(
        Arrow(of=str((n // 125 - 1) * 125 + (n * step + 11) % 125), to=str(n))
        for n in range(125, 1000)
        for step in (7, 13)
    )
    root = parsed(drawn(Picture(title="t", description="d", nodes=nodes, arrows=arrows), LOOKS))
    hrefs = {link.get("href") for link in root.iter("{http://www.w3.org/2000/svg}a")}
    assert hrefs == {f"/event/{n}" for n in range(1000)}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 10)), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_nothing_that_stands_apart_is_nearer_to_what_is_wanted(
    items: list[tuple[int, int]], random: object
) -> None:
    wanted, apart = [float(at) for at, _ in items], [float(gap) for _, gap in items]
    places = spread(wanted, apart)
    assert all(
        after - before >= gap - 1e-9 for (before, after), gap in zip(pairwise(places), apart[1:], strict=True)
    )
    cost = sum((place - want) ** 2 for place, want in zip(places, wanted, strict=True))
    # The least is unique and the problem convex, so it is enough that no small step that is allowed helps.
    for index in range(len(places)):
        for step in (-0.01, 0.01):
            for last in range(index, len(places)):
                other = [place + step * (index <= at <= last) for at, place in enumerate(places)]
                allowed = all(
                    after - before >= gap - 1e-9
                    for (before, after), gap in zip(pairwise(other), apart[1:], strict=True)
                )
                if allowed:
                    assert sum((p - w) ** 2 for p, w in zip(other, wanted, strict=True)) >= cost - 1e-6


@given(st.text(max_size=60), st.floats(20, 400), st.booleans())
def test_clipped_text_fits(text: str, most_px: float, fixed: bool) -> None:
    assert width_px(clipped(text, most_px, 12, fixed=fixed), 12, fixed=fixed) <= most_px
    assert len(clipped_id(text, most_px, 12)) <= max(most_px / (0.61 * 12), 3)


def test_zones_look_different_by_colour_and_by_shape() -> None:
    looks = Looks.of([(f"zone-{number}", number) for number in range(56)])
    every = [looks.look(f"zone-{number}") for number in range(56)]
    assert len({(look.css, look.shape) for look in every}) == 56
    first = every[:7]
    assert len({look.css for look in first}) == len({look.shape for look in first}) == 7
    assert looks.look("unconfigured").shape == "cross"
    # A zone of a policy that is no longer in force has a look too, always the same.
    assert looks.look("of-long-ago") == Looks.of([]).look("of-long-ago")
