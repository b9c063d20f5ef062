"""Places from GPS fixes: a place is everything within a fixed radius of the point where it was first entered.

Method: anchor points with a roaming distance, after Hariharan and Toyama, "Project Lachesis: parsing and
modeling location histories", GIScience 2004, section 3, applied to the median of a few fixes. Places are
numbered per device in the order of their first visit. Coordinates stay in the device's state and are never
written to the lineage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

import numpy as np

from streams.events.batch import Batch
from streams.events.codec import column
from streams.processing.operators import Memory, Operator
from streams.processing.windows import ClosedWindow, Columns, Samples

#: Places that a device knows: (number, latitude, longitude in degrees).
Anchors = tuple[tuple[int, float, float], ...]
#: One sample: packed and little-endian, so that a state is the same on every machine.
FIX = np.dtype([("latitude_deg", "<f8"), ("longitude_deg", "<f8")])
WINDOW_FIXES = 5
ROAMING_DISTANCE_M = 150.0
PLACES_MAX = 64
PLACES_BYTES_MAX = 8 * 1024  #: size of the places as JSON; each takes about 64 bytes
EARTH_RADIUS_M = 6_371_008.8


def samples(batches: Sequence[Batch]) -> Samples:
    """Latitude and longitude in degrees of every fix."""
    fixes = np.empty(sum(batch.run.count for batch in batches), FIX)
    for name in FIX.names or ():
        fixes[name] = column(batches, name)
    return fixes


def distance_m(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Great-circle distance in metres (haversine, mean Earth radius of IUGG)."""
    (lat_a, lon_a), (lat_b, lon_b) = (tuple(map(math.radians, point)) for point in (a, b))
    h = (
        math.sin((lat_b - lat_a) / 2) ** 2
        + math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(h)))


def _centre(fixes: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Median latitude and longitude in degrees.

    Longitudes are measured from the first one, because 179.9 and -179.9 are close to one another.
    """
    first = fixes[0][1]
    east = median((lon - first + 180.0) % 360.0 - 180.0 for _, lon in fixes)
    across = abs(max(lon for _, lon in fixes) - min(lon for _, lon in fixes)) > 180.0
    longitude = (first + east + 180.0) % 360.0 - 180.0 if across else median(lon for _, lon in fixes)
    return median(lat for lat, _ in fixes), longitude


def place(anchors: Anchors, closed: ClosedWindow) -> tuple[Columns, Anchors]:
    """Columns of the place event for a window, and the known places after it.

    If no known place is near, a new one is added.
    """
    fixes: list[tuple[float, float]] = closed.samples.tolist()
    centre = _centre(fixes)
    near = min(
        ((distance_m(centre, (lat, lon)), number) for number, lat, lon in anchors), default=(math.inf, 0)
    )
    if near[0] > ROAMING_DISTANCE_M:
        number = anchors[-1][0] + 1 if anchors else 1
        anchors = (*anchors[-(PLACES_MAX - 1) :], (number, *centre))
        near = (0.0, number)
    seconds = (closed.window.t_last_ns - closed.window.t_first_ns) / 1e9
    travelled = sum(distance_m(a, b) for a, b in pairwise(fixes))
    return {
        "place_number": near[1],
        "distance_m": round(near[0], 1),
        "speed_mps": round(travelled / seconds, 2) if seconds > 0 else None,
        "fixes": len(fixes),
    }, anchors


PLACE = Operator(
    name="place",
    version=1,
    reads="location",
    primary="location",
    sample=FIX,
    samples=samples,
    length=WINDOW_FIXES,
    makes=Memory(Anchors, (), PLACES_BYTES_MAX, place),
    cites="place_number",
)
