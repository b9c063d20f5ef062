"""Grows a store with the project's own writer, in a process of its own, whose memory is the writer's.

`python -m bench.store.grow SOURCE TARGET --copies N` prints one JSON object.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

import click
import orjson

from bench.memory import peak_mb
from bench.store.rows import DAY_NS, WINDOWS, Part, Rows, parts
from streams import clock
from streams.snapshots.writer import Writer

Fold = Literal["beside", "inline"]
#: Time between two epochs if devices send continuously.
INTERVAL_NS = 300_000_000


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--copies", default=1, show_default=True, help="Days of the demo's devices.")
@click.option("--first", default=0, show_default=True, help="Number of the first copy.")
@click.option("--epochs", default=10, show_default=True, help="Epochs a copy.")
@click.option(
    "--edges",
    type=click.Choice(["all", "windows", "single", "none"]),
    default="all",
    show_default=True,
    help="Which edges come along: those over windows of a sensor, those that come one by one.",
)
@click.option(
    "--live", is_flag=True, help="Epochs follow each other by 300 ms, from now; not by parts of a day."
)
def main(*, source: Path, target: Path, copies: int, first: int, epochs: int, edges: str, live: bool) -> None:
    """Copy a demo's rows into the store TARGET."""
    rows = Rows.read(source)
    if edges != "all":
        rows = rows.only(() if edges == "none" else WINDOWS, others=edges == "single")
    # When bytes are compared, folds must not depend on the speed of the other parts.
    fold: Fold = "beside" if edges == "all" else "inline"
    made = grow(rows, target, range(first, first + copies), epochs, live=live, fold=fold)
    click.echo(orjson.dumps(made))


def grow(
    rows: Rows, target: Path, copies: range, epochs: int, *, live: bool = False, fold: Fold = "beside"
) -> dict[str, Any]:
    """Take copies in and publish each in a number of epochs; return the measurements.

    The labels of the epochs advance by one day per copy and end a day ago; with `live` they advance by 300 ms
    per epoch from now on.
    """
    own_mb = peak_mb()
    now_ns = clock.now_ns() if live else clock.now_ns() - (len(copies) + 1) * DAY_NS
    step_ns = INTERVAL_NS if live else DAY_NS // epochs
    taking_s, publishing_s, count = 0.0, list[float](), 0
    began_s = time.perf_counter()
    writer = Writer.open(target, fold=fold)
    try:
        for number in copies:
            for part in parts(rows.copy(number), epochs):
                took_s, published_s, took = _epoch(writer, part, now_ns)
                taking_s, count, now_ns = taking_s + took_s, count + took, now_ns + step_ns
                publishing_s.append(published_s)
        writer.settle(now_ns)
    finally:
        writer.close()
    return {
        "rows": count,
        "rows_per_s": count / taking_s,
        "publish_ms": [round(each * 1000, 1) for each in publishing_s],
        "load_s": taking_s + sum(publishing_s),
        "all_s": time.perf_counter() - began_s,
        "peak_mb": peak_mb(),
        "before_mb": own_mb,
    }


def _epoch(writer: Writer, part: Part, now_ns: int) -> tuple[float, float, int]:
    began_s = time.perf_counter()
    count = writer.ingest_tables(part, time.monotonic_ns())
    taken_s = time.perf_counter()
    writer.publish(now_ns)
    return taken_s - began_s, time.perf_counter() - taken_s, count


if __name__ == "__main__":
    main()
