"""Find the catalog of a store's newest epoch."""

from __future__ import annotations

from pathlib import Path

from streams.errors import PendingError, UnavailableError
from streams.queries import intact

#: Name of the link to the catalog of the newest epoch.
CATALOG = "catalog.duckdb"
#: Name of the directory of segments and indexes.
SEGMENTS = "segments"


def catalog_name(epoch: int) -> str:
    """File name of an epoch's catalog."""
    return f"catalog-{epoch:08d}.duckdb"


def newest_catalog(directory: Path) -> Path:
    """Path of the newest catalog.

    Raises
    ------
    PendingError
        A writer has begun the store and published nothing yet.
    UnavailableError
        There is no store.
    DamagedError
        The link to the catalog is broken.
    """
    link = directory / CATALOG
    if not link.is_symlink() and not link.exists():
        if (directory / "hot.duckdb").exists():
            raise PendingError(f"{directory}: no epoch has been published yet; wait for the writer")
        raise UnavailableError(
            f"{directory}: there is no store; name one with --store, or make one with `sightline demo`"
        )
    catalog = link.resolve()
    if catalog.parent != directory:
        raise intact.damaged(link, f"found a link to {catalog}, expected one to a catalog beside it")
    if not catalog.is_file():
        raise intact.damaged(catalog, "found no such file")
    return catalog
