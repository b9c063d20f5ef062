"""A page of HTML printed to PDF by a Chromium that is installed on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from streams import files, limits
from streams.errors import UnavailableError

#: Names under which a Chromium may be installed, in the order in which they are tried.
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    "--headless",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-pdf-header-footer",
)


def print_to_pdf(out: Path) -> Callable[[bytes], bytes]:
    """Return what prints HTML to PDF. `out` is where that goes to, for the words of an error.

    The Chromium has a profile of its own, which is removed with the HTML when it ends. Its sandbox is on, but
    for root, for whom it refuses to start with it; the HTML has no script.

    UnavailableError if there is no Chromium, and from what is returned if it does not print.
    """
    program = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if program is None:
        raise UnavailableError(
            f"{out}: found no Chromium to print it, expected one of {', '.join(CHROMIUMS)} on the path; "
            f"install one (Debian: apt install chromium), or write {out.with_suffix('.html')} and print it "
            "from a browser"
        )

    def printed(html: bytes) -> bytes:
        with files.working_directory("report") as directory:
            page, made = directory / "report.html", directory / "report.pdf"
            with files.create(page) as file:
                file.write(html)
            _run(program, out, directory, [f"--print-to-pdf={made}", page.as_uri()])
            if not made.exists():
                raise UnavailableError(_not_printed(program, out, "it made no file"))
            return made.read_bytes()

    return printed


def _run(program: str, out: Path, directory: Path, arguments: list[str]) -> None:
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    command = [program, *_QUIET, *sandbox, f"--user-data-dir={directory / 'profile'}", *arguments]
    try:
        # What it says names files of this machine, and is not needed: there is a file, or there is none.
        subprocess.run(
            command,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=limits.REPORT_PRINT_S,
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(
            _not_printed(program, out, f"it was not done after {limits.REPORT_PRINT_S:.0f} s")
        ) from None
    except (OSError, subprocess.CalledProcessError) as error:
        raise UnavailableError(_not_printed(program, out, type(error).__name__)) from None


def _not_printed(program: str, out: Path, why: str) -> str:
    other = out.with_suffix(".html")
    return f"{out}: {program} did not print it ({why}); write {other} and print it from a browser"
