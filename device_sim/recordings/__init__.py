"""Real recordings, small and licensed (NOTICE), and how they are read.

`python -m device_sim.recordings.make` made them.
"""

from __future__ import annotations

import csv
import gzip
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.errors import InputError
from streams.events.kinds import text_form
from streams.events.shipped import SHIPPED

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class About:
    """One recording: what it is, whose, and where it comes from; nothing of its content is read for this.

    `length_s` and `rate_hz` are None where rows have no time; `regular` is False where samples bring their
    own times. `pieces` are named parts, (first row, number of rows). `truth` is the file of what the device
    itself detected, if any.
    """

    name: str
    kind: str
    rows: int
    length_s: float | None
    rate_hz: float | None
    regular: bool
    licence: str
    source: str
    wearer: str
    file: str
    pieces: Mapping[str, tuple[int, int]]
    truth: str

    @property
    def origin(self) -> str:
        """What a batch played from it says in `origin`."""
        return f"playback:{self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Rows of a sensor's recording.

    `t_ns` (rows,) int64 counts from the first row. `columns` are those of the kind, each of `rows` values:
    numbers as float64 with NaN where nothing was measured, flags as bool, texts as a list.
    """

    about: About
    t_ns: NDArray[np.int64]
    columns: Mapping[str, Any]


@cache
def about() -> Mapping[str, About]:
    """All recordings by name."""
    index = json.loads((HERE / "index.json").read_text("utf-8"))
    recordings = {}
    for name, table in tomllib.loads((HERE / "recordings.toml").read_text("utf-8")).items():
        pieces = {piece: (first, rows) for piece, (first, rows) in index[name].pop("pieces").items()}
        recordings[name] = About(
            name,
            table["kind"],
            licence=table["licence"],
            source=table["source"],
            wearer=table["wearer"],
            file=table["file"],
            truth=table.get("truth", ""),
            pieces=pieces,
            **index[name],
        )
    return recordings


def named(name: str, kind: str) -> About:
    """Return the recording called `name`; InputError names those of `kind` when it is not one of them."""
    recording = about().get(name)
    if recording is None or recording.kind != kind:
        known = ", ".join(each.name for each in about().values() if each.kind == kind)
        raise InputError(f"Recording {name!r} is none of kind {kind}; expected one of: {known}.")
    return recording


@cache
def samples(name: str) -> Samples:
    """Read the rows of a sensor's recording, once."""
    recording = about()[name]
    wanted = SHIPPED[recording.kind].columns
    with gzip.open(HERE / recording.file, "rt", encoding="utf-8", newline="") as file:
        names = next(csv.reader(file))
        if any(map(text_form, wanted.values())):
            table: Any = np.array(list(csv.reader(file)), dtype=object)
        else:
            # Text to numbers in compiled code: a wearer's hour is a few hundred thousand rows.
            table = np.loadtxt(
                (
                    line.replace(",\n", ",nan\n").replace(",,", ",nan,").replace(",,", ",nan,")
                    for line in file
                ),
                delimiter=",",
                ndmin=2,
            )
    given = {column: table[:, i] for i, column in enumerate(names)}
    columns = {
        column: given[column].tolist()
        if text_form(kind)
        else given[column].astype(float) != 0
        if kind == "flag"
        else given[column].astype(float)
        for column, kind in wanted.items()
    }
    t_ns = given["t_ns"].astype(np.int64) if "t_ns" in given else _regular(recording)
    return Samples(recording, t_ns, columns)


def _regular(recording: About) -> NDArray[np.int64]:
    return np.round(np.arange(recording.rows) * (1e9 / (recording.rate_hz or 1.0))).astype(np.int64)


@cache
def rows(name: str) -> tuple[Mapping[str, str], ...]:
    """Rows of a recording that has no times: utterances with their intents, ratings."""
    with (HERE / about()[name].file).open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))
