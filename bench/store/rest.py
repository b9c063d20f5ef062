"""The CPU of a writer at a low rate, with nothing else in its process.

`python -m bench.store.rest SOURCE STORE` prints one JSON object.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import click
import orjson

from bench.store.rows import Rows, parts
from streams import clock, limits
from streams.snapshots.writer import Writer

BATCHES_PER_S = 60


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--seconds", default=20, show_default=True)
def main(*, source: Path, store: Path, seconds: int) -> None:
    """Let a writer take in 60 captured batches a second, with the rows that they make, and publish them.

    What several polls brought is taken in together, once a publish interval, as the command does.
    """
    rows, interval_s = Rows.read(source), limits.PUBLISH_INTERVAL_MS / 1000
    number_of = max(int(rows.captured_batches / (BATCHES_PER_S * interval_s)), 1)
    waiting = list(itertools.islice(parts(rows.copy(0), number_of), int(seconds / interval_s)))
    writer = Writer.open(store)
    epochs, began_s, used_s = 0, clock.monotonic_s(), time.process_time()
    try:
        for number, part in enumerate(waiting, 1):
            writer.ingest_tables(part, time.monotonic_ns())
            epochs += writer.publish(clock.now_ns()) is not None
            clock.sleep(max(began_s + number * interval_s - clock.monotonic_s(), 0))
        passed_s = clock.monotonic_s() - began_s
        used_s = time.process_time() - used_s
    finally:
        writer.close()
    click.echo(orjson.dumps({"cores": used_s / passed_s, "epochs": epochs, "seconds": passed_s}))


if __name__ == "__main__":
    main()
