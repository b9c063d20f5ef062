"""A statement of a reader: that it only reads, and what it names, as DuckDB's own parser sees it."""

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

#: Everything that reads; 2.0 lets a WITH write (INSERT, COPY), and such nodes have other names.
_READING_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_SELECT_ONLY = (
    "only one SELECT is run here (also WITH, FROM, VALUES, SHOW, DESCRIBE); the store cannot be changed"
)
#: Said of a statement that reads what is no table or view of the store.
OUTSIDE = "sql: it reaches for a file outside the store; only the store's own tables can be read"
#: Functions that make rows out of their arguments, and those that tell of the names and comments that there
#: are: `boundary` answers the latter.
TELLING = frozenset({"duckdb_views", "duckdb_tables", "duckdb_columns"})
_TABLE_FUNCTIONS = frozenset({"range", "generate_series", "unnest", *TELLING})
#: Functions in expressions that tell of files, layout, settings, definitions or statements, or that do
#: something.
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
#: Columns that views compute of others, which the statement need not name.
_MADE_OF: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("t", "t_ns"), frozenset({"t_first_ns", "t_last_ns"})),
    "due": frozenset({"t_last_ns", "retention_days"}),
    "retention": frozenset({"retentions"}),
    "nature": frozenset({"natures"}),
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: `SHOW TABLES`, as the parser names it.
_SHOW_TABLES = '"tables"'


@dataclass(frozen=True)
class Statement:
    """One statement that only reads: its text, and its `tree` as DuckDB serializes it."""

    text: str
    tree: dict[str, Any]

    @cached_property
    def items(self) -> list[dict[str, Any]]:
        """Every object of the tree."""
        return list(_items(self.tree))

    @cached_property
    def functions(self) -> frozenset[str]:
        """Names of all functions that it calls, in small letters."""
        return frozenset(str(item.get("function_name", "")).lower() for item in self.items)

    @cached_property
    def words(self) -> frozenset[str] | None:
        """Every name and text in it, in small letters, if it names each column that it reads.

        Of columns that views compute those behind them as well.

        None where it takes rows as they are: `*`, a row as a value, columns by place.
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
        """Whether it asks which views and columns there are, and not only for rows of them."""
        return bool(self.functions & TELLING) or any(item.get("type") == "SHOW_REF" for item in self.items)

    @property
    def names_files(self) -> bool:
        """Whether it reads anything by another name than that of a table or view."""
        return any(
            str(item["function"].get("function_name", "")).lower() not in _TABLE_FUNCTIONS
            if item.get("type") == "TABLE_FUNCTION"
            else item.get("type") == "BASE_TABLE" and not _NAME.fullmatch(str(item.get("table_name", "")))
            for item in self.items
        )

    def views(self, views: frozenset[str], taken: Callable[[], frozenset[str]]) -> set[str]:
        """Which of the `views` it reads.

        InputError for any other table that is not its own, for a part of its own that has one of the names in
        `taken`, and for functions that reach past the views.
        """
        own = {
            entry["key"].lower()
            for item in self.items
            for entry in (item.get("cte_map") or {}).get("map", ())
        }
        # What a statement calls its own is its own in one place only: elsewhere the name means what else
        # bears it, and a file can be named like a table.
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
    """Parse a text that must be exactly one statement which only reads.

    InputError says what else was found. Nothing is run but the parser.
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
    # To the end: what is left of a result keeps others from running on the connection.
    ((serialized,),) = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [text]).fetchall()
    tree: dict[str, Any] = orjson.loads(serialized)
    statement = Statement(text, tree)
    nodes = {str(item["type"]) for item in statement.items if str(item.get("type")).endswith("_NODE")}
    if tree.get("error") or nodes - _READING_NODES:
        raise InputError(f"sql: found a part that writes or that cannot be checked, but {_SELECT_ONLY}")
    return statement


def first_line(error: duckdb.Error) -> str:
    """What an error of DuckDB says about the text of a statement, without its hints."""
    return str(error).split("\n", 1)[0]


def unsaid(error: duckdb.Error) -> InputError | UnavailableError:
    """What is said of an error that DuckDB ran into: not its text, which can hold values of the store."""
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
