"""Reads a drawing back as a browser does: the elements of its XML, and points along its paths."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from xml.etree import ElementTree

SVG = "{http://www.w3.org/2000/svg}"
Point = tuple[float, float]


def parsed(drawing: str) -> ElementTree.Element:
    """Return the root of a drawing's XML; a ParseError if it is none."""
    return ElementTree.fromstring(drawing)


def elements(root: ElementTree.Element, name: str, css: str = "") -> list[ElementTree.Element]:
    """Return the elements of a name that have a class, in their order."""
    return [
        element for element in root.iter(SVG + name) if not css or css in element.get("class", "").split()
    ]


def words(element: ElementTree.Element) -> list[str]:
    """Return the lines of text in an element, without its titles."""
    return ["".join(line.itertext()) for line in element.iter(SVG + "text")]


def points(data: str, steps: int = 24) -> Iterator[Point]:
    """Points along path data of M, L, H, V, C and Q, all absolute, `steps` on each piece."""
    tokens = re.findall(r"[MLHVCQZ]|-?\d+(?:\.\d+)?", data)
    taken = 0
    command, at = "", (0.0, 0.0)

    def numbers(count: int) -> list[float]:
        nonlocal taken
        taken += count
        return [float(token) for token in tokens[taken - count : taken]]

    while taken < len(tokens):
        if tokens[taken].isalpha():
            command = tokens[taken]
            taken += 1
        if command == "Z":
            continue
        controls = [at]
        if command in "HV":
            (value,) = numbers(1)
            controls.append((value, at[1]) if command == "H" else (at[0], value))
        else:
            flat = numbers({"M": 2, "L": 2, "Q": 4, "C": 6}[command])
            controls += list(zip(flat[::2], flat[1::2], strict=True))
        if command != "M":
            yield from (_curve(controls, step / steps) for step in range(steps + 1))
        at = controls[-1]


def _curve(controls: list[Point], share: float) -> Point:
    """A point of a Bezier curve, by halving the polygon of its controls."""
    while len(controls) > 1:
        controls = [
            (x + (other_x - x) * share, y + (other_y - y) * share)
            for (x, y), (other_x, other_y) in pairwise(controls)
        ]
    return controls[0]
