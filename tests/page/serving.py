"""A `sightline page` of its own for tests: a process, with an address to enter by for each role."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import HTTPCookieProcessor, build_opener

from tests.patience import PATIENCE_S


@contextmanager
def served_pages(store: Path, roles: Sequence[str]) -> Iterator[dict[str, str]]:
    """The address to enter by, with its token, of each role; the process ends with the block."""
    command = [sys.executable, "-m", "streams.cli", "page", "--store", store.name, "--port", "0"]
    command += [word for role in roles for word in ("--role", role)]
    process = subprocess.Popen(
        command,
        cwd=store.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_environment(),
    )
    try:
        assert process.stdout is not None
        lines = []
        entries: dict[str, str] = {}
        while len(entries) < len(roles):
            line = process.stdout.readline()
            lines.append(line)
            assert line, f"the page ended before it could be entered: {''.join(lines)}"
            if link := re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line):
                entries[next(role for role in roles if role in line)] = link[0]
        yield entries
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)


def address_of(link: str) -> str:
    """The server's address, without the path."""
    parts = urlsplit(link)
    return f"{parts.scheme}://{parts.netloc}"


def entered(link: str) -> str:
    """The first page, as a browser without a script gets it through a link with a token."""
    with build_opener(HTTPCookieProcessor(CookieJar())).open(link, timeout=PATIENCE_S) as answer:
        return str(answer.read().decode())


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIGHTLINE_")}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONUNBUFFERED": "1"}
