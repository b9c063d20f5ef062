"""Every call in the code by which data can enter or leave a process, as the syntax tree shows it."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

#: Functions of modules that move data, by the name under which the module is imported.
OF_MODULES: dict[str, frozenset[str]] = {
    "files": frozenset({"create", "append", "written", "added", "settle", "deliver", "read_guarded"}),
    "duckdb": frozenset({"connect"}),
    "sqlite3": frozenset({"connect"}),
    "subprocess": frozenset({"Popen", "run", "check_output", "check_call", "call"}),
    "socket": frozenset({"socket", "create_connection", "create_server", "socketpair"}),
    "shutil": frozenset({"copy", "copy2", "copyfile", "copyfileobj", "copytree", "move"}),
    "os": frozenset({"open", "replace", "rename", "link", "symlink", "sendfile", "write"}),
    "asyncio": frozenset(
        {"open_connection", "start_server", "open_unix_connection", "create_subprocess_exec"}
    ),
}
#: Classes and functions that move data, however they are called.
OF_ANY = frozenset(
    {
        *("read_text", "read_bytes", "write_text", "write_bytes", "symlink_to", "hardlink_to", "rename"),
        *("send", "send_bytes", "send_and_wait", "send_batch", "getmany", "getone"),
        *("AIOKafkaProducer", "AIOKafkaConsumer", "FileIO", "urlopen", "Process", "Pipe", "create_conn"),
        *("ParquetWriter", "ParquetFile", "write_table", "read_table", "memory_map"),
        *("fetched_records", "fit", "predict", "echo", "print"),
    }
)
#: `open` as a function or a method: not of classes, whose `open` is a constructor of theirs.
_OPEN = "open"
#: What SQL does with files. `FROM 'x.csv'` reads a file by its name.
OF_SQL = re.compile(
    r"\b(COPY|ATTACH)\b(?= (?:FROM DATABASE\b|\(|[\w.]+ (?:TO|FROM) |'|$))"
    r"|\b(read_(?:parquet|json|csv|text|blob))(?:_\w+)?(?=\()"
    r"|\b(?:FROM|JOIN) '[^']*\.(parquet|csv|json|duckdb)"
)


def name_of(call: ast.Call) -> str:
    """How a call moves data, such as `duckdb.connect`; empty if it does not."""
    function = call.func
    if isinstance(function, ast.Name):
        return function.id if function.id in OF_ANY | {_OPEN} else ""
    if not isinstance(function, ast.Attribute):
        return ""
    owner = function.value.id if isinstance(function.value, ast.Name) else ""
    if owner in OF_MODULES:
        return f"{owner}.{function.attr}" if function.attr in OF_MODULES[owner] else ""
    if function.attr == _OPEN:
        return "" if owner[:1].isupper() else _OPEN
    return function.attr if function.attr in OF_ANY else ""


def sites_of(tree: ast.AST, within: str = "") -> Iterator[tuple[str, str, int]]:
    """Yield (function, how, line) of each place in a module that moves data."""
    for node in ast.iter_child_nodes(tree):
        inner = within
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{within}.{node.name}" if within else node.name
        if isinstance(node, ast.Call) and (how := name_of(node)):
            yield within, how, node.lineno
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not _documents(node, tree):
            for verb, function, file in OF_SQL.findall(node.value):
                yield within, f"SQL {verb or function or (file and 'file')}", node.lineno
        yield from sites_of(node, inner)


def _documents(node: ast.Constant, parent: ast.AST) -> bool:
    """Whether a string is a docstring or a comment in the form of a string."""
    return isinstance(parent, ast.Expr) and parent.value is node


def all_sites(sources: list[Path], root: Path = ROOT) -> dict[str, str]:
    """`path:function:call` of each site in `sources`, with the line.

    A second call of the same kind in a function is a site of its own: `path:function:call 2`.
    """
    places: dict[str, str] = {}
    for path in sources:
        module = str(path.relative_to(root))
        times = Counter[str]()
        for function, how, line in sites_of(ast.parse(path.read_text(encoding="utf-8"))):
            name = f"{module}:{function or '<module>'}:{how}"
            times[name] += 1
            places[name if times[name] == 1 else f"{name} {times[name]}"] = f"{module}:{line}"
    return places
