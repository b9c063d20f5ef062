"""Asks a store again and again, in a process of its own, until it is ended.

`python -m bench.rights.reader STORE ANSWER` prints a JSON object for each time.
"""

from __future__ import annotations

from pathlib import Path

import click
import orjson

from bench.rights.grown import of_wearers
from streams import clock
from streams.queries import questions
from streams.queries.role import Role
from streams.queries.store import Store


def look(store: Path, answer: str) -> dict[str, object]:
    """What a privacy officer is told: events by wearer, the number of an answer's ancestors."""
    began_ns = clock.now_ns()
    with Store.open(store, Role.of("privacy-officer")) as opened:
        told = of_wearers(opened)
        ancestors = len(questions.ancestors(opened, answer).ancestors)
        return {
            "began_ns": began_ns,
            "took_s": (clock.now_ns() - began_ns) / 1e9,
            "told": {wearer: list(sums) for wearer, sums in told.items()},
            "ancestors": ancestors,
        }


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("answer")
def main(*, store: Path, answer: str) -> None:
    """Ask STORE, also for the ancestors of ANSWER."""
    while True:
        click.echo(orjson.dumps(look(store, answer)))


if __name__ == "__main__":
    main()
