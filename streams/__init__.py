"""Sightline: policy zones and lineage for every event of AI glasses. Start with :mod:`streams.topology`.

The names in `__all__` are the interface for other programs (docs/python.md). Each is imported on first use,
so importing `streams` alone costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streams.errors import DamagedError, InputError, SightlineError, UnavailableError
    from streams.queries.answers import Answer
    from streams.queries.asking import OpenStore, open_store, unfiltered
    from streams.queries.table import Table
    from streams.worker.opening import open_sealed

__all__ = [
    "Answer",
    "DamagedError",
    "InputError",
    "OpenStore",
    "SightlineError",
    "Table",
    "UnavailableError",
    "open_sealed",
    "open_store",
    "unfiltered",
]

_HOME = {
    **dict.fromkeys(("DamagedError", "InputError", "SightlineError", "UnavailableError"), "streams.errors"),
    **dict.fromkeys(("OpenStore", "open_store", "unfiltered"), "streams.queries.asking"),
    "Answer": "streams.queries.answers",
    "Table": "streams.queries.table",
    "open_sealed": "streams.worker.opening",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
