"""GPS tracks from the test files of gpxpy: two drives and a walk, one fix a second."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

from device_sim.recordings.make.writing import HERE, Written, copy_licence, write_packed

#: Recording to file, first second, number of fixes. Recorded fixes are at most 14, 6 and 10 s apart in these
#: parts.
TRACKS = {
    "gps-visnjan": ("around-visnjan-with-car.gpx", "2020-12-18T06:21:32Z", 40),
    "gps-cerknicko-jezero": ("cerknicko-jezero.gpx", "2010-08-05T15:12:07Z", 124),
    "gps-korita-zbevnica": ("korita-zbevnica.gpx", "2010-10-03T13:01:02Z", 139),
}


def write(data: Path) -> list[Written]:
    """Write every track."""
    folder = data / "gps"
    copy_licence(folder / "LICENSE", "LICENSE-gpxpy-Apache-2.0.txt")
    copy_licence(folder / "NOTICE", "NOTICE-gpxpy.txt")
    for name, (file, start, fixes) in TRACKS.items():
        write_packed(
            HERE / f"{name}.csv.gz",
            ("latitude_deg", "longitude_deg", "altitude_m"),
            _fixes(folder / file, start, fixes),
        )
    return [Written(name, fixes, 1.0, float(fixes), {}) for name, (_, _, fixes) in TRACKS.items()]


def _fixes(path: Path, start: str, count: int) -> Iterator[tuple[str, ...]]:
    """Yield one fix a second (latitude deg, longitude deg, altitude m), linear between recorded fixes."""
    track = ElementTree.parse(path)  # noqa: S314  files that the developer downloaded
    points = sorted(
        (
            _seconds(_text(point, "time")),
            float(point.attrib["lat"]),
            float(point.attrib["lon"]),
            float(_text(point, "ele")),
        )
        for point in track.iterfind(".//{*}trkpt")
        if _text(point, "time")
    )
    start_s = _seconds(start)
    for i in range(count):
        after = next(k for k, point in enumerate(points) if point[0] > start_s + i)
        a, b = points[after - 1], points[after]
        share = (start_s + i - a[0]) / (b[0] - a[0])
        latitude, longitude, altitude = (x + share * (y - x) for x, y in zip(a[1:], b[1:], strict=True))
        yield f"{latitude:.7f}", f"{longitude:.7f}", f"{altitude:.2f}"


def _text(point: ElementTree.Element, name: str) -> str:
    return point.findtext(f"{{*}}{name}", "")


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
