"""Find the catalog of a store's newest epoch."""

from __future__ import annotations

from pathlib import Path

from streams.errors import UnavailableError
from streams.queries import intact

#: Name of the link to the catalog of the newest epoch.
CATALOG = "catalog.duckdb"
#: Name of the directory of segments and indexes.
SEGMENTS = "segments"


def catalog_name(epoch: int) -> str:
    """File name of an epoch's catalog."""
    return f"catalog-{epoch:08d}.duckdb"


def newest_catalog(directory: Path) -> Path:
    """Path of the newest catalog; UnavailableError if there is none, DamagedError if its link is broken."""
    link = directory / CATALOG
    if not link.is_symlink() and not link.exists():
        sentence = (
            "no epoch has been published yet; wait for the writer"
            if (directory / "hot.duckdb").exists()
            else "there is no store; name one with --store, or make one with `sightline demo`"
        )
        raise UnavailableError(f"{directory}: {sentence}")
    catalog = link.resolve()
    if catalog.parent != directory:
        raise intact.damaged(link, f"found a link to {catalog}, expected one to a catalog beside it")
    if not catalog.is_file():
        raise intact.damaged(catalog, "found no such file")
    return catalog
