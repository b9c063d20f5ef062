"""Measures the questions about how far data went, on a grown store, in a process of its own.

`python -m bench.store.reaching STORE` prints one JSON object: milliseconds, median and maximum, warm.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click
import orjson

from bench.store.rows import DAY_NS
from streams.queries.between import between
from streams.queries.changes import changes
from streams.queries.descendants import descendants
from streams.queries.moments import Moment, moments
from streams.queries.reach import reach
from streams.queries.role import Role
from streams.queries.store import Store

#: Events are chosen by digest, so they are the same in each run and spread over the store.
_SENSED = """
SELECT source || '/' || stream || '/' || "first" FROM events WHERE kind = 'imu'
ORDER BY hash(source || "first") LIMIT 100"""
_ANSWERED = """
SELECT parent_source || '/' || parent_stream || '/' || parent_first,
    child_source || '/' || child_stream || '/' || child_first
FROM edges WHERE operator = 'answer' AND parent_source <> 'training'
ORDER BY hash(child_source || child_first) LIMIT 100"""
_WEARERS = "SELECT DISTINCT wearer FROM events WHERE wearer <> '' ORDER BY hash(wearer)"


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--role", default="privacy-officer", show_default=True)
def main(*, store: Path, role: str) -> None:
    """Ask STORE."""
    with Store.open(store) as whole:
        sensed, answered, wearers = (whole.sql(text).rows for text in (_SENSED, _ANSWERED, _WEARERS))
    with Store.open(store, Role.of(role)) as opened:
        kept = moments(opened)[0]
        apart = [(identity, to) for (identity,), (_, to) in zip(sensed, answered, strict=False)]
        asked: dict[str, Sequence[Callable[[], object]]] = {
            "descendants of a run of a sensor": [
                partial(descendants, opened, identity) for (identity,) in sensed
            ],
            "did X reach Y: yes": [
                partial(between, opened, *pair) for pair in answered if between(opened, *pair).reached
            ],
            "did X reach Y: no": [
                partial(between, opened, *pair) for pair in apart if not between(opened, *pair).reached
            ],
            "reach of a wearer": [partial(reach, opened, wearer) for (wearer,) in wearers[:10]],
            "changes between two days": [partial(changes, opened, *_days(kept))],
        }
        times_ms = {name: _measured(questions) for name, questions in asked.items()}
        click.echo(orjson.dumps({**times_ms, "wearers": len(wearers)}))


def _days(kept: Sequence[Moment]) -> tuple[Sequence[Moment], Sequence[Moment]]:
    """The newest epoch, and the kept one that is nearest to a day before it."""
    last = kept[-1]
    return [min(kept, key=lambda each: abs(last.published_ns - DAY_NS - each.published_ns))], [last]


def _measured(questions: Sequence[Callable[[], object]]) -> dict[str, float]:
    for question in questions:
        question()
    took_ms = []
    for question in questions:
        began_s = time.perf_counter()
        question()
        took_ms.append((time.perf_counter() - began_s) * 1000)
    return {"p50_ms": round(statistics.median(took_ms), 2), "max_ms": round(max(took_ms), 2)}


if __name__ == "__main__":
    main()
