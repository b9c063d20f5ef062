"""One line on a terminal that shows current activity and disappears afterwards."""

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
    """Ignore the message; used if there is no terminal."""
    del text


@contextlib.contextmanager
def moving(first: str = "") -> Iterator[Show]:
    """Show `first`, then what the block shows, with the elapsed time, on standard error.

    After the block, however it ends, the line is removed and the cursor is restored.
    """
    if not sys.stderr.isatty():
        yield nothing
        return
    # Imported here because only a terminal needs it.
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
    """Restore the terminal, for a process that ends without leaving its blocks."""
    for progress in _shown:
        progress.stop()
