"""docs/python.md shows what its examples give today, to the letter; the notebook's cells run.

`python -m tests.docs.test_python` writes that into the page.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

import streams
from tests.test_docs import ROOT, replayed

PAGE = ROOT / "docs" / "python.md"
NOTEBOOK = ROOT / "docs" / "examples" / "lineage.ipynb"
_BLOCK = re.compile(r"(?<=```python\n)(>>>.*?)(?=```)", re.DOTALL)


def given(source: str, names: dict[str, Any]) -> str:
    """What Python's prompt answers to some source: its output and value, or how it fails."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        try:
            exec(compile(source, "docs/python.md", "single"), names)
        except Exception as error:  # noqa: BLE001 - the page shows how examples fail
            last = traceback.format_exception_only(error)[-1]
            output.write(f"Traceback (most recent call last):\n    ...\n{last}")
    return output.getvalue().replace(f"{Path.cwd()}/", "")


def played(block: str, names: dict[str, Any]) -> str:
    """A block of the page with what its examples give today."""
    lines: list[str] = []
    for example in doctest.DocTestParser().get_examples(block):
        first, *more = example.source.splitlines()
        lines += [f">>> {first}", *(f"... {line}".rstrip() for line in more)]
        lines += given(example.source, names).splitlines()
    return "\n".join(lines) + "\n"


def today() -> Iterator[tuple[str, str]]:
    """(as the page has it, as it is today) of each block, in order: later ones use names of those before."""
    names: dict[str, Any] = {}
    for block in _BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        yield block, played(block, names)


def test_the_page_shows_what_its_examples_give_today(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    blocks = list(today())
    assert len(blocks) == 9
    for shown, real in blocks:
        assert shown == real


def test_the_page_names_what_is_public_and_every_name_is_there() -> None:
    named = re.findall(r"^\| `(\w+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(streams.__all__)
    assert all(getattr(streams, name).__doc__ for name in streams.__all__)


def test_the_notebook_draws_its_plots(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyplot = pytest.importorskip(
        "matplotlib.pyplot", reason="the plots need matplotlib, the extra `notebook`"
    )
    pyplot.switch_backend("agg")
    monkeypatch.chdir(home)
    monkeypatch.setattr(pyplot, "show", lambda: None)
    names: dict[str, Any] = {}
    for number, cell in enumerate(cells()):
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    drawn = [pyplot.figure(number).axes[0] for number in pyplot.get_fignums()]
    zones, flows, accuracy = drawn
    with streams.open_store("lineage-store", role="privacy-officer") as store:
        went = store.sql("SELECT DISTINCT zone FROM events WHERE source = 'g1' AND stream = 'imu-right'")
        versions = store.sql("SELECT version, accuracy FROM models ORDER BY version").to_dicts()
    assert {label.get_text() for label in zones.get_yticklabels()} == {row["zone"] for row in went.to_dicts()}
    assert {"imu", "public", "glasses.answers"} <= {text.get_text() for text in flows.texts}
    assert [tuple(point) for point in accuracy.lines[0].get_xydata()] == [
        (row["version"], row["accuracy"]) for row in versions
    ]
    pyplot.close("all")


def test_the_notebook_holds_no_outputs_and_only_public_names() -> None:
    for cell in cells():
        assert not cell["outputs"]
        assert cell["execution_count"] is None
        imported = re.findall(r"^(?:from|import) (\S+)", "".join(cell["source"]), re.MULTILINE)
        assert set(imported) <= {"streams", "matplotlib"}


def cells() -> list[dict[str, Any]]:
    """Cells of code of the notebook."""
    return [cell for cell in orjson.loads(NOTEBOOK.read_bytes())["cells"] if cell["cell_type"] == "code"]


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory(prefix="sightline-") as directory,
        contextlib.chdir(replayed(Path(directory))),
    ):
        text = PAGE.read_text(encoding="utf-8")
        for shown, real in today():
            text = text.replace(shown, real, 1)
        PAGE.write_text(text, encoding="utf-8")
