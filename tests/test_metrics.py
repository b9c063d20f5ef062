"""The numbers in memory, and the text that the Prometheus client makes of them."""

from __future__ import annotations

import ast
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.request import urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from streams import limits
from streams.errors import UnavailableError
from streams.metrics import DECLARED, Numbers, Tally
from streams.metrics.declared import PREFIX, PROCESSES
from streams.metrics.exposition import serving, write

STREAMS = Path(__file__).parent.parent / "streams"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Samples:
    """All samples of a text by name and labels, read by the client's own parser."""
    return {
        (sample.name.removeprefix(PREFIX), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def shown(numbers: Numbers, directory: Path) -> Samples:
    write(directory / "numbers.prom", numbers)
    assert [path.name for path in directory.iterdir()] == ["numbers.prom"]
    return parsed((directory / "numbers.prom").read_text(encoding="utf-8"))


def test_text_is_what_prometheus_reads(tmp_path: Path) -> None:
    numbers = Numbers()
    numbers.count("fetch_total", agent="glasses")
    numbers.count("fetch_total", 2, agent="glasses")
    numbers.count("state_written_bytes_total", 1_234_567_890_123, agent="glasses")
    numbers.count("rejected_events_total", 5, stage="zones", outcome="refused", rule='a "rule"\n\\')
    numbers.highest("state_bytes_max", 10, agent="glasses")
    numbers.highest("state_bytes_max", 7, agent="glasses")
    numbers.gauge("fetch_in_flight_bytes", 0)
    samples = shown(numbers, tmp_path)
    assert samples["fetch_total", (("agent", "glasses"),)] == 3
    assert samples["state_written_bytes_total", (("agent", "glasses"),)] == 1_234_567_890_123
    assert samples["state_bytes_max", (("agent", "glasses"),)] == 10
    assert samples["fetch_in_flight_bytes", ()] == 0
    labels = (("outcome", "refused"), ("rule", 'a "rule"\n\\'), ("stage", "zones"))
    assert samples["rejected_events_total", labels] == 5
    assert samples["process_resident_memory_bytes", ()] > 1e6


@given(st.lists(st.floats(0, 20) | st.sampled_from(DECLARED["fetch_compute_seconds"].buckets)))
def test_a_histogram_counts_what_is_at_most_its_bounds(values: list[float]) -> None:
    numbers = Numbers()
    numbers.begin("snapshots")
    for value in values:
        numbers.observe("store_publish_seconds", value)
    ((_, _, sets),) = (each for each in numbers.current() if each[0] == "store_publish_seconds")
    *counts, total = sets[()]
    bounds = (*DECLARED["store_publish_seconds"].buckets, float("inf"))
    for at, bound in enumerate(bounds):
        assert sum(counts[: at + 1]) == sum(value <= bound for value in values)
    assert total == pytest.approx(sum(values))


def test_a_histogram_is_shown_in_sums(tmp_path: Path) -> None:
    numbers = Numbers()
    for value in (0.001, 0.02, 0.02, 99.0):
        numbers.observe("transaction_seconds", value, agent="glasses")
    samples = shown(numbers, tmp_path)
    buckets = {
        dict(labels)["le"]: value
        for (name, labels), value in samples.items()
        if name == "transaction_seconds_bucket"
    }
    assert (buckets["0.005"], buckets["0.025"], buckets["10.0"], buckets["+Inf"]) == (1, 3, 3, 4)
    assert samples["transaction_seconds_count", (("agent", "glasses"),)] == 4
    assert samples["transaction_seconds_sum", (("agent", "glasses"),)] == pytest.approx(99.041)


def test_what_was_never_counted_is_nothing() -> None:
    numbers = Numbers()
    assert numbers.read("fetch_total", agent="glasses") == 0
    numbers.count("fetch_total", 2, agent="training")
    assert numbers.read("fetch_total", agent="glasses") == 0
    assert numbers.read("fetch_total", agent="training") == 2


def test_counters_without_labels_begin_with_zero_where_they_are_counted(tmp_path: Path) -> None:
    numbers = Numbers()
    numbers.begin("snapshots")
    samples = shown(numbers, tmp_path)
    assert samples["store_write_failed_total", ()] == 0
    assert samples["store_publish_seconds_count", ()] == 0
    assert ("training_failed_total", ()) not in samples, "the worker counts it"
    assert ("store_epoch", ()) not in samples, "a gauge that nobody has set says nothing"


@pytest.mark.parametrize("labels", [{}, {"agent": "glasses"}, {"agent": "a", "topic": "b", "device": "g1"}])
def test_labels_are_those_that_are_declared(labels: dict[str, str]) -> None:
    numbers, tally = Numbers(), Tally()
    with pytest.raises(AssertionError, match="output_total"):
        numbers.count("output_total", 1, **labels)
    with pytest.raises(AssertionError, match="output_total"):
        tally.count("output_total", 1, **labels)
    assert not list(numbers.current())


def test_a_tally_counts_once_it_is_added() -> None:
    numbers, first, second = Numbers(), Tally(), Tally()
    first.count("events_total", 3, kind="imu", zone="home")
    second.count("events_total", 4, kind="imu", zone="home")
    second.observe("consent_effect_seconds", 1.5)
    first.merge(second)
    assert numbers.read("events_total", kind="imu", zone="home") == 0
    numbers.add(first)
    numbers.add(first)
    assert numbers.read("events_total", kind="imu", zone="home") == 14
    assert numbers.read("consent_effect_seconds") == 3


def series(numbers: Numbers, directory: Path) -> int:
    return sum(not name.startswith("process_") for name, _ in shown(numbers, directory))


def test_series_are_bounded_whatever_the_labels_hold(tmp_path: Path) -> None:
    numbers = Numbers()
    for process in PROCESSES:
        numbers.begin(process)
    for at in range(3 * limits.SERIES_MAX):
        numbers.count("events_total", kind="imu", zone=f"zone-{at}")
        numbers.observe("transaction_seconds", 1, agent=f"agent-{at}")
    for name, declared in DECLARED.items():
        labels = dict.fromkeys(declared.labels, "late")
        (numbers.observe if declared.kind == "histogram" else numbers.count)(name, 1, **labels)
    assert 0.9 * limits.SERIES_MAX <= series(numbers, tmp_path) <= limits.SERIES_MAX
    samples = shown(numbers, tmp_path)
    events = sum(value for (name, _), value in samples.items() if name == "events_total")
    assert events == 3 * limits.SERIES_MAX + 1, "what is merged is counted all the same"
    assert samples["events_total", (("kind", "other"), ("zone", "other"))] > limits.SERIES_MAX
    assert samples["series_merged_total", ()] > limits.SERIES_MAX


def test_what_is_forgotten_makes_room(tmp_path: Path) -> None:
    numbers = Numbers()
    for at in range(3 * limits.SERIES_MAX):
        numbers.gauge("devices_known", at, partition=str(at))
        numbers.forget("devices_known", partition=str(at))
    numbers.forget("devices_known", partition="never there")
    numbers.gauge("devices_known", 1, partition="0")
    samples = shown(numbers, tmp_path)
    assert samples["devices_known", (("partition", "0"),)] == 1
    assert ("series_merged_total", ()) not in samples


def test_a_hook_sets_what_depends_on_the_time(tmp_path: Path) -> None:
    numbers, reads = Numbers(), list[int]()

    def hook() -> None:
        reads.append(1)
        numbers.gauge("store_waiting_seconds", 7)

    end = numbers.before_reading(hook)
    assert shown(numbers, tmp_path)["store_waiting_seconds", ()] == 7
    end()
    shown(numbers, tmp_path)
    assert len(reads) == 1


def test_a_reader_never_sees_half_of_it(tmp_path: Path) -> None:
    path, numbers = tmp_path / "worker.prom", Numbers()
    numbers.count("fetch_total", agent="glasses")
    write(path, numbers)
    with path.open(encoding="utf-8") as reading:
        before = path.read_text(encoding="utf-8")
        numbers.count("fetch_total", 1000, agent="glasses")
        write(path, numbers)
        assert reading.read() == before
    assert path.read_text(encoding="utf-8") != before


def scrape(address: tuple[str, int], path: str = "metrics") -> str:
    with urlopen(f"http://{address[0]}:{address[1]}/{path}", timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/plain")
        return str(answer.read().decode())


def test_a_scrape_gives_what_the_file_has() -> None:
    numbers = Numbers()
    numbers.count("fetch_total", 41, agent="glasses")
    with serving("127.0.0.1", 0, numbers) as address:
        numbers.count("fetch_total", agent="glasses")
        assert parsed(scrape(address))["fetch_total", (("agent", "glasses"),)] == 42
    with pytest.raises(OSError, match="refused"):
        scrape(address)


def test_a_taken_port_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(UnavailableError, match=rf"--metrics-port {port}: .* name another port"),
            serving("127.0.0.1", port, Numbers()),
        ):
            pass


def test_a_host_that_is_not_here_is_said() -> None:
    with (
        pytest.raises(UnavailableError, match=r"192\.0\.2\.1:.* cannot be listened on"),
        serving("192.0.2.1", 0, Numbers()),
    ):
        pass


def test_clients_that_ask_for_nothing_hold_up_nobody() -> None:
    numbers = Numbers()
    with serving("127.0.0.1", 0, numbers) as address:
        idle = [socket.create_connection(address) for _ in range(limits.SCRAPES_MAX - 1)]
        try:
            assert "# HELP" in scrape(address)
        finally:
            for each in idle:
                each.close()


def test_scrapes_and_counts_of_many_threads_lose_nothing() -> None:
    numbers = Numbers()

    def counting() -> None:
        for at in range(2000):
            numbers.count("output_total", agent="glasses", topic=f"topic-{at % 7}")

    threads = [threading.Thread(target=counting) for _ in range(4)]
    with serving("127.0.0.1", 0, numbers) as address:
        for thread in threads:
            thread.start()
        for _ in range(5):
            parsed(scrape(address))
        for thread in threads:
            thread.join()
        samples = parsed(scrape(address))
    assert sum(value for (name, _), value in samples.items() if name == "output_total") == 8000


#: What a calm run of worker and writer does not show (`tests/kafka/test_shown.py`), and tests that make it
#: happen.
ELSEWHERE: Mapping[str, str] = {
    "consent_effect_seconds": "tests/pipeline/test_tally.py",
    "declassified_events_total": "tests/training/test_training.py",
    "declassifiers_overdue_total": "tests/policy/test_reviews.py",
    "device_states_loaded_total": "tests/recovery/test_shelf.py",
    "device_states_shelved_bytes_total": "tests/recovery/test_shelf.py",
    "device_states_shelved_total": "tests/recovery/test_shelf.py",
    "keys_destroyed_total": "tests/worker/test_sealing.py",
    "opened_total": "tests/sealing/test_examples.py",
    "fetch_retried_total": "tests/kafka/test_steps.py",
    "fold_failed_total": "tests/snapshots/test_scarcity.py",
    "follow_failed_total": "tests/worker/test_followers.py",
    "foreign_commit_total": "tests/kafka/test_groups.py",
    "late_events_total": "tests/pipeline/test_tally.py",
    "training_declined_total": "tests/training/test_promotion.py",
    "training_turned_back_total": "tests/training/test_turning.py",
    "training_held_total": "tests/training/test_quality.py",
    "training_refused_total": "tests/training/test_assets.py",
    "shadow_answers_total": "tests/training/test_shadow_answers.py",
    "lineage_incomplete_events_total": "tests/snapshots/test_store_measures.py",
    "model_input_drift_psi": "tests/pipeline/test_tally.py",
    "page_request_seconds": "tests/page/test_measuring.py",
    "page_requests_total": "tests/page/test_measuring.py",
    "passed_over_total": "tests/worker/test_followers.py",
    "poisoned_total": "tests/kafka/test_compute.py",
    "series_merged_total": "tests/test_metrics.py",
    "shadow_different_events_total": "tests/pipeline/test_tally.py",
    "state_refused_total": "tests/kafka/test_restore.py",
    "store_write_failed_total": "tests/snapshots/test_measuring.py",
    "training_failed_total": "tests/training/test_runs.py",
    "training_left_out_examples": "tests/training/test_runs.py",
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_no_calm_run_shows_has_a_test_of_its_own(name: str) -> None:
    path = STREAMS.parent / ELSEWHERE[name]
    assert name in DECLARED
    assert f'"{name}"' in path.read_text(encoding="utf-8")


COUNTING = {"count", "gauge", "highest", "observe", "forget", "read"}


def names_in_use() -> Iterator[str]:
    """Names of metrics in calls of the functions that count, of the process or of a tally."""
    for path in STREAMS.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr in COUNTING
                and ast.unparse(call.func.value) in ("metrics", "tally")
                and isinstance(call.args[0], ast.Constant)
            ):
                yield str(call.args[0].value)


def test_every_name_in_use_is_declared_and_every_declared_name_is_in_use() -> None:
    own = {"series_merged_total"}
    assert set(names_in_use()) | own == DECLARED.keys()


@pytest.mark.parametrize("name", DECLARED)
def test_names_keep_to_the_rules_of_prometheus(name: str) -> None:
    declared = DECLARED[name]
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", name)
    assert name.endswith("_total") == (declared.kind == "counter")
    assert bool(declared.buckets) == (declared.kind == "histogram")
    assert not re.search(r"_(ms|millis\w*|minutes|hours|kb|mb|percent)(_|$)", name), "units are base units"
    assert not {"device", "wearer", "event", "offset", "id", "source", "stream"} & set(declared.labels)
    assert declared.says.endswith(".")
    assert sorted(declared.buckets) == list(declared.buckets)
