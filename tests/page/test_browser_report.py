"""A report in a real browser: from the file system, on any screen, and on paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser

from streams.cli.main import main
from streams.page.drawing.series import drawn_series
from streams.page.drawing.svg import drawn
from tests.page import sample
from tests.page.browsing import browser, chromium, visiting
from tests.page.reported import OFFICER, made, report

pytestmark = pytest.mark.browser

#: A sheet of A4 across, without its margins, in pixels of CSS.
_SHEET = (1032, 690)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("seen"))


@pytest.fixture(scope="module")
def file(path: Path) -> Path:
    report(path, path.parent / "report.html")
    return path.parent / "report.html"


@pytest.fixture(scope="module")
def launched() -> Iterator[Browser]:
    with browser() as chromium:
        yield chromium


@pytest.mark.parametrize(
    ("width", "scheme"), [(640, "light"), (1280, "light"), (1280, "dark"), (2560, "light")]
)
def test_it_opens_from_the_file_system_without_a_fault(
    launched: Browser, file: Path, width: int, scheme: str
) -> None:
    with visiting(
        launched, file.as_uri(), width=width, scheme="dark" if scheme == "dark" else "light"
    ) as visit:
        visit.page.goto(file.as_uri())
        assert visit.page.locator("h1").text_content() == "Report of lineage-store"
        # Its style was let in by its own policy.
        assert visit.page.evaluate("getComputedStyle(document.querySelector('.table')).overflowX") == "auto"
        assert visit.faults() == []
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        visit.check()


def test_on_a_sheet_nothing_is_cut_or_beside_it(launched: Browser, file: Path) -> None:
    with visiting(launched, file.as_uri(), width=_SHEET[0], scheme="dark") as visit:
        visit.page.goto(file.as_uri())
        visit.page.emulate_media(media="print", color_scheme="dark")
        assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        boxes = visit.page.eval_on_selector_all(
            ".drawing svg, table, pre, .notice, .facts",
            "all => all.map(each => each.getBoundingClientRect()).map(box => [box.right, box.height])",
        )
        assert len(boxes) > 20
        assert max(right for right, _ in boxes) <= _SHEET[0]
        drawings = visit.page.eval_on_selector_all(
            ".drawing svg", "all => all.map(each => each.getBoundingClientRect().height)"
        )
        assert len(drawings) >= 4
        assert max(drawings) <= _SHEET[1]
        assert visit.page.locator("nav").is_hidden()
        heads = "all => all.map(each => getComputedStyle(each).display)"
        assert set(visit.page.eval_on_selector_all("thead", heads)) == {"table-header-group"}


def test_a_printed_report_is_a_pdf_of_several_sheets(path: Path, tmp_path: Path) -> None:
    chromium()
    out = tmp_path / "report.pdf"
    result = CliRunner().invoke(main, ["report", "--store", str(path), "--role", OFFICER, "--out", str(out)])
    assert result.exit_code == 0, result.output
    content = out.read_bytes()
    assert content.startswith(b"%PDF-")
    assert content.rstrip().endswith(b"%%EOF")
    sheets = re.findall(rb"/Type /Page\b", content)
    assert 5 <= len(sheets) <= 40
    # A4 across, in points.
    boxes = {tuple(map(float, each.split())) for each in re.findall(rb"/MediaBox \[([^\]]*)\]", content)}
    assert {(round(right), round(top)) for _, _, right, top in boxes} == {(842, 595)}
    title = f"Report of {path.name}, epoch 2"
    assert title.encode("utf-16-be").hex().upper().encode() in content


def test_a_long_drawing_goes_on_over_sheets_and_others_fit_one(launched: Browser) -> None:
    """What is not readable at the size of a sheet stays as large as it is."""
    style = (sample.STATIC / "page.css").read_text(encoding="utf-8")
    few, many = drawn_series(sample.accuracy()), drawn(sample.answer(), sample.LOOKS)
    tall = many.replace('class="drawing', 'class="drawing long', 1).replace("<svg", "<svg data-tall", 1)
    page = f"<!doctype html><style>{style}</style><main>{few}{tall}</main>"
    with visiting(launched, "about:blank", width=_SHEET[0]) as visit:
        visit.page.set_content(page.replace("data-tall", 'style="height:3000px;width:400px"'))
        visit.page.emulate_media(media="print")
        limits = visit.page.eval_on_selector_all(
            ".drawing svg", "all => all.map(each => getComputedStyle(each).maxHeight)"
        )
        assert limits[0] != "none"
        assert limits[1] == "none"
