"""Alternatives for storing the same edges: loading, size and tracing, each in a process of its own.

Edges are stored event by event, as pairs of numbers (`bench.store.pairs`), so a peer need not look up names;
it knows neither zones nor operators nor epochs. `python -m bench.store.peers NAME EDGES IDS` prints one JSON
object.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sqlite3
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import click
import duckdb
import orjson

_UP = (
    "WITH RECURSIVE up(id) AS (SELECT {at} UNION SELECT parent FROM edges JOIN up ON child = up.id) "
    "SELECT id FROM up"
)
_CHUNK = 100_000


class Peer(ABC):
    """A database that stores edges and finds ancestors, in a directory of its own."""

    package: ClassVar[str]
    #: Whether it gets only the edges behind the requested events, because loading all would take hours.
    asked_only: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, directory: Path) -> None: ...

    @abstractmethod
    def load(self, edges: Path) -> None:
        """Load the pairs of a Parquet file, sorted by child."""

    @abstractmethod
    def trace(self, event: int) -> set[int]:
        """All ancestors of the event."""


class Sqlite(Peer):
    """One table, clustered by its key."""

    package = "sqlite3"

    def __init__(self, directory: Path) -> None:
        self._connection = sqlite3.connect(directory / "edges.sqlite")

    def load(self, edges: Path) -> None:
        """Insert in one transaction, with the journal off."""
        run = self._connection.execute
        run("PRAGMA journal_mode = OFF")
        run("PRAGMA synchronous = OFF")
        run("CREATE TABLE edges (child INTEGER, parent INTEGER, PRIMARY KEY (child, parent)) WITHOUT ROWID")
        run("BEGIN")
        for some in _pairs(edges):
            self._connection.executemany("INSERT INTO edges VALUES (?, ?)", some)
        self._connection.commit()

    def trace(self, event: int) -> set[int]:
        """Recursive CTE."""
        return {row[0] for row in self._connection.execute(_UP.format(at="?"), [event])} - {event}


class DuckdbTables(Peer):
    """One table of plain DuckDB, sorted by child."""

    package = "duckdb"

    def __init__(self, directory: Path) -> None:
        self._connection = duckdb.connect(str(directory / "edges.duckdb"))

    def load(self, edges: Path) -> None:
        """A single statement and a checkpoint."""
        self._connection.execute(f"CREATE TABLE edges AS FROM '{edges}'")
        self._connection.execute("CHECKPOINT")

    def trace(self, event: int) -> set[int]:
        """Recursive CTE."""
        found = self._connection.execute(_UP.format(at="?::BIGINT"), [event]).fetchall()
        return {row[0] for row in found} - {event}


class Kuzu(Peer):
    """A property graph: events as nodes, edges as relationships."""

    package = "kuzu"

    def __init__(self, directory: Path) -> None:
        import kuzu  # noqa: PLC0415 - only the bench's environment has it

        self._directory = directory
        self._connection = kuzu.Connection(kuzu.Database(str(directory / "edges.kuzu")))

    def load(self, edges: Path) -> None:
        """COPY of nodes and of relationships from Parquet, as Kuzu recommends."""
        nodes = self._directory / "nodes.parquet"
        with duckdb.connect() as connection:
            connection.execute(
                f"COPY (SELECT child AS id FROM '{edges}' UNION SELECT parent FROM '{edges}') "  # noqa: S608 - our own paths
                f"TO '{nodes}'"
            )
        self._connection.execute("CREATE NODE TABLE Event(id INT64, PRIMARY KEY(id))")
        self._connection.execute("CREATE REL TABLE Made(FROM Event TO Event)")
        self._connection.execute(f"COPY Event FROM '{nodes}'")
        self._connection.execute(f"COPY Made FROM '{edges}'")
        nodes.unlink()

    def trace(self, event: int) -> set[int]:
        """Breadth-first search with its SHORTEST."""
        found = self._connection.execute(
            "MATCH (child:Event {id: $id})-[:Made* SHORTEST 1..30]->(parent:Event) RETURN parent.id",
            {"id": event},
        )
        return {row[0] for row in found}


class Mlmd(Peer):
    """ML Metadata over SQLite: an event is an artifact, and an execution made it."""

    package, asked_only = "ml_metadata", True
    _HOPS = 20

    def __init__(self, directory: Path) -> None:
        from ml_metadata.metadata_store import metadata_store  # noqa: PLC0415 - only the bench has it
        from ml_metadata.proto import metadata_store_pb2 as proto  # noqa: PLC0415 - only the bench has it

        config = proto.ConnectionConfig()
        config.sqlite.filename_uri = str(directory / "edges.mlmd")
        config.sqlite.connection_mode = proto.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self._store, self._proto = metadata_store.MetadataStore(config), proto
        self._artifacts = dict[int, int]()

    def load(self, edges: Path) -> None:
        """In bulk: all artifacts, one execution per child, one input or output event per edge."""
        proto, store = self._proto, self._store
        artifact_type = store.put_artifact_type(proto.ArtifactType(name="event"))
        execution_type = store.put_execution_type(proto.ExecutionType(name="operator"))
        pairs = [pair for some in _pairs(edges) for pair in some]
        events = sorted({event for pair in pairs for event in pair})
        children = sorted({child for child, _ in pairs})
        for some in _chunks(events):
            made = store.put_artifacts([proto.Artifact(type_id=artifact_type, name=str(e)) for e in some])
            self._artifacts.update(zip(some, made, strict=True))
        operators = dict[int, int]()
        for some in _chunks(children):
            ran = store.put_executions([proto.Execution(type_id=execution_type, name=str(e)) for e in some])
            operators.update(zip(some, ran, strict=True))
        links = [(operators[child], self._artifacts[parent], proto.Event.INPUT) for child, parent in pairs]
        links += [(operators[child], self._artifacts[child], proto.Event.OUTPUT) for child in children]
        for part in _chunks(links):
            store.put_events([proto.Event(execution_id=e, artifact_id=a, type=kind) for e, a, kind in part])

    def trace(self, event: int) -> set[int]:
        """Its lineage subgraph, upstream."""
        options = self._proto.LineageSubgraphQueryOptions(
            direction=self._proto.LineageSubgraphQueryOptions.UPSTREAM, max_num_hops=self._HOPS
        )
        options.starting_artifacts.filter_query = f"id = {self._artifacts[event]}"
        found = self._store.get_lineage_subgraph(options, ["artifacts"])
        return {int(one.name) for one in found.artifacts} - {event}


PEERS: dict[str, type[Peer]] = {
    "SQLite, clustered": Sqlite,
    "plain DuckDB table": DuckdbTables,
    "Kuzu": Kuzu,
    "ML Metadata": Mlmd,
}


@click.command()
@click.argument("name", type=click.Choice(list(PEERS)))
@click.argument("edges", type=click.Path(path_type=Path))
@click.argument("ids", type=click.Path(path_type=Path))
def main(*, name: str, edges: Path, ids: Path) -> None:
    """Load EDGES into the peer NAME and trace IDS, a JSON list of numbers."""
    asked = orjson.loads(ids.read_bytes())
    with tempfile.TemporaryDirectory(prefix="sightline-bench-peer-") as made:
        began_s = time.perf_counter()
        peer = PEERS[name](Path(made))
        peer.load(edges)
        load_s = time.perf_counter() - began_s
        for event in asked:
            peer.trace(event)
        trace_ms, traced = list[float](), list[set[int]]()
        for event in asked:
            began_s = time.perf_counter()
            traced.append(peer.trace(event))
            trace_ms.append((time.perf_counter() - began_s) * 1000)
        size = sum(path.stat().st_size for path in Path(made).rglob("*") if path.is_file())
    found = {"load_s": load_s, "bytes": size, "trace_ms": trace_ms, "ancestors": sum(map(len, traced))}
    click.echo(orjson.dumps({**found, "checksum": checksum(traced)}))


def checksum(traced: Sequence[set[int]]) -> str:
    """Checksum of the ancestors of each event, in order; equal answers have equal checksums."""
    return hashlib.sha256(orjson.dumps([sorted(each) for each in traced])).hexdigest()[:16]


def missing(name: str) -> str:
    """Reason why a peer cannot run here; empty if it can."""
    package = PEERS[name].package
    if importlib.util.find_spec(package) is None:
        return (
            f"the package {package} is not installed here; `make bench-store` installs it where there is one"
        )
    return ""


def _pairs(edges: Path) -> Iterator[list[Any]]:
    with duckdb.connect() as connection:
        reading = connection.execute(f"FROM '{edges}'")
        while some := reading.fetchmany(_CHUNK):
            yield some


def _chunks(items: Sequence[Any], size: int = 5000) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


if __name__ == "__main__":
    main()
