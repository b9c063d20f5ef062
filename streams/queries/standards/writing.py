"""How lineage leaves the store in a form of others: whole or not at all, under a role, and on record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

import xxhash

from streams import files
from streams.errors import InputError, UnavailableError
from streams.queries.answers import Answer
from streams.queries.standards.graph import read_graph, store_id
from streams.queries.standards.graphml import graphml
from streams.queries.standards.prov import prov_json
from streams.queries.store import Store

Standard = Literal["openlineage", "prov", "graphml"]
STANDARDS: tuple[Standard, ...] = get_args(Standard)
#: Parts that are written at once, and after which it is said how far it is.
_PARTS_AT_ONCE = 10_000


class Exported(Answer, frozen=True, kw_only=True):
    """What was written, of which epoch: all `edges` between single events that the role is shown."""

    file: str
    standard: str
    epoch: int
    edges: int
    bytes: int


def write_standard(
    store: Store, standard: Standard, path: Path, question: str, show: Callable[[str], None]
) -> Exported:
    """Write what the store's role may take out into `path`, a new file that its owner alone can read.

    It bears its name when it is whole and `question` is on record; whoever stops that leaves nothing.
    `show` is told how far it is.

    Raises
    ------
    InputError
        The store was not opened for a role that exports; something stands under the name; it cannot be
        written; or it is more than STANDARD_EDGES_MAX edges between runs.
    UnavailableError
        The package `openlineage-python` is not installed; the read of restricted zones cannot be recorded;
        or files of the epoch are gone.
    """
    if store.role_filter is None or not store.role_filter.role.exporting:
        raise InputError(f"{path}: found a store that was opened without a role that exports, expected one")
    if standard not in STANDARDS:
        raise InputError(f"export: found {standard!r}, expected one of {', '.join(STANDARDS)}")
    show("reading the store")
    with files.added(path) as file:
        parts, edges = _told(store, standard)
        size_bytes = number = 0
        digest = xxhash.xxh3_128()
        while batch := list(islice(parts, _PARTS_AT_ONCE)):
            written = "".join(batch).encode()
            digest.update(written)
            size_bytes += file.write(written)
            number += len(batch)
            show(f"{number:,} parts written, {size_bytes / 1e6:.1f} MB")
        store.record(question, digest.hexdigest())
    return Exported(file=str(path), standard=standard, epoch=store.epoch, edges=edges, bytes=size_bytes)


def _told(store: Store, standard: Standard) -> tuple[Iterator[str], int]:
    """Parts of the file, and for how many edges between single events they stand."""
    if standard == "openlineage":
        try:
            # It brings clients for HTTP, which nobody else waits for.
            from streams.queries.standards.openlineage import openlineage  # noqa: PLC0415
        except ImportError:
            raise UnavailableError(
                "export openlineage: the package openlineage-python is not installed; "
                "`pip install 'sightline[export]'` does that, and prov and graphml need nothing more"
            ) from None
        return openlineage(store)
    graph = read_graph(store)
    return (
        graphml(graph) if standard == "graphml" else prov_json(graph, store_id(store))
    ), graph.single_edges
