"""`sightline report` as somebody types it, and what it says where it cannot write."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streams import limits
from streams.cli.main import main
from tests.page.asking import cells
from tests.page.reported import OFFICER, made, right


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("typed"), right())


def typed(path: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["report", "--store", str(path), "--role", OFFICER, *words])


def chromium(directory: Path, script: str) -> Path:
    """A program of this name that does what `script` says; the directory in which it is."""
    directory.mkdir()
    program = directory / "chromium"
    program.write_text(f"#!{shutil.which('sh')}\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    return directory


def test_it_says_what_it_wrote_and_whether_anything_was_wrong(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    result = typed(path, "--out", str(out))
    assert result.exit_code == 0, result.output
    assert result.output.startswith(
        f"{out}: a report of epoch 2 for {OFFICER}, 0.1 MB; nothing was wrong in what it may take out"
    )
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    bad = made(tmp_path / "bad")
    result = typed(bad, "--out", str(tmp_path / "bad.html"))
    assert result.exit_code == 0
    assert "it has to say: 5 refused by a rule" in result.output


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--out", "report.txt"), "found the ending '.txt', expected .html or .pdf"),
        (("--out", "report"), "found the ending '', expected .html or .pdf"),
        (("--out", "report.html", "--last", "yesterday"), "--last: found 'yesterday', expected a number"),
        (("--out", "report.html", "--last", "0h"), "--last: found '0h'"),
        (("--out", "report.html", "--as-of", "99"), "--as-of: "),
        (("--out", "report.html", "--as-of", "1", "--journal", "."), "--journal: found it beside --as-of"),
        (("--out", "nowhere/report.html"), "cannot be written (No such file or directory)"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = typed(path, *words)
    assert (result.exit_code, complaint in result.output) == (2, True), result.output
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_by_force_alone(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    assert typed(path, "--out", str(out)).exit_code == 0
    refused = typed(path, "--out", str(out))
    assert (refused.exit_code, "found something under this name" in refused.output) == (2, True)
    assert typed(path, "--out", str(out), "--force").exit_code == 0


def test_without_a_chromium_it_says_what_to_install(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = typed(path, "--out", str(tmp_path / "report.pdf"))
    assert result.exit_code == 3
    for words in ("found no Chromium", "apt install chromium", "report.html and print it from a browser"):
        assert words in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("exit 7", "did not print it (CalledProcessError)"),
        ("exit 0", "did not print it (it made no file)"),
        ("exec sleep 60", "did not print it (it was not done after 1 s)"),
    ],
)
def test_a_chromium_that_does_not_print_leaves_nothing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, complaint: str
) -> None:
    monkeypatch.setattr(limits, "REPORT_PRINT_S", 1.0)
    before = os.environ["PATH"]
    monkeypatch.setenv("PATH", f"{chromium(tmp_path / 'bin', script)}:{before}")
    result = typed(path, "--out", str(tmp_path / "report.pdf"))
    assert (result.exit_code, complaint in result.output) == (3, True), result.output
    assert [each.name for each in tmp_path.iterdir()] == ["bin"]


def test_what_is_printed_is_private_and_gone_afterwards(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    script = (
        f'for word; do case "$word" in --print-to-pdf=*) echo "%PDF-1.7" > "${{word#*=}}";; '
        f'file://*) stat -c "%a %n" "${{word#file://}}" > {told}; echo "$@" >> {told};; esac; done'
    )
    monkeypatch.setenv("PATH", f"{chromium(tmp_path / 'bin', script)}:{os.environ['PATH']}")
    result = typed(path, "--out", str(tmp_path / "report.pdf"))
    assert result.exit_code == 0, result.output
    assert (tmp_path / "report.pdf").read_bytes() == b"%PDF-1.7\n"
    mode, name = told.read_text(encoding="utf-8").splitlines()[0].split()
    assert mode == "600"
    assert not Path(name).parent.exists()


def test_the_ledger_is_asked_where_journals_are_named(home: Path, tmp_path: Path) -> None:
    store, journal = home / "lineage-store", home / "journal"
    result = typed(store, "--out", str(tmp_path / "report.html"), "--journal", str(journal))
    assert result.exit_code == 0, result.output
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    ledger = cells(page, "checks")[-1]
    assert ledger[1:] == ["none", "the devices' journals"]
    assert 'class="verdict allow">clean<' in page
    assert len(page) < 3_000_000
