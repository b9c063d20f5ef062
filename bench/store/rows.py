"""Rows of a demo, and copies of them under other names, from which a store is grown.

A copy is a day of the demo's devices. Its sources, wearers and model versions have names of their own, its
numbers and times are moved on, and its batches have digests of their own: rows that differ only in a name
would compress better than real ones. Rows are in the order of the demo's epochs, so an edge arrives with its
child and after its parents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from streams.lineage.tables import TABLES

DAY_NS = 86_400_000_000_000
#: Operators over windows of a sensor; edges of all others are single.
WINDOWS = ("activity", "fixation", "place", "speech")
#: Range of a copy: more models than a demo makes, and more events than any of its streams has.
VERSIONS_PER_COPY, NUMBERS_PER_COPY = 100, 1_000_003
_TRAINING = "training"
_NAMED = ("source", "child_source", "parent_source", "wearer")
_EMPTY: dict[str, Any] = {"text": "", "int": 0, "float": 0.0, "flag": False}
_AT = "at_part"
Part = dict[str, dict[str, list[Any]]]


@dataclass(frozen=True, slots=True)
class Rows:
    """Tables of a demo; `at_part` is the place of each row among all epochs, from 0 to 1."""

    tables: dict[str, pa.Table]
    captured_batches: int
    edges: int

    @classmethod
    def read(cls, store: Path) -> Rows:
        """Read a store of this version or an earlier one; a column that it lacks is empty."""
        with duckdb.connect(str((store / "catalog.duckdb").resolve()), read_only=True) as connection:
            connection.execute(f"SET file_search_path = '{store.resolve()}'")
            tables = {table: _read(connection, table) for table in TABLES}
            batches = connection.execute(
                'SELECT count(DISTINCT ("partition", "offset")) FROM files.events '
                "WHERE topic = 'glasses.captured'"
            ).fetchall()[0][0]
        edges = tables["edges"]
        total = pc.sum(pc.multiply(edges["child_count"], edges["parent_width"])).as_py()
        return cls(tables, batches, total)

    def only(self, operators: tuple[str, ...], *, others: bool) -> Rows:
        """Events, streams, policies, and the edges of some operators only, or of all others."""
        edges = self.tables["edges"]
        listed = pc.is_in(edges["operator"], pa.array(operators, pa.string()))
        kept = edges.filter(pc.invert(listed) if others else listed)
        total = pc.sum(pc.multiply(kept["child_count"], kept["parent_width"])).as_py() or 0
        tables = {name: self.tables[name] for name in ("events", "streams", "policies")}
        return Rows({**tables, "edges": kept}, self.captured_batches, total)

    def answers(self) -> list[tuple[str, str, int]]:
        """Source, stream and number of every answer, in order."""
        events = self.tables["events"]
        found = events.filter(pc.equal(events["kind"], "answer"))
        return sorted(zip(*(found[name].to_pylist() for name in ("source", "stream", "first")), strict=True))

    def copy(self, number: int) -> dict[str, pa.Table]:
        """All tables under the names of a copy; policies are the same for all and come with the first."""
        return {
            table: _copied(table, content, number)
            for table, content in self.tables.items()
            if table != "policies" or not number
        }


def parts(tables: dict[str, pa.Table], number: int) -> Iterator[Part]:
    """Split a copy by time into `number` parts, in the form that the writer takes in."""
    places = {table: content[_AT].to_numpy() for table, content in tables.items()}
    for part in range(number):
        made: Part = {}
        for table, content in tables.items():
            low, high = (int(places[table].searchsorted(at / number)) for at in (part, part + 1))
            if high > low:
                some = content.slice(low, high - low)
                made[table] = {name: some[name].to_pylist() for name in TABLES[table]}
        yield made


def _read(connection: duckdb.DuckDBPyConnection, table: str) -> pa.Table:
    """Rows of a table in the order of its epochs, with their place among all epochs of the store."""
    found = connection.sql(
        "WITH ranked AS (SELECT epoch, row_number() OVER (ORDER BY epoch) - 1 AS rank, "  # noqa: S608 - from TABLES
        "count(*) OVER () AS all_epochs FROM (SELECT DISTINCT epoch FROM files.events)) "
        "SELECT f.*, (coalesce(rank, 0) + (row_number() OVER (PARTITION BY f.epoch) - 1) / "
        f"count(*) OVER (PARTITION BY f.epoch)) / coalesce(all_epochs, 1) AS {_AT} "
        f"FROM files.{table} AS f LEFT JOIN ranked USING (epoch) ORDER BY {_AT}"
    ).to_arrow_table()
    columns = {
        name: found[name] if name in found.column_names else pa.array([_EMPTY[kind]] * found.num_rows)
        for name, kind in TABLES[table].items()
    }
    return pa.table({**columns, _AT: found[_AT]})


def _copied(table: str, content: pa.Table, number: int) -> pa.Table:
    found = {name: content[name] for name in content.column_names}
    newer = VERSIONS_PER_COPY * number
    for name, values in found.items():
        if name in _NAMED:
            found[name] = _renamed(values, number)
        elif name.endswith("_ns"):
            found[name] = pc.if_else(pc.equal(values, 0), 0, pc.add(values, DAY_NS * number))
        elif name == "digest":
            found[name] = pa.array([each and _digest(each, number) for each in values.to_pylist()])
    if table in {"models", "training_runs"}:
        found["version"] = pc.add(found["version"], newer)
    sides = ("child_", "parent_") if table == "edges" else ("",) if "first" in found else ()
    for side in sides:
        of_training = pc.equal(found[f"{side}source"], _TRAINING)
        moved = pc.if_else(of_training, newer, NUMBERS_PER_COPY * number)
        found[f"{side}first"] = pc.add(found[f"{side}first"], moved)
    return pa.table(found)


def moved(identity: str, number: int) -> str:
    """Id of an event of the first copy as it is in another copy."""
    source, stream, at = identity.split("/")
    return f"{source.removesuffix('-0')}-{number}/{stream}/{int(at) + NUMBERS_PER_COPY * number}"


def _digest(digest: str, number: int) -> str:
    return xxhash.xxh3_128_hexdigest(f"{digest}-{number}".encode())


def _renamed(names: pa.ChunkedArray, number: int) -> pa.ChunkedArray:
    kept = pc.or_(pc.equal(names, _TRAINING), pc.equal(names, ""))
    return pc.if_else(kept, names, pc.binary_join_element_wise(names, pa.scalar(f"-{number}"), ""))
