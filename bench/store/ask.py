"""Measures readers of a store in a process of its own, with the DuckDB that is on its path.

`python -m bench.store.ask STORE IDS --role ROLE` prints one JSON object; IDS is a JSON file of ids.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import duckdb
import orjson

from streams.errors import InputError
from streams.queries import questions
from streams.queries.role import Role
from streams.queries.store import Store

OPENED = 20
_FIRST = "SELECT zone, count(*) FROM events GROUP BY zone"


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("ids", type=click.Path(path_type=Path))
@click.option("--role", default="analyst", show_default=True)
@click.option("--sql", is_flag=True, help="Time the first statement of the role alone.")
@click.option("--visible", is_flag=True, help="Print which of the ids the role is shown.")
def main(*, store: Path, ids: Path, role: str, sql: bool, visible: bool) -> None:
    """Ask STORE."""
    asking, asked = Role.of(role), orjson.loads(ids.read_bytes())
    if visible:
        with Store.open(store, asking) as opened:
            click.echo(orjson.dumps([each for each in asked if _shown(opened, each)]))
    elif sql:
        click.echo(orjson.dumps({"sql_ms": _first_statement_ms(store, asking)}))
    else:
        click.echo(orjson.dumps(measured(store, asking, asked)))


def measured(store: Path, role: Role, ids: list[str]) -> dict[str, object]:
    """Milliseconds of opening the store and of a bare connection, in turns, and of each id, cold and warm.

    Cold: the first question about each id, in a store that was opened after its files were dropped from the
    page cache. Warm: the same questions a second time. First: the first question after each of several such
    openings.
    """
    bare_ms, open_ms, first_ms = list[float](), list[float](), list[float]()
    for _ in range(OPENED):
        bare_ms.append(_timed_ms(lambda: duckdb.connect().close()))
        open_ms.append(_timed_ms(lambda: Store.open(store, role).close()))
    for identity in ids[:OPENED]:
        forget(store)
        with Store.open(store, role) as opened:
            first_ms.append(_timed_ms(partial(questions.ancestors, opened, identity)))
    forget(store)
    with Store.open(store, role) as opened:
        cold_ms = [_timed_ms(partial(questions.ancestors, opened, identity)) for identity in ids]
        warm_ms = [_timed_ms(partial(questions.ancestors, opened, identity)) for identity in ids]
    return {
        "duckdb": duckdb.__version__,
        "bare_ms": bare_ms,
        "open_ms": open_ms,
        "first_ms": first_ms,
        "cold_ms": cold_ms,
        "warm_ms": warm_ms,
    }


def forget(store: Path) -> None:
    """Drop a store's files from the page cache."""
    for path in store.rglob("*"):
        if path.is_file() and not path.is_symlink():
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def _shown(store: Store, identity: str) -> bool:
    try:
        questions.ancestors(store, identity)
    except InputError:
        return False
    return True


def _first_statement_ms(store: Path, role: Role) -> float:
    with Store.open(store, role) as opened:
        return _timed_ms(lambda: opened.sql(_FIRST))


def _timed_ms(call: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    call()
    return (time.perf_counter() - began_s) * 1000


if __name__ == "__main__":
    main()
