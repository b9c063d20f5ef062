"""The page of a large store: how long a viewer waits, what it costs, and whether viewers slow the writer."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from typing import IO, cast
from urllib.parse import urlsplit
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

import psutil

from bench.store.children import ROOT, said
from bench.store.tables import Job, Lines, at, row

ROLES = ("analyst", "privacy-officer")
VIEWERS, LIVE_S, READING_S = 10, 2.0, 10.0
#: Some rests between two looks at a store.
ALONE_S = 60.0
#: Pages that readers turn to, one after the other.
TURNED = ("/", "/loop", "/zones", "/refusals", "/inventory")


@contextmanager
def page_of(store: Path) -> Iterator[tuple[psutil.Process, dict[str, str]]]:
    """The page of a store as a process, with the link of each role."""
    command = [sys.executable, "-m", "streams.cli", "page", "--store", str(store), "--port", "0"]
    command += [word for role in ROLES for word in ("--role", role)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
        printed = cast("IO[str]", process.stdout)
        try:
            lines = [printed.readline() for _ in ROLES]
            links = dict(re.findall(r"(\S+): (http://\S+)", "".join(lines)))
            yield psutil.Process(process.pid), links
        finally:
            process.send_signal(signal.SIGINT)


class Viewer:
    """Somebody who entered by a link, and how long each answer took in ms."""

    def __init__(self, link: str) -> None:
        parts = urlsplit(link)
        self._address = f"{parts.scheme}://{parts.netloc}"
        self._opener: OpenerDirector = build_opener(HTTPCookieProcessor(CookieJar()))
        self.took_ms: list[float] = []
        self.failed: BaseException | None = None
        self.get(link.removeprefix(self._address))

    def get(self, path: str) -> float:
        """Read a page; return the milliseconds that it took."""
        began_s = time.perf_counter()
        with self._opener.open(self._address + path, timeout=60) as answer:
            answer.read()
        self.took_ms.append((time.perf_counter() - began_s) * 1000)
        return self.took_ms[-1]

    def look(self, paths: Sequence[str], pause_s: float, ended: threading.Event) -> None:
        """Read pages in turn, with a pause after each, until told to end."""
        turn = 0
        try:
            while not ended.wait(pause_s):
                self.get(paths[turn % len(paths)])
                turn += 1
        except BaseException as error:
            # A viewer who is gone would make the others look cheap.
            self.failed = error
            raise


@contextmanager
def looking(links: dict[str, str], live: int, reading: int) -> Iterator[list[Viewer]]:
    """Some viewers with the live page open, and some who turn pages, until the block ends."""
    ended = threading.Event()
    viewers = [Viewer(links[ROLES[number % len(ROLES)]]) for number in range(live + reading)]
    threads = [
        threading.Thread(
            target=viewer.look,
            args=(
                ("/live.json",) if number < live else TURNED,
                LIVE_S if number < live else READING_S,
                ended,
            ),
        )
        for number, viewer in enumerate(viewers)
    ]
    for thread in threads:
        thread.start()
    try:
        yield viewers
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    if failed := [viewer.failed for viewer in viewers if viewer.failed is not None]:
        raise RuntimeError(f"{len(failed)} of {len(viewers)} viewers got no answer") from failed[0]


def waiting(job: Job, ids: Sequence[str]) -> dict[str, Lines]:
    """How long each role waits for a page, and what the live page costs."""
    lines = Lines()
    with page_of(job.store) as (process, links):
        for role in ROLES:
            viewer = Viewer(links[role])
            lines.append(row(f"{role}: the first page after the start, ms", viewer.took_ms[0]))
            for path in (*TURNED, "/live", f"/event/{ids[0]}?up=9&down=9"):
                taken_ms = [viewer.get(path) for _ in range(9)]
                shown = path if not path.startswith("/event") else "a whole answer"
                bar = 500 if path == "/" else 1000 if path == "/loop" else None
                lines.append(row(f"{role}: {shown}, median ms", statistics.median(taken_ms), bar))
        with looking(links, live=1, reading=0):
            with using(process) as cores:
                time.sleep(ALONE_S)
            lines.append(row("live page with one viewer, no epoch comes, cores", cores[0], 0.03))
            with using(process) as cores:
                said("grow", job.source, job.store, "--first", job.copies + 6, *_grown(job, days=3))
            lines.append(row("live page with one viewer, epoch after epoch comes, cores", cores[0], 0.03))
    return {"The page of this store": lines}


def _grown(job: Job, days: int = 1) -> tuple[object, ...]:
    return ("--copies", days, "--epochs", job.publishes, "--live")


@contextmanager
def using(process: psutil.Process) -> Iterator[list[float]]:
    """How many cores a process used in the block; known after it."""
    cores = list[float]()
    before_s, began_s = _used_s(process), time.perf_counter()
    yield cores
    cores.append((_used_s(process) - before_s) / (time.perf_counter() - began_s))


def slowing(job: Job) -> dict[str, Lines]:
    """Epochs published with and without viewers, in turns, each a day of devices that the store has not."""
    alone_ms, beside_ms, waited_ms = list[float](), list[float](), list[float]()
    for turn in range(4):
        arguments = (job.source, job.store, "--first", job.copies + 2 + turn, *_grown(job))
        if turn % 2 == 0:
            alone_ms += said("grow", *arguments)["publish_ms"][1:]
            continue
        with contextlib.ExitStack() as stack:
            _, links = stack.enter_context(page_of(job.store))
            viewers = stack.enter_context(looking(links, live=VIEWERS // 2, reading=VIEWERS // 2))
            beside_ms += said("grow", *arguments)["publish_ms"][1:]
            waited_ms += [took for viewer in viewers for took in viewer.took_ms]
    times = at(beside_ms, 0.99) / at(alone_ms, 0.99)
    half = VIEWERS // 2
    title = (
        f"The page while the writer works: {half} viewers live, {half} who turn a page every {READING_S:g} s"
    )
    return {
        title: [
            row("publish p99 alone, ms", at(alone_ms, 0.99)),
            row("publish p99 with them, over that alone", times, 1.2),
            row("publish p50 with them, over that alone", at(beside_ms, 0.5) / at(alone_ms, 0.5)),
            row("a viewer waits, p50 ms", at(waited_ms, 0.5)),
            row("a viewer waits, p99 ms", at(waited_ms, 0.99)),
        ]
    }


def _used_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
