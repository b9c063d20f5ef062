"""Worker and writer show Prometheus what they did: what the store has, and what docs/metrics.md lists."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streams.metrics.declared import DECLARED, PREFIX
from streams.queries.store import Store
from streams.settings.kafka import KafkaSettings
from tests.collector import Collector, Span, collecting
from tests.kafka.world import until_all_is_read
from tests.patience import PATIENCE_S
from tests.test_metrics import ELSEWHERE
from tests.watching.prometheus import PANELS, reading

pytestmark = pytest.mark.kafka
ROOT = Path(__file__).parents[2]
TOPICS_PREFIX = "shown."
Labels = tuple[tuple[str, str], ...]
T = TypeVar("T")
Samples = Mapping[str, Mapping[Labels, float]]


class Running:
    """A process of ours that shows its numbers."""

    def __init__(self, directory: Path, name: str, *words: object) -> None:
        self.ready, log = directory / f"{name}.ready", directory / f"{name}.log"
        self._log = log.open("w+", encoding="utf-8")
        command = [sys.executable, "-m", "streams.cli", *map(str, words)]
        command += ["--metrics-port", "0", "--ready-file", str(self.ready)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=self._log, stderr=self._log)
        until(lambda: self.ready.exists() or self.process.poll() is not None)
        text = log.read_text(encoding="utf-8")
        address = re.search(r"^metrics on (http://\S+)$", text, re.MULTILINE)
        assert address is not None, text
        self.address = address[1]

    def samples(self) -> Samples:
        """All samples by name without the prefix, and by labels."""
        with urlopen(self.address, timeout=PATIENCE_S) as answer:
            text = answer.read().decode()
        samples: dict[str, dict[Labels, float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                of = samples.setdefault(sample.name.removeprefix(PREFIX), {})
                of[tuple(sorted(sample.labels.items()))] = sample.value
        return samples

    def stop(self, *, kill: bool = False) -> None:
        if self.process.poll() is None:
            (self.process.kill if kill else self.process.terminate)()
            self.process.wait(PATIENCE_S)
        self._log.close()


TITLES = {panel["title"] for panel in PANELS}
#: Panels of the dashboard that have something to show after a short ride, without a page and without harm.
#: Drift takes more questions than it has, and a quantile more time than between two scrapes.
FILLED = TITLES - {
    "Restricted zones into sinks",
    "Declassified",
    "Drift of what the model reads",
    "Fetches, 95 % within",
    "Pages, 95 % within",
    "Words about consent, 99 % heeded within",
}


def until(wanted: Callable[[], T]) -> T:
    """What `wanted` gives as soon as that is true."""
    end_s = time.monotonic() + PATIENCE_S
    while not (given := wanted()):
        assert time.monotonic() < end_s, "it never came"
        time.sleep(0.1)
    return given


def names(samples: Samples) -> set[str]:
    """Declared names among samples: those of a histogram have an ending."""
    plain = {name if name in DECLARED else re.sub(r"_(bucket|sum|count)$", "", name) for name in samples}
    return {name for name in plain if not name.startswith("process_")}


def total(name: str, *shown: Samples) -> float:
    """Sum of a counter over processes and labels."""
    return sum(sum(samples.get(name, {}).values()) for samples in shown)


def by(samples: Mapping[Labels, float], *labels: str) -> dict[tuple[str, ...], float]:
    sums = Counter[tuple[str, ...]]()
    for key, value in samples.items():
        sums[tuple(dict(key)[label] for label in labels)] += int(value)
    return dict(sums)


def play(broker: str, directory: Path, *more: str) -> None:
    command = [sys.executable, "-m", "device_sim", "run", "--to", "kafka", "--broker", broker]
    command += ["--topic-prefix", TOPICS_PREFIX, "--speed", "20", "--journal", str(directory), *more]
    done = subprocess.run(
        command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=2 * PATIENCE_S
    )
    assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def running(directory: Path, name: str, *words: object) -> Iterator[Running]:
    made = Running(directory, name, *words)
    try:
        yield made
    finally:
        made.stop()


def rows(store: Path, statement: str) -> dict[tuple[str, ...], float]:
    with Store.open(store) as opened:
        return {tuple(key): count for *key, count in opened.sql(statement).rows}


#: What is published before a worker begins is no fetch: the seed, and the model that was made of it.
_FETCHED = "stream <> 'seed' AND NOT (stream = 'intent-model' AND \"first\" = 1)"


def check_against(store: Path, worker: Samples) -> None:
    """What the worker counted is what SQL finds in the store, which other code wrote."""

    def stored(columns: str, table: str, where: str = "true") -> dict[tuple[str, ...], float]:
        return rows(
            store, f'SELECT {columns}, sum("count") FROM {table} WHERE {_FETCHED} AND {where} GROUP BY ALL'
        )

    assert by(worker["events_total"], "kind", "zone") == stored("kind, zone", "events")
    decided = by(worker["decided_events_total"], "sink", "zone", "verdict")
    assert decided == stored("sink, zone, verdict", "decisions")
    assert by(worker["crossed_events_total"], "sink", "zone") == stored("sink, zone", "decisions", "passed")
    rejected = by(worker.get("rejected_events_total", {}), "stage", "outcome", "rule")
    assert rejected == stored("stage, outcome, rule", "rejected")


def serving(store: Path) -> float:
    """The newest version that was not declined."""
    declined = "SELECT version FROM promotions WHERE outcome = 'declined'"
    statement = f"SELECT 'serves', max(version) FROM models WHERE version NOT IN ({declined})"
    return rows(store, statement)["serves",]


def fetches(spans: Sequence[Span]) -> list[Span]:
    """Those of whole fetches."""
    return [span for span in spans if span.name.startswith("process ")]


def parts_of(spans: Sequence[Span]) -> Counter[str]:
    """Parts of whole fetches, by name; those of a fetch that goes on come before it."""
    known = {span.trace for span in fetches(spans)}
    return Counter(span.name for span in spans if span.parent and span.trace in known)


def all_traced(collector: Collector, worker: Running) -> tuple[list[Span], Samples]:
    """Spans and samples of a moment in which all that was counted had been traced, with its parts."""

    def moment() -> tuple[list[Span], Samples] | None:
        samples, spans = worker.samples(), list(collector.spans)
        counted, parts = total("fetch_total", samples), parts_of(spans)
        whole = len(fetches(spans)) == counted == parts["compute"] == parts["transaction"]
        return (spans, samples) if whole else None

    moments = until(moment)
    assert moments is not None
    return moments


def check_traces(spans: Sequence[Span], worker: Samples) -> None:
    """Each fetch that was counted was traced, with all its records, its stages and its transaction."""
    whole, parts = fetches(spans), parts_of(spans)
    records = sum(int(span.attributes["messaging.batch.message_count"]) for span in whole)
    assert records == sum(len(span.links) for span in whole) == total("fetch_records_total", worker)
    captured = [span for span in whole if span.name == "process glasses.captured"]
    assert parts["zones"] == parts["lineage"] == len(captured)
    assert not re.search(r"\bw[123]\b|\bg[123]/", str(spans)), "nobody is named"


def settled(of: Sequence[Running]) -> bool:
    """Whether all four partitions are shown by one of some workers each, and nobody is behind."""
    lags = [key for each in of for key, lag in each.samples().get("lag_records", {}).items() if not lag]
    partitions = sorted(dict(key)["partition"] for key in lags if dict(key)["agent"] == "glasses")
    return partitions == ["0", "1", "2", "3"]


def test_a_running_worker_shows_what_its_store_has(broker: str, tmp_path: Path) -> None:
    around = ("--broker", broker, "--topic-prefix", TOPICS_PREFIX)
    pairs = [word for number in range(1, 4) for word in ("--pair", f"g{number}=w{number}")]
    with contextlib.ExitStack() as stack:
        collector = stack.enter_context(collecting())
        traced = ("--traces-to", collector.address)
        worker = stack.enter_context(running(tmp_path, "worker", "worker", *around, *pairs, *traced))
        begun = worker.samples()
        assert begun["training_failed_total"][()] == 0, "who never fails can be seen not to"
        store = tmp_path / "store"
        writer = stack.enter_context(running(tmp_path, "snapshots", "snapshots", *around, "--store", store))
        (home := tmp_path / "prometheus").mkdir()
        targets = {"worker": worker.address, "snapshots": writer.address}
        prometheus = stack.enter_context(reading(home, targets))
        play(broker, tmp_path / "sent", "--scenario", "smoke", "--devices", "3", "--faults")
        until_all_is_read(KafkaSettings(broker, topic_prefix=TOPICS_PREFIX), TOPICS_PREFIX)
        until(lambda: settled([worker]))
        until(lambda: not any(writer.samples().get("lag_records", {(): 1}).values()))
        until(lambda: writer.samples()["store_waiting_rows"][()] == 0)
        # It is measured now and then, so it can be of a moment ago.
        until(lambda: max(writer.samples()["lag_seconds"].values()) == 0)
        until(lambda: writer.samples().get("lineage_checked_events_total", {(): 0})[()])
        # Workers follow models beside what they read, so the newest may come a moment later.
        until(lambda: worker.samples()["model_generation"][()] == serving(store))
        shown, stored = worker.samples(), writer.samples()
        check_against(store, shown)
        assert sum(shown["devices_known"].values()) == 3
        assert total("devices_sending", shown) + total("devices_stopped", shown) <= 3
        ((epochs,),) = rows(store, "SELECT max(epoch), 0 FROM epochs")
        # It may have published one more since its numbers were read.
        until(lambda: writer.samples()["store_epoch"][()] >= float(epochs))
        assert stored["lineage_incomplete_events_total"][()] == 0
        seen = names(shown) | names(stored)
        assert seen <= DECLARED.keys(), "docs/metrics.md lacks what is shown"
        # What stays zero was not made to happen here.
        seen -= {name for name in seen if DECLARED[name].kind == "counter" and not total(name, shown, stored)}
        assert DECLARED.keys() - seen <= ELSEWHERE.keys(), "no test makes it happen; why is it declared?"

        # Spans come every few seconds, and the last fetches may still be counted.
        check_traces(*all_traced(collector, worker))
        # On a busy machine a scrape can take longer than Prometheus waits.
        until(lambda: not [title for title in FILLED if not prometheus.panel(title, 120.0)])

        # Another worker takes some of the partitions: each is shown by one of them, also while they change.
        other = stack.enter_context(running(tmp_path, "other", "worker", *around))
        until(lambda: settled([worker, other]))
        play(broker, tmp_path / "sent", "--scenario", "smoke", "--devices", "3", "--no-faults")
        until_all_is_read(KafkaSettings(broker, topic_prefix=TOPICS_PREFIX), TOPICS_PREFIX)
        until(lambda: settled([worker, other]))
        parts = [worker.samples(), other.samples()]
        assert total("devices_known", *parts) == 3

        # A worker that starts again begins with zero, as Prometheus expects of a counter.
        other.stop(kill=True)
        until(lambda: settled([worker]))
        after = stack.enter_context(running(tmp_path, "after", "worker", *around))
        assert sum(after.samples().get("events_total", {}).values()) == 0
