"""Measurements of the writer as tables: each figure with its bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import ingest
from bench.race import Say
from bench.store import history
from bench.store.children import said
from bench.store.rows import WINDOWS, Rows
from bench.store.sizes import Sizes

Lines = list[dict[str, Any]]
READERS = 8


@dataclass(frozen=True, slots=True)
class Job:
    """Parameters of one run; a copy is a day of a demo's devices. Peers get only the first few copies."""

    source: Path
    directory: Path
    copies: int
    questions: int
    publishes: int
    history: int
    peer_copies: int
    ingest_rows: int
    say: Say

    @property
    def store(self) -> Path:
        """Path of the store that is grown."""
        return self.directory / "grown"

    @property
    def large(self) -> bool:
        """Whether it has some 100 million edges, for which bars are wider."""
        return self.copies > 100


def row(what: str, figure: float | str, bar: float | None = None, *, least: bool = False) -> dict[str, Any]:
    """A figure with its bar, which is a maximum or a minimum."""
    shown = figure if isinstance(figure, str) else round(figure, 3 if abs(figure) < 10 else 1)
    if isinstance(figure, str) or bar is None:
        return {"what": what, "figure": shown, "bar": "", "reached": ""}
    reached = figure >= bar if least else figure <= bar
    return {
        "what": what,
        "figure": shown,
        "bar": f"{'≥' if least else '≤'} {bar:g}",
        "reached": "yes" if reached else "NO",
    }


def at(values: Sequence[float], share: float) -> float:
    """The value that this share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def loading(job: Job, rows: Rows) -> tuple[dict[str, Lines], float]:
    """Grow the store; return figures of ingest, publishing and memory, and the seconds of loading."""
    grown = said("grow", job.source, job.store, "--copies", job.copies)
    sizes, published_ms = Sizes.of(job.store), grown["publish_ms"]
    batches = rows.captured_batches * job.copies
    of_ours = (
        f"{rows.edges * job.copies:,} edges, {sum(sizes.rows.values()):,} rows, {job.copies} device-days"
    )
    found = [
        row("rows/s taken in, decoded already", grown["rows_per_s"]),
        row("publish while it grows, a tenth of a day an epoch, p50 ms", at(published_ms, 0.5)),
        row("publish while it grows, a tenth of a day an epoch, p99 ms", at(published_ms, 0.99)),
        row("writer's memory, MB (a copy's rows included)", grown["peak_mb"], 500),
        row("files of the newest epoch", sizes.files, 200),
        row("files with edges", sizes.edge_files),
        row("bytes a captured batch, hot file included", sizes.all_bytes / batches, 64),
        row("of them segments", sizes.segments_bytes / batches),
        row("of them indexes", sizes.indexes_bytes / batches),
        row("of them the catalog", sizes.catalog_bytes / batches),
        row("of them the hot file", sizes.hot_bytes / batches),
    ]
    return {f"The store: {of_ours}": found}, grown["load_s"]


def publishing(job: Job, rows: Rows) -> dict[str, Lines]:
    """Publish a day in a number of epochs, at size and after a long history."""
    found = Lines()
    grown = ("--copies", 1, "--epochs", job.publishes, "--live")
    for said_of, copy in (("at size", job.copies), (f"after {job.history:,} epochs more", job.copies + 1)):
        if copy > job.copies:
            history.synthesise(job.store, job.history)
        published_ms = said("grow", job.source, job.store, "--first", copy, *grown)["publish_ms"]
        # After a long history was written, the first epoch is the one that has to cope with it.
        found.append(row(f"{said_of}: first, ms", published_ms[0]))
        found.append(row(f"{said_of}: p50 ms", at(published_ms[1:], 0.5), 100))
        found.append(row(f"{said_of}: p99 ms", at(published_ms[1:], 0.99), 250))
        found.append(row(f"{said_of}: catalog, kB", Sizes.of(job.store).catalog_bytes / 1000))
    each = rows.captured_batches // job.publishes
    return {f"Publishing: {job.publishes} epochs in turn, of some {each} captured batches each": found}


def edges(job: Job, rows: Rows, copies: int) -> dict[str, Lines]:
    """Bytes that one edge adds to the segments of edges and to the indexes of a store without edges."""
    sizes = {}
    for kind in ("none", "windows", "single"):
        store = job.directory / f"edges-{kind}"
        said("grow", job.source, store, "--copies", copies, "--edges", kind)
        of = Sizes.of(store)
        sizes[kind] = of.edges_bytes + of.indexes_bytes
    found = Lines()
    for kind, named, bar in (("windows", "windows of a sensor", 0.25), ("single", "one by one", 4.0)):
        count = rows.only(WINDOWS, others=kind == "single").edges * copies
        found.append(
            row(f"{named}: bytes an edge ({count:,} edges)", (sizes[kind] - sizes["none"]) / count, bar)
        )
    return {f"At rest: what edges add, Parquet and index together, {copies} device-days": found}


def resting(job: Job) -> dict[str, Lines]:
    """The writer's share of a core at 60 captured batches per second."""
    found = said("rest", job.source, job.directory / "rest")
    return {
        "At rest: the writer at 60 captured batches/s, rows decoded already": [
            row("cores", found["cores"], 0.15)
        ]
    }


def taking(job: Job) -> dict[str, Lines]:
    """Taking in encoded records of lineage while eight readers ask."""
    title = "Ingest: encoded records of glasses.lineage"
    place = job.directory / "ingest"
    place.mkdir()
    one = ingest.measure(place, job.ingest_rows, READERS, job.say)
    idle_ms, busy_ms = one["reader_idle"]["p99_ms"], one["reader_busy"]["p99_ms"]
    return {
        f"{title}, {one['rows']:,} rows, {READERS} readers ask once a second each": [
            row("rows/s, JSON decoding included", one["rows_per_s"], 200_000, least=True),
            row("writer's memory, MB", one["writer_mb"], 500),
            row("readers' p99 over that of a store at rest", busy_ms / idle_ms, 3),
            row("readers' p99, ms", busy_ms),
        ]
    }
