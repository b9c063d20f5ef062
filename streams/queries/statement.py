"""Analyse a user's SQL statement with DuckDB's own parser: whether it only reads, and what it names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
import orjson

from streams import limits
from streams.errors import InputError, UnavailableError

#: Types of nodes that only read. From DuckDB 2.0 on a WITH can write (INSERT, COPY), with other node types.
_READING_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_SELECT_ONLY = (
    "only one SELECT is run here (also WITH, FROM, VALUES, SHOW, DESCRIBE); the store cannot be changed"
)
#: Error for a statement that reads something other than a table or view of the store.
OUTSIDE = "sql: it reaches for a file outside the store; only the store's own tables can be read"
#: Functions that list tables, views and columns; `boundary` replaces them. Other permitted table functions
#: make rows from their arguments.
TELLING = frozenset({"duckdb_views", "duckdb_tables", "duckdb_columns"})
_TABLE_FUNCTIONS = frozenset({"range", "generate_series", "unnest", *TELLING})
#: Functions in expressions that are refused, because they reveal files, layout, settings, definitions or
#: statements, or have side effects.
_BEYOND = frozenset(
    {
        "current_query",
        "current_setting",
        "currval",
        "format_type",
        "get_block_size",
        "getvariable",
        "json_serialize_plan",
        "nextval",
        "pg_get_constraintdef",
        "pg_get_expr",
        "pg_get_viewdef",
        "setval",
        "sleep_ms",
        "stats",
        "vector_type",
        "write_log",
    }
)
#: Columns that views compute from other columns, which the statement need not name.
_MADE_OF: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("t", "t_ns"), frozenset({"t_first_ns", "t_last_ns"})),
    "due": frozenset({"t_last_ns", "retention_days"}),
    "retention": frozenset({"retentions"}),
    "nature": frozenset({"natures"}),
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: The parser's table name for `SHOW TABLES`.
_SHOW_TABLES = '"tables"'


@dataclass(frozen=True)
class Statement:
    """One statement that only reads: its text, and its parse tree as DuckDB serializes it."""

    text: str
    tree: dict[str, Any]

    @cached_property
    def items(self) -> list[dict[str, Any]]:
        """Every object of the tree."""
        return list(_items(self.tree))

    @cached_property
    def functions(self) -> frozenset[str]:
        """Names of all functions that it calls, in lower case."""
        return frozenset(str(item.get("function_name", "")).lower() for item in self.items)

    @cached_property
    def words(self) -> frozenset[str] | None:
        """Every name and text in it, in lower case, if it names each column that it reads; otherwise None.

        For columns that views compute, the result includes the columns that they are computed from. A
        statement does not name its columns if it uses `*`, a whole row as a value, or columns by position.
        """
        tables = {str(item.get(name, "")).lower() for item in self.items for name in ("alias", "table_name")}
        for item in self.items:
            names: list[str] = item.get("column_names") or []
            if (
                item.get("type") in ("STAR", "POSITIONAL_REFERENCE", "SHOW_REF", "PIVOT")
                or item.get("ref_type") == "NATURAL"
                or item.get("column_name_alias")
                or (len(names) == 1 and names[0].lower() in tables)
            ):
                return None
        named = frozenset(text.lower() for text in _texts(self.tree))
        return named | {behind for name in named for behind in _MADE_OF.get(name, ())}

    @property
    def tells(self) -> bool:
        """Whether it asks which views and columns exist."""
        return bool(self.functions & TELLING) or any(item.get("type") == "SHOW_REF" for item in self.items)

    @property
    def names_files(self) -> bool:
        """Whether it may read files: it names something that is no table or view."""
        return any(
            str(item["function"].get("function_name", "")).lower() not in _TABLE_FUNCTIONS
            if item.get("type") == "TABLE_FUNCTION"
            else item.get("type") == "BASE_TABLE" and not _NAME.fullmatch(str(item.get("table_name", "")))
            for item in self.items
        )

    def views(self, views: frozenset[str], taken: Callable[[], frozenset[str]]) -> set[str]:
        """Which of the `views` it reads.

        InputError for a table that is neither a view nor a common table expression of the statement, for such
        an expression with one of the names in `taken`, and for forbidden functions.
        """
        own = {
            entry["key"].lower()
            for item in self.items
            for entry in (item.get("cte_map") or {}).get("map", ())
        }
        # A common table expression is only valid within its scope. Outside of it the name would refer to
        # another table, or even to a file of that name, so it must not be the name of anything else.
        names = taken() if own else views
        if odd := sorted(name for name in own if not _NAME.fullmatch(name) or name in names):
            raise InputError(
                f"sql: found {odd[0]!r} as the name of a part of the statement, "
                "expected a plain name that nothing else has"
            )
        if beyond := sorted(self.functions & _BEYOND):
            raise InputError(
                f"sql: found the function {beyond[0]!r}, expected one that works on values; a role reads the "
                "store's views and nothing about files, settings or definitions"
            )
        read_views: set[str] = set()
        for item in self.items:
            kind = item.get("type")
            if kind == "TABLE_FUNCTION":
                _refuse_function(item["function"])
            elif kind == "BASE_TABLE" or (kind == "SHOW_REF" and item.get("show_type") == "SHOW"):
                name = str(item.get("table_name", "")).lower()
                qualified = bool(item.get("schema_name") or item.get("catalog_name"))
                if qualified or (name not in views and name not in own):
                    raise InputError(
                        f"sql: found the table {item.get('table_name')!r}, expected one of the store's views "
                        "(`SHOW TABLES` lists them); a role reads nothing else"
                    )
                read_views |= {name} & views
            elif (
                kind == "SHOW_REF"
                and item.get("show_type") not in ("DESCRIBE", "SUMMARY")
                and item.get("table_name") != _SHOW_TABLES
            ):
                raise InputError(
                    "sql: found a SHOW of something else, expected `SHOW TABLES`; a role is told of the "
                    "store's views and nothing else"
                )
        return read_views


def read(connection: duckdb.DuckDBPyConnection, text: str) -> Statement:
    """Parse a text that must be exactly one statement that only reads; InputError if it is not.

    The statement is not run.
    """
    if len(text.encode("utf-8", "surrogatepass")) > limits.STATEMENT_BYTES_MAX:
        raise InputError(
            f"sql: found a statement of more than {limits.STATEMENT_BYTES_MAX:,} bytes, expected a shorter "
            "one: reads of restricted zones are recorded whole"
        )
    try:
        statements = connection.extract_statements(text)
    except duckdb.Error as error:
        raise InputError(f"sql: {first_line(error)}") from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        kinds = " and ".join(statement.type.name for statement in statements[:3]) or "nothing"
        raise InputError(f"sql: found {kinds}, but {_SELECT_ONLY}")
    # Fetch all rows, because an unfinished result blocks other statements on the connection.
    ((serialized,),) = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [text]).fetchall()
    tree: dict[str, Any] = orjson.loads(serialized)
    statement = Statement(text, tree)
    nodes = {str(item["type"]) for item in statement.items if str(item.get("type")).endswith("_NODE")}
    if tree.get("error") or nodes - _READING_NODES:
        raise InputError(f"sql: found a part that writes or that cannot be checked, but {_SELECT_ONLY}")
    return statement


def first_line(error: duckdb.Error) -> str:
    """First line of DuckDB's error about the text of a statement, without its hints."""
    return str(error).split("\n", 1)[0]


def unsaid(error: duckdb.Error) -> InputError | UnavailableError:
    """Error to raise for a DuckDB error at run time, without its text, which may hold values of the store."""
    if isinstance(error, duckdb.OutOfMemoryException):
        return UnavailableError(
            f"sql: the statement needs more than {limits.ROLE_MEMORY_MB} MB of memory; ask for fewer rows or "
            "columns at a time"
        )
    if isinstance(error, duckdb.PermissionException):
        return InputError(OUTSIDE)
    return InputError(
        f"sql: DuckDB stopped with a {type(error).__name__} (its text can hold values of "
        "the store and is not repeated)"
    )


def _refuse_function(function: dict[str, Any]) -> None:
    name = str(function.get("function_name", "")).lower()
    if name not in _TABLE_FUNCTIONS or function.get("schema") or function.get("catalog"):
        raise InputError(
            f"sql: found the table function {name!r}, expected none but "
            f"{', '.join(sorted(_TABLE_FUNCTIONS))}; a role reads the store's views and nothing else"
        )


def _items(tree: object) -> Iterator[dict[str, Any]]:
    return (item for item in _parts(tree) if isinstance(item, dict))


def _texts(tree: object) -> Iterator[str]:
    return (item for item in _parts(tree) if isinstance(item, str))


def _parts(tree: object) -> Iterator[object]:
    pending = [tree]
    while pending:
        item = pending.pop()
        yield item
        if isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
