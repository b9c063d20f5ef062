"""How zones look: a colour of Okabe and Ito, a shape, and always the zone's own word beside them.

The colours can be told apart by people who confuse red and green; the shapes by everybody, also on paper and
where the system's own colours replace ours. A zone's look depends on its place among the zones of the policy,
so it is the same on every page of a store.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping

from msgspec import Struct

#: Colours are classes of page.css (`zone-0` to `zone-6`); shapes are paths on a field of 12 by 12.
COLOURS = 7
SHAPES: Mapping[str, str] = {
    "circle": "M6 0.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 1 1 0-11z",
    "square": "M1 1h10v10h-10z",
    "triangle": "M6 0.5l5.5 10.5h-11z",
    "diamond": "M6 0l6 6l-6 6l-6-6z",
    "bar": "M3.5 0h5v12h-5z",
    "plus": "M4 0h4v4h4v4h-4v4h-4v-4h-4v-4h4z",
    "wedge": "M0.5 1h11l-5.5 10.5z",
    "hexagon": "M3 0.8h6l3 5.2l-3 5.2h-6l-3-5.2z",
}
#: Where no zone took an event: a cross in the colour of text.
UNCONFIGURED = "unconfigured"
_CROSS = "M2.2 0.5L6 4.3L9.8 0.5L11.5 2.2L7.7 6L11.5 9.8L9.8 11.5L6 7.7L2.2 11.5L0.5 9.8L4.3 6L0.5 2.2z"


class Look(Struct, frozen=True):
    """How a zone is drawn: the class of its colour, the name of its shape, and the shape's path."""

    css: str
    shape: str
    path: str


class Looks(Struct, frozen=True):
    """The looks of all zones of a policy."""

    places: Mapping[str, int]

    @classmethod
    def of(cls, zones: Iterable[tuple[str, int]]) -> Looks:
        """Arrange looks for zones, each with its rank; the lowest rank comes first."""
        ordered = sorted(dict(zones).items(), key=lambda zone: (zone[1], zone[0]))
        return cls({name: place for place, (name, _) in enumerate(ordered)})

    def look(self, zone: str) -> Look:
        """Return the look of a zone; one that the policy does not have gets one by its name."""
        if zone in {"", UNCONFIGURED}:
            return Look("zone-none", "cross", _CROSS)
        place = self.places.get(zone)
        if place is None:
            place = zlib.crc32(zone.encode("utf-8", "surrogatepass"))
        shape = list(SHAPES)[place % len(SHAPES)]
        return Look(f"zone-{place % COLOURS}", shape, SHAPES[shape])
