"""The metrics are in Prometheus' format, and only declared names are counted."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from streams import metrics

STREAMS = Path(__file__).parent.parent / "streams"
LINE = re.compile(r'sightline_[a-z_]+(\{[a-z_]+="[^"\\\n]*"(,[a-z_]+="[^"\\\n]*")*\})? -?[0-9.e+]+')


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_values", {})


def test_text_is_in_the_exposition_format(tmp_path: Path) -> None:
    metrics.count("fetch_total", agent="glasses")
    metrics.count("fetch_total", 2, agent="glasses")
    metrics.count("output_total", 5, agent="glasses", topic="glasses.rejected")
    metrics.highest("state_bytes_max", 10, agent="glasses")
    metrics.highest("state_bytes_max", 7, agent="glasses")
    metrics.gauge("fetch_in_flight_bytes", 0)
    metrics.write(tmp_path / "worker.prom")
    assert [path.name for path in tmp_path.iterdir()] == ["worker.prom"]
    lines = (tmp_path / "worker.prom").read_text().splitlines()
    assert 'sightline_fetch_total{agent="glasses"} 3' in lines
    assert 'sightline_state_bytes_max{agent="glasses"} 10' in lines
    assert "# TYPE sightline_fetch_total counter" in lines
    assert all(line.startswith("# ") or LINE.fullmatch(line) for line in lines)


def test_numbers_are_whole_under_what_says_what_they_are() -> None:
    metrics.count("state_written_bytes_total", 1_234_567_890_123, agent="glasses")
    metrics.gauge("fetch_in_flight_bytes", 16_777_216)
    assert metrics.text() == (
        f"# HELP sightline_fetch_in_flight_bytes {metrics.DECLARED['fetch_in_flight_bytes'][1]}\n"
        "# TYPE sightline_fetch_in_flight_bytes gauge\n"
        "sightline_fetch_in_flight_bytes 16777216\n"
        f"# HELP sightline_state_written_bytes_total {metrics.DECLARED['state_written_bytes_total'][1]}\n"
        "# TYPE sightline_state_written_bytes_total counter\n"
        'sightline_state_written_bytes_total{agent="glasses"} 1234567890123\n'
    )


def test_what_was_never_counted_is_nothing() -> None:
    assert metrics.read("fetch_total", agent="glasses") == 0
    metrics.count("fetch_total", 2, agent="training")
    assert metrics.read("fetch_total", agent="glasses") == 0
    assert metrics.read("fetch_total", agent="training") == 2


def test_a_reader_never_sees_half_of_it(tmp_path: Path) -> None:
    path = tmp_path / "worker.prom"
    metrics.count("fetch_total", agent="glasses")
    metrics.write(path)
    with path.open(encoding="utf-8") as reading:
        before = metrics.text()
        metrics.count("fetch_total", 1000, agent="glasses")
        metrics.write(path)
        assert reading.read() == before
    assert path.read_text(encoding="utf-8") == metrics.text()


def test_every_name_in_use_is_declared_and_every_declared_name_is_in_use() -> None:
    used = {
        call.args[0].value
        for path in STREAMS.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "metrics"
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }
    assert used == metrics.DECLARED.keys()
