"""Make the small copies from a folder with the downloaded data.

`python -m device_sim.recordings.make DATA_DIR` does it.

Deterministic: the same data gives the same bytes. What is changed on the way stands in NOTICE.
"""

from __future__ import annotations

import csv
import json
import sys
import tomllib
from dataclasses import asdict
from pathlib import Path

from device_sim.recordings.make import aria, classyglass, gps, neon, ratings, utterances
from device_sim.recordings.make.writing import HERE, Written


def main(data: Path) -> None:
    """Write every recording from the folders below `data`, and the index of what they hold."""
    written = [recording for source in (classyglass, neon, gps, aria) for recording in source.write(data)]
    utterances.write(data)
    ratings.write(data)
    timeless = {
        name: about["file"]
        for name, about in tomllib.loads((HERE / "recordings.toml").read_text("utf-8")).items()
        if about["kind"] in {"voice_query", "feedback"}
    }
    for name, file in timeless.items():
        with (HERE / file).open(encoding="utf-8", newline="") as rows:
            written.append(Written(name, sum(1 for _ in csv.DictReader(rows))))
    # One line a recording: a change shows where it is.
    lines = []
    for recording in written:
        fields = {field: value for field, value in asdict(recording).items() if field != "name"}
        lines.append(f"  {json.dumps(recording.name)}: {json.dumps(fields)}")
    (HERE / "index.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m device_sim.recordings.make DATA_DIR")
    main(Path(sys.argv[1]))
