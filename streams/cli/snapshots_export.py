"""`sightline snapshots export`: what a role is shown of the store, as one file for any DuckDB."""

from __future__ import annotations

import signal
import threading
from dataclasses import replace
from pathlib import Path

import click

from streams import clock, files, limits
from streams.cli.output import emit_hidden, emit_json, emit_left_out, json_option, role_option, store_option
from streams.cli.staying import stays
from streams.errors import DamagedError, UnavailableError
from streams.printing import say
from streams.queries.export import EXPORTED
from streams.queries.role import Role
from streams.queries.store import Store
from streams.readiness import Ready


@click.command("export")
@store_option
@role_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The file to write; with --follow a directory, in which it is called " + EXPORTED + ".",
)
@click.option("--follow", is_flag=True, help="Go on: replace the file whenever there is a newer epoch.")
@json_option
@stays
def command(
    store: Path,
    role: Role,
    out: Path,
    *,
    follow: bool,
    as_json: bool,
    ready_fd: int | None,
    ready_file: Path | None,
) -> None:
    """Write what a role is shown into one file that any DuckDB from 1.5 on opens, without a role.

    It holds only what the policies let into the sink `export`. Whoever can read the file reads all of it:
    its owner alone, and the group of a directory that is shared with it (`chmod g+s`). With --follow Ctrl-C
    stops.
    """
    asking = replace(role, exporting=True)
    if not follow:
        _export(store, asking, out, as_json=as_json)
        return
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    files.make_directory(out)
    with Ready(ready_fd, ready_file) as ready:
        _follow(store, asking, out / EXPORTED, stop, ready, as_json=as_json)


def _follow(
    store: Path, role: Role, path: Path, stop: threading.Event, ready: Ready, *, as_json: bool
) -> None:
    """Export each newest epoch; the pause after an export is EXPORT_REST times as long as it took.

    If an epoch cannot be exported, the error is logged once and the previous file is kept. An erasure is an
    epoch, so it leaves the file with the next export.
    """
    written, complaint = None, ""
    # Of a process that was killed: it may have what was erased since.
    for left in path.parent.glob(f"{path.name}.*{files.TEMPORARY}"):
        left.unlink()
    while not stop.is_set():
        began_s = clock.monotonic_s()
        newest = (store / "catalog.duckdb").resolve()
        if newest != written:
            try:
                _export(store, role, path, as_json=as_json)
                if written is None:
                    ready.say()
                written, complaint = newest, ""
            except (UnavailableError, DamagedError) as error:
                if str(error) != complaint:
                    complaint = str(error)
                    kept = (
                        f"; {path} stays as it was, also if somebody was erased since"
                        if path.exists()
                        else ""
                    )
                    say(f"{complaint}{kept}; trying again", err=True)
        taken_s = clock.monotonic_s() - began_s
        stop.wait(max(limits.EXPORT_INTERVAL_S, limits.EXPORT_REST * taken_s))


def _export(store: Path, role: Role, path: Path, *, as_json: bool) -> None:
    with Store.open(store, role) as opened:
        opened.export(path)
        epoch, hidden, left_out = opened.epoch, opened.hidden, opened.left_out
    emit_left_out(left_out)
    if as_json:
        emit_json({"epoch": epoch, "file": str(path), "role": str(role), "hidden": hidden})
        return
    emit_hidden(str(role), hidden)
    say(f"{path}: what {role} is shown of epoch {epoch}, for any DuckDB from 1.5 on")
