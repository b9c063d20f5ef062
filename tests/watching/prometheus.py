"""A real Prometheus over our processes, and the panels of the dashboard as it answers them.

`python -m tests.watching.prometheus FILE.png SECONDS worker=URL snapshots=URL page=URL` reads the metrics at
these addresses for so long and draws every panel into a picture, to be looked at.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import urlopen

from streams.kafka.broker import free_port
from tests.page.browsing import browser
from tests.patience import PATIENCE_S
from tests.watching.promtool import ALERTS, program

BOARD = json.loads((ALERTS.parent / "dashboard.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
#: What Grafana fills in, for a scrape every two seconds.
INTERVAL = "10s"
_UPLOT = ALERTS.parents[1] / "streams" / "page" / "static" / "uplot"
#: Draws each of PANELS.
_SCRIPT = """
const colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];
for (const panel of PANELS) {
  const series = panel.words.map((label, n) => ({ label, stroke: colours[n % 7], width: 1.5 }));
  const title = panel.title + (panel.words.length ? "" : " (nothing)");
  const axes = [{}, { size: 80 }];
  const place = document.body.appendChild(document.createElement("div"));
  new uPlot({ title, width: 490, height: 190, axes, series: [{}, ...series], legend: { live: false } },
    panel.data, place);
}
"""
#: Times in seconds, and values by the words of the legend.
Series = Mapping[str, Sequence[tuple[float, float]]]


class Prometheus:
    """What has been read so far; `address` answers queries."""

    def __init__(self, address: str) -> None:
        self.address = address

    def panel(self, title: str, seconds: float) -> Series:
        """All lines of a panel over the last seconds; fails if Prometheus refuses one of its expressions."""
        (panel,) = (each for each in PANELS if each["title"] == title)
        lines: dict[str, list[tuple[float, float]]] = {}
        now_s = int(time.time())
        for target in panel["targets"]:
            for found in self._asked(
                target["expr"].replace("$__rate_interval", INTERVAL), now_s - seconds, now_s
            ):
                words = target["legendFormat"]
                for label, value in found["metric"].items():
                    words = words.replace("{{" + label + "}}", value)
                # No event in a time makes a quantile of it no number.
                points = [(at, float(value)) for at, value in found["values"] if value != "NaN"]
                if points:
                    lines[words] = points
        return lines

    def _asked(self, expression: str, begin_s: float, end_s: float) -> list[dict[str, Any]]:
        asked = {"query": expression, "start": begin_s, "end": end_s, "step": 1}
        with urlopen(f"{self.address}/api/v1/query_range?{urlencode(asked)}", timeout=PATIENCE_S) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result


@contextmanager
def reading(directory: Path, targets: Mapping[str, str]) -> Iterator[Prometheus]:
    """A Prometheus that reads addresses by job every two seconds, with our alerts; skips without one."""
    path = program("prometheus")
    text = (ALERTS.parent / "prometheus.yml").read_text(encoding="utf-8").replace("5s", "2s")
    text, _, _ = text.partition("scrape_configs:")
    jobs = "".join(
        f"  - job_name: {job}\n    static_configs: [{{targets: ['{urlsplit(url).netloc}']}}]\n"
        for job, url in targets.items()
    )
    (directory / "prometheus.yml").write_text(f"{text}scrape_configs:\n{jobs}")
    shutil.copy(ALERTS, directory)
    port = free_port()
    options = ("--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=error")
    process = subprocess.Popen([path, *options, f"--web.listen-address=127.0.0.1:{port}"], cwd=directory)
    try:
        address, deadline_s = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE_S
        while not _ready(address):
            assert process.poll() is None
            assert time.monotonic() < deadline_s, "Prometheus does not answer"
            time.sleep(0.1)
        yield Prometheus(address)
    finally:
        process.kill()
        process.wait()


def _ready(address: str) -> bool:
    try:
        with urlopen(f"{address}/-/ready", timeout=PATIENCE_S):
            return True
    except (URLError, OSError):
        return False


def draw(file: Path, panels: Mapping[str, Series]) -> None:
    """Draw panels into a picture, three beside each other."""
    drawn = []
    for panel in PANELS:
        times = sorted({at for line in panels[panel["title"]].values() for at, _ in line})
        lines = {words: dict(line) for words, line in panels[panel["title"]].items()}
        data = [times, *([line.get(at) for at in times] for line in lines.values())]
        drawn.append({"title": panel["title"], "words": list(lines), "data": data})
    page = f"""<!doctype html><meta charset="utf-8"><style>{(_UPLOT / "uPlot.min.css").read_text()}
        body {{ display: grid; grid-template-columns: repeat(3, 1fr); gap: 8px; width: 1500px }}
        div {{ min-width: 0; font: 12px sans-serif }}</style><body>
        <script>{(_UPLOT / "uPlot.iife.min.js").read_text()}</script>
        <script>{_SCRIPT.replace("PANELS", json.dumps(drawn))}</script>"""
    with browser() as launched:
        window = launched.new_page(viewport={"width": 1520, "height": 900})
        window.set_content(page)
        window.screenshot(path=file, full_page=True)


def main() -> None:
    """Read, ask every panel, draw, and say which have nothing to show."""
    file, seconds, targets = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    directory = file.with_suffix(".prometheus")
    directory.mkdir()
    with reading(directory, dict(each.split("=", 1) for each in targets)) as prometheus:
        time.sleep(seconds)
        panels = {panel["title"]: prometheus.panel(panel["title"], seconds) for panel in PANELS}
    draw(file, panels)
    for title, lines in panels.items():
        sys.stdout.write(f"{title}: {', '.join(lines) or 'nothing'}\n")


if __name__ == "__main__":
    main()
