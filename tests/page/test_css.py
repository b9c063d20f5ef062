"""Colours of page.css can be read on what they stand on, in light and in dark."""

from __future__ import annotations

import re

import pytest

from streams.page.drawing.zones import COLOURS
from tests.page.sample import STATIC

_CSS = (STATIC / "page.css").read_text(encoding="utf-8")
_LIGHT, _DARK = (
    dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6});", block))
    for block in re.findall(r":root \{([^}]*)\}", _CSS)[:2]
)
SCHEMES = {"light": _LIGHT, "dark": {**_LIGHT, **_DARK}}


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(colour: str, ground: str) -> float:
    """Contrast of two colours, 1 to 21."""
    low, high = sorted((luminance(colour), luminance(ground)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("ground", ["--ground", "--raised"])
@pytest.mark.parametrize("colour", ["--text", "--muted", "--link", "--allow", "--deny", "--loosened"])
def test_words_can_be_read(scheme: str, ground: str, colour: str) -> None:
    colours = SCHEMES[scheme]
    assert contrast(colours[colour], colours[ground]) >= 4.5


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("ground", ["--ground", "--raised"])
@pytest.mark.parametrize("colour", ["--strong-line", "--focus"])
def test_outlines_and_the_focus_can_be_seen(scheme: str, ground: str, colour: str) -> None:
    colours = SCHEMES[scheme]
    assert contrast(colours[colour], colours[ground]) >= 3


def test_every_zone_has_its_colour_and_no_two_the_same() -> None:
    for colours in SCHEMES.values():
        assert len({colours[f"--zone-{number}"] for number in range(COLOURS)}) == COLOURS
    for number in range(COLOURS):
        assert f".mark.zone-{number}, .zone-{number} .stripe {{ fill: var(--zone-{number}); }}" in _CSS


def test_nothing_is_fetched_from_elsewhere() -> None:
    assert "://" not in _CSS
    assert "@import" not in _CSS
    assert "url(" not in _CSS
