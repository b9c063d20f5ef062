"""One line on a terminal that says what goes on, and is gone when that is over."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from streams.printing import printable

if TYPE_CHECKING:
    from rich.progress import Progress

Show = Callable[[str], None]
_shown: list[Progress] = []


def nothing(text: str) -> None:
    """Take what is said where nobody looks."""
    del text


@contextlib.contextmanager
def moving(first: str = "") -> Iterator[Show]:
    """Show `first`, and what the block shows later, with the time that it takes; on standard error.

    At the end of the block, however it ends, the line is gone and the cursor is back.
    """
    if not sys.stderr.isatty():
        yield nothing
        return
    # Only who sits at a terminal waits for it to be imported.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    _shown.append(progress)
    try:
        with progress:
            task = progress.add_task(printable(first), total=None)
            yield lambda text: progress.update(task, description=printable(text))
    finally:
        _shown.remove(progress)


def leave() -> None:
    """Leave the terminal as it was found: for a process that ends past the end of every block."""
    for progress in _shown:
        progress.stop()
