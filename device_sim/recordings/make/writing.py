"""What every module of this package writes with: tables as CSV, packed or not, and copies of licences.

The same rows give the same bytes.
"""

from __future__ import annotations

import csv
import gzip
import io
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

#: The folder with the recordings, and the one with the utterances that training starts from.
HERE = Path(__file__).parents[1]
TRAINING = HERE.parents[1] / "streams" / "training"

#: Name to (first row, number of rows).
Pieces = dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Written:
    """What was written, for the index: rows, rate in Hz and length in s (None where rows have no time)."""

    name: str
    rows: int
    rate_hz: float | None = None
    length_s: float | None = None
    pieces: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    regular: bool = True


def timed(name: str, t_ns: NDArray[np.int64]) -> Written:
    """Index entry of rows that bring their times, ns since the first.

    The rate is the median one, so that pauses do not count.
    """
    return Written(
        name,
        len(t_ns),
        round(1e9 / float(np.median(np.diff(t_ns))), 2),
        round(int(t_ns[-1]) / 1e9, 3),
        regular=False,
    )


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return the rows as CSV text, header first."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def write_text(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as plain CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(table(header, rows), "utf-8")


def write_packed(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as gzip-packed CSV.

    Neither a name nor a time stands in the gzip header, so equal rows are equal bytes.
    """
    with (
        path.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=file, mtime=0) as packed,
    ):
        packed.write(table(header, rows).encode())


def copy_licence(source: Path, name: str) -> None:
    """Copy the licence or notice that came with the data into this folder."""
    shutil.copyfile(source, HERE / name)
    (HERE / name).chmod(0o644)
