"""Nothing in a module is reassigned from outside; values that differ are passed as parameters instead.

A limit may be patched temporarily with `monkeypatch` or `mock.patch`. The topology, and the cores and
policies of the pipeline, may not be patched: they have parameters.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams import topology

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path for room in ("streams", "device_sim", "bench", "tests") for path in (ROOT / room).rglob("*.py")
)
#: Parts of the pipeline, which are varied by parameters and never by replacing a method.
WHOLE = {"GlassesCore", "LiveGlasses", "TrainingCore", "LiveTraining", "Policy", "topology"}
DECLARED = {name for name in vars(topology) if name.isupper()}


def modules(tree: ast.Module) -> set[str]:
    """Names under which a file has imported modules of ours."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            place = ROOT / node.module.replace(".", "/")
            names |= {
                alias.asname or alias.name
                for alias in node.names
                if (place / alias.name).is_dir() or (place / f"{alias.name}.py").is_file()
            }
    return names


def reassigned(tree: ast.Module) -> Iterator[str]:
    """Names of modules, and methods of WHOLE, that a file reassigns."""
    ours = modules(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id in ours:
                yield ast.unparse(node)
        elif isinstance(node, ast.Global):
            yield f"global {', '.join(node.names)}"
        elif isinstance(node, ast.Call) and len(node.args) >= 2:
            called = ast.unparse(node.func).rpartition(".")[2]
            owner, name = ast.unparse(node.args[0]), node.args[1]
            if called == "setattr" and isinstance(node.func, ast.Name) and owner in ours:
                yield ast.unparse(node)
            patched = called in {"setattr", "object"} and isinstance(name, ast.Constant)
            whole = owner.rpartition(".")[2] in WHOLE or owner.strip("'\"").startswith("streams.topology")
            if patched and (whole or (isinstance(name, ast.Constant) and name.value in DECLARED)):
                yield ast.unparse(node)


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("topology.AGENTS = {}", 1),
        ("limits.FETCH_RECORDS_MAX = 1", 1),
        ("limits.FETCH_RECORDS_MAX += 1", 1),
        ("monkeypatch.setattr(topology, 'TOPICS', ())", 1),
        ("monkeypatch.setattr(limits, 'AGENTS', {})", 1),
        ("patch.object(GlassesCore, '_stages', None)", 1),
        ("setattr(limits, name, value)", 1),
        ("global COUNT", 1),
        ("monkeypatch.setattr(limits, 'FETCH_RECORDS_MAX', 1)", 0),
        ("self.limits = topology.AGENTS", 0),
    ],
)
def test_the_fence_knows_what_reassigns(line: str, count: int) -> None:
    tree = ast.parse(f"from streams import limits, topology\n{line}\n")
    assert len(list(reassigned(tree))) == count


def test_no_module_global_is_reassigned() -> None:
    assert len(SOURCES) > 400
    found = [
        f"{path.relative_to(ROOT)}: {what}"
        for path in SOURCES
        for what in reassigned(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found
