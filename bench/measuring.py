"""What counting costs a worker, and how long a scrape takes with many devices; without Kafka."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from statistics import median
from typing import Any
from urllib.request import urlopen

from bench.bars import METRICS, SCRAPE, SERIES, Measured
from bench.consents import known
from bench.in_turn import in_turn
from bench.stages import fetched, first_models
from bench.traffic import GLASSES
from streams import settings
from streams.events.record import Fetch, StoredRecord
from streams.metrics import Numbers, Tally
from streams.metrics.exposition import serving
from streams.pipeline.followed import Followed
from streams.pipeline.glasses import Stages
from streams.pipeline.live import LiveGlasses
from streams.policy.load import load
from streams.policy.versions import PolicyTable, PolicyVersions

_DEVICES, _SCRAPES = 1000, 50


class _Unmeasured(LiveGlasses):
    """A worker's core that counts nothing."""

    def __init__(self, followed: Followed) -> None:
        super().__init__(followed, stages=Stages(tally=lambda *_: Tally()))

    def _measure(self, *_: Any) -> None:
        """Measure nothing."""


def measuring(number: int, pairs: int) -> Measured:
    """Tables: CPU time of `number` batches with and without counting, and scrapes with 1,000 devices.

    Both process each fetch, one right after the other, so that a busy machine is the same for both; which
    comes first changes from fetch to fetch. All of it `pairs` times.
    """
    followed, records = _load(number, _DEVICES)
    numbers = Numbers()
    spent = {True: list[float](), False: list[float]()}
    for turn in range(pairs + 1):
        pair = asyncio.run(_run(followed, records, numbers))
        # The first pair loads what is loaded once.
        if turn:
            for measured, seconds in pair.items():
                spent[measured].append(seconds)
    ratios = [counted / plain for counted, plain in zip(spent[True], spent[False], strict=True)]
    series, scrapes_ms = _scraped(numbers)
    rows = [
        {"what": "without metrics", "CPU µs a batch": round(median(spent[False]) / number * 1e6, 2)},
        {"what": "with metrics", "CPU µs a batch": round(median(spent[True]) / number * 1e6, 2)},
    ]
    scraped = [
        {"what": "series", "value": f"{series:,}"},
        {"what": "scrape, median", "value": f"{median(scrapes_ms):.1f} ms"},
        {"what": "scrape, longest", "value": f"{max(scrapes_ms):.1f} ms"},
    ]
    return Measured(
        {
            f"Counting, {GLASSES.name}, {number:,} batches of {_DEVICES:,} devices, {pairs} pairs": rows,
            f"{_SCRAPES} scrapes after that": scraped,
        },
        [METRICS.held(ratios), SCRAPE.held(scrapes_ms), SERIES.held([series])],
    )


def _load(number: int, devices: int) -> tuple[Followed, list[StoredRecord]]:
    policy = load(settings.POLICY)
    followed = Followed(PolicyTable(PolicyVersions.of(policy)), first_models(policy), known(policy, devices))
    return followed, fetched(GLASSES, number, devices)


async def _run(followed: Followed, records: Sequence[StoredRecord], numbers: Numbers) -> dict[bool, float]:
    """Process all records twice, counted in `numbers` or not; return the CPU seconds of this thread."""
    cores = {True: LiveGlasses(followed), False: _Unmeasured(followed)}

    def after(measured: bool, fetch: Fetch, tally: Tally) -> None:
        if measured:
            _count(numbers, fetch, tally)

    return await in_turn(cores, records, time.thread_time, after)


def _count(numbers: Numbers, fetch: Fetch, tally: Tally) -> None:
    """What an owner of a partition does after each commit (`streams.kafka.ownership`)."""
    numbers.count("fetch_total", agent="glasses")
    numbers.count("fetch_records_total", len(fetch.records), agent="glasses")
    numbers.observe("fetch_compute_seconds", 0.1, agent="glasses")
    numbers.observe("transaction_seconds", 0.1, agent="glasses")
    numbers.add(tally)


def _scraped(numbers: Numbers) -> tuple[int, list[float]]:
    """Number of series, and how long each scrape over HTTP took, in ms."""
    took_ms, text = [], b""
    with serving("127.0.0.1", 0, numbers) as (host, port):
        for _ in range(_SCRAPES):
            began_s = time.perf_counter()
            with urlopen(f"http://{host}:{port}/metrics", timeout=60) as answer:
                text = answer.read()
            took_ms.append((time.perf_counter() - began_s) * 1e3)
    return sum(not line.startswith(b"#") for line in text.splitlines()), took_ms
