"""Throughput, latency and size of a large store, compared with alternatives.

`make bench-store` and `make bench-store-full` run it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import orjson

from bench import report
from bench.store import readers, tables, viewers
from bench.store.children import ROOT
from bench.store.history import HISTORY
from bench.store.rows import Rows
from bench.store.tables import Job

EDGES, EDGES_FULL, PEER_EDGES_MAX = 10_000_000, 100_000_000, 10_000_000
INGEST_ROWS = 1_000_000
#: Copies, each a day of the demo's devices, over which the bytes per edge are measured.
EDGE_COPIES = 12


@click.command()
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=None,
    help="Store of a demo whose rows are copied.  [default: a demo is played first]",
)
@click.option("--full", is_flag=True, help=f"{EDGES_FULL:,} event-level edges; not {EDGES:,}.")
@click.option("--questions", default=200, show_default=True, help="Answers whose ancestors are asked.")
@click.option("--publishes", default=200, show_default=True, help="Epochs that are published and timed.")
@click.option("--history", default=HISTORY, show_default=True, help="Epochs that a history is made of.")
@click.option("--tiny", is_flag=True, help="One copy, few questions, nothing kept: shows that it runs.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
def main(
    *,
    source: Path | None,
    full: bool,
    questions: int,
    publishes: int,
    history: int,
    tiny: bool,
    as_json: bool,
) -> None:
    """Grow a store out of a demo's rows, ask it, publish into it, and load the same edges into its peers."""
    began_s = time.perf_counter()
    result = report.machine()
    with tempfile.TemporaryDirectory(prefix="sightline-bench-store-") as made:
        directory = Path(made)
        source = source or _demo(directory / "demo")
        rows = Rows.read(source)
        copies = 1 if tiny else -(-(EDGES_FULL if full else EDGES) // rows.edges)
        job = Job(
            source.resolve(),
            directory,
            copies,
            4 if tiny else questions,
            4 if tiny else publishes,
            100 if tiny else history,
            min(copies, -(-PEER_EDGES_MAX // rows.edges)),
            10_000 if tiny else INGEST_ROWS,
            _say,
        )
        result["tables"] = _measured(job, rows, 1 if tiny else EDGE_COPIES)
    result["took_s"] = round(time.perf_counter() - began_s)
    if not tiny:
        _say(f"kept in {report.keep(result, 'store-')}")
    if as_json:
        click.echo(orjson.dumps(result))
    else:
        report.show_tables(result)


def _measured(job: Job, rows: Rows, edge_copies: int) -> dict[str, Any]:
    """All tables. Readers ask the grown store before anything more is published to it."""
    found: dict[str, Any] = {}
    loaded, load_s = tables.loading(job, rows)
    found |= loaded
    _say(f"grown from {job.copies} copies")
    ids = readers.visible(job, rows)
    found |= readers.asking(job, ids)
    found |= readers.reaching(job)
    _say("asked")
    found |= viewers.waiting(job, ids)
    found |= viewers.slowing(job)
    _say("looked at")
    found |= readers.beside(job, ids, load_s)
    found |= tables.publishing(job, rows)
    _say("published")
    found |= tables.edges(job, rows, edge_copies)
    found |= tables.resting(job)
    return found | tables.taking(job)


def _demo(store: Path) -> Path:
    _say("no --from: playing a demo first, whose rows are copied")
    command = [sys.executable, "-m", "streams.cli", "demo", "--speed", "20", "--json", "--store", str(store)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return store


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)


if __name__ == "__main__":
    main()
