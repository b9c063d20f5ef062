"""The loop by generation, the matrix of crossings and lines of numbers, read back from their SVG."""

from __future__ import annotations

import hashlib
import time
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streams.page
from streams.page.drawing.loop import Fed, Turn, Turns, drawn_loop
from streams.page.drawing.matrix import Field, Matrix, Share, drawn_matrix
from streams.page.drawing.series import Point, Series, drawn_series
from streams.page.drawing.timeline import Span, Spans, Timeline, drawn_timeline
from streams.page.drawing.zones import Looks
from tests.page.paths import elements, parsed, points, words

LOOKS = Looks.of([("health", 60), ("voice-assistant", 40), ("public", 20)])


def generation(number: int, *fed: Fed) -> Turn:
    return Turn(
        key=f"m/{number}",
        title=f"training/intent-model/{number}",
        href=f"/event/m/{number}",
        zone="voice-assistant",
        fed=fed,
        examples=sum(each.examples for each in fed),
        examples_href=f"/examples/{number}",
        answers=10 + number,
        answers_href=f"/answers/{number}",
        accuracy=0.5 + number / 200,
        purposes=6.0,
    )


def loop_of(*turns: Turn, cut: str = "") -> Turns:
    return Turns(title="The loop", description="By generation", turns=turns, purposes_max=6, cut=cut)


def test_a_row_says_what_a_model_learned_from_and_what_it_answered() -> None:
    turns = (
        generation(1, Fed(of="", examples=88)),
        generation(2, Fed(of="m/1", examples=12)),
        generation(3, Fed(of="m/1", examples=3), Fed(of="m/2", examples=9, href="/fed")),
    )
    root = parsed(drawn_loop(loop_of(*turns, cut="The walk ended after 3 generations"), LOOKS))
    read = words(root)
    for line in ("88 of the seed", "12 from 1's answers", "3 from 1's answers", "9 from 2's answers"):
        assert line in read
    for line in ("12 examples", "training/intent-model/3", "13 answers", "0.52"):
        assert line in read
    assert read[-1] == "The walk ended after 3 generations"
    hrefs = [link.get("href") for link in elements(root, "a")]
    assert hrefs[-4:] == ["/fed", "/examples/3", "/event/m/3", "/answers/3"]


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 12), st.data())
def test_ways_back_cross_no_box(count: int, data: st.DataObject) -> None:
    turns = []
    for number in range(1, count + 1):
        sources = data.draw(st.sets(st.integers(0, number - 1), max_size=4))
        turns.append(
            generation(number, *(Fed(of=f"m/{of}" if of else "", examples=1) for of in sorted(sources)))
        )
    root = parsed(drawn_loop(loop_of(*turns), LOOKS))
    outlines = [
        tuple(float(box.get(name, "")) for name in ("x", "y", "width", "height"))
        for box in elements(root, "rect", "outline")
    ]
    assert len(outlines) == 3 * count
    ways = [path for path in elements(root, "path", "back") if "point" not in path.get("class", "").split()]
    assert len(ways) == len({fed.of for turn in turns for fed in turn.fed if fed.of})
    for way in ways:
        for x, y in points(way.get("d", "")):
            for left, top, width, height in outlines:
                assert not (left + 0.1 < x < left + width - 0.1 and top + 0.1 < y < top + height - 0.1)


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 14), st.data())
def test_two_ways_back_never_run_on_each_other(count: int, data: st.DataObject) -> None:
    turns = []
    for number in range(1, count + 1):
        sources = data.draw(st.sets(st.integers(1, number - 1), max_size=3)) if number > 1 else set()
        turns.append(generation(number, *(Fed(of=f"m/{of}", examples=1) for of in sorted(sources))))
    root = parsed(drawn_loop(loop_of(*turns), LOOKS))
    taken: dict[float, list[tuple[float, float]]] = {}
    for way in elements(root, "path", "back"):
        if "point" in way.get("class", "").split():
            continue
        along = list(points(way.get("d", ""), steps=1))
        lane = min(x for x, _ in along)
        heights = [y for x, y in along if x == lane]
        taken.setdefault(lane, []).append((min(heights), max(heights)))
    for spans in taken.values():
        spans.sort()
        assert all(low[1] < high[0] for low, high in pairwise(spans))


def test_what_is_not_known_has_no_bar() -> None:
    root = parsed(drawn_loop(loop_of(Turn(key="a", title="training/intent-model/1")), LOOKS))
    assert not elements(root, "rect", "bar-track")
    assert words(root).count("none") == 2


def test_fifty_generations_are_drawn_well_within_a_second() -> None:
    turns = [generation(1, Fed(of="", examples=88))]
    turns += [
        generation(number, *(Fed(of=f"m/{of}", examples=2) for of in range(max(1, number - 3), number)))
        for number in range(2, 51)
    ]
    begun = time.thread_time()
    drawing = drawn_loop(loop_of(*turns), LOOKS)
    assert time.thread_time() - begun < 0.5
    assert len(elements(parsed(drawing), "path", "back")) > 49


def test_a_field_tells_its_numbers_and_draws_them() -> None:
    shares = (Share(allow=10), Share(allow=2, deny=18), Share(), Share(unconfigured=1, declassified=1))
    field = Field(zone="health", sink="training-run", shares=shares, href="/decisions?zone=health")
    matrix = Matrix(
        title="Crossings",
        description="d",
        zones=("health", "public"),
        sinks=("training-run", "store"),
        fields=(field,),
        since="04:11",
        until="04:20",
        zone_hrefs={"health": "/find?zone=health"},
    )
    root = parsed(drawn_matrix(matrix, LOOKS))
    (cell,) = elements(root, "a", "cell")
    assert elements(cell, "title")[0].text == (
        "health into training-run: 12 allowed, 1 loosened, 18 denied, 1 unconfigured"
    )
    assert words(cell) == ["32", "19 refused"]
    heights = {
        css: [float(bar.get("height", "")) for bar in elements(cell, "rect", css)]
        for css in ("allow", "deny", "unconfigured", "declassified")
    }
    # The highest span, of 20 events, has the full height of 28.
    assert heights == {"allow": [14.0, 2.8], "deny": [25.2], "unconfigured": [1.5], "declassified": [1.5]}
    assert len(elements(root, "g", "empty")) == 3
    assert [link.get("href") for link in elements(root, "a", "edge")] == ["/find?zone=health"]


def test_bars_of_a_span_stand_on_each_other_within_their_field() -> None:
    shares = tuple(Share(allow=number, deny=24 - number) for number in range(25))
    field = Field(zone="public", sink="store", shares=shares)
    root = parsed(
        drawn_matrix(
            Matrix(title="t", description="d", zones=("public",), sinks=("store",), fields=(field,)), LOOKS
        )
    )
    (ground,) = elements(root, "rect", "ground")
    left, top, width, height = (float(ground.get(name, "")) for name in ("x", "y", "width", "height"))
    for bar in elements(root, "rect", "share"):
        x, y, across, down = (float(bar.get(name, "")) for name in ("x", "y", "width", "height"))
        assert left < x < x + across < left + width
        assert top + 34 < y < y + down < top + height


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6, allow_nan=False), max_size=60),
    st.none() | st.floats(-10, 0),
    st.none() | st.floats(1, 10),
)
def test_a_line_goes_through_all_values_in_proportion(
    values: list[float], low: float | None, high: float | None
) -> None:
    series = Series(
        title="t",
        description="d",
        measure="accuracy",
        points=tuple(Point(word=str(index), value=value) for index, value in enumerate(values)),
        low=low,
        high=high,
    )
    root = parsed(drawn_series(series))
    circles = [(float(c.get("cx", "")), float(c.get("cy", ""))) for c in elements(root, "circle")]
    assert len(circles) == len(values)
    if not values:
        assert words(root) == ["accuracy: there is nothing to draw yet"]
        return
    assert [x for x, _ in circles] == sorted(x for x, _ in circles)
    for (_, y), value in zip(circles, values, strict=True):
        for (_, other_y), other in zip(circles, values, strict=True):
            assert y <= other_y + 0.11 or value < other


def test_the_axis_is_round_and_encloses_what_it_was_given() -> None:
    points_ = tuple(Point(word=str(n), value=value) for n, value in enumerate((0.571, 0.7686)))
    series = Series(title="t", description="d", measure="accuracy", points=points_, low=0, high=1)
    axis = words(elements(parsed(drawn_series(series)), "g", "axes")[0])
    assert axis == ["0", "0.25", "0.5", "0.75", "1"]


@pytest.mark.parametrize(
    "directory",
    [Path(streams.page.__file__).parent / "static" / "uplot", Path(__file__).parent / "axe"],
    ids=["uplot", "axe"],
)
def test_what_others_wrote_is_unchanged_and_has_its_licence(directory: Path) -> None:
    manifest = tomllib.loads((directory / "MANIFEST.toml").read_text(encoding="utf-8"))
    digests = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in directory.iterdir()
        if file.name != "MANIFEST.toml"
    }
    assert digests == manifest["sha256"]
    assert "LICENSE" in digests
    assert any(manifest["version"] in text for text in _headers(directory))


def _headers(directory: Path) -> list[str]:
    """The beginning of each script, where it names its version."""
    return [script.read_text(encoding="utf-8")[:200] for script in directory.glob("*.js")]


def test_intervals_stand_where_their_times_are_and_the_shortest_can_be_seen() -> None:
    rows = (
        Spans(word="training", spans=(Span(since_ns=100, until_ns=300), Span(since_ns=500, words="given"))),
        Spans(word="service", zone="health", spans=(Span(since_ns=0, until_ns=1, given=False, href="/c"),)),
    )
    timeline = Timeline(
        title="t", description="d", rows=rows, since_ns=0, until_ns=1000, since="04:11", until="04:20"
    )
    root = parsed(drawn_timeline(timeline, LOOKS))
    axis = float(next(element for element in elements(root, "text") if element.text == "04:11").get("x", ""))
    spans = [
        (float(span.get("x", "")) - axis, float(span.get("width", "")))
        for span in elements(root, "rect", "span")
    ]
    assert spans == [(62.0, 124.0), (310.0, 310.0), (0.0, 3.0)]
    assert "given" in words(root)
    assert len(elements(root, "rect", "not-given")) == len(elements(root, "path", "mark")) == 1
    assert [link.get("href") for link in elements(root, "a")] == ["/c"]
