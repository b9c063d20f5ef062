"""The table of `docs/scaling.md` is what the kept results say, and its arithmetic is right."""

from __future__ import annotations

from bench.scaling import BEGIN, END, PAGE, Costs, plan, written


def test_the_page_is_what_the_kept_results_say() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert BEGIN in page
    assert END in page
    assert written(page, Costs.read()) == page


def test_a_fleet_is_planned_from_costs_a_batch() -> None:
    """By hand: 10,000 batches/s of 50 µs are half a core of workers; a writer takes 4,000 of them."""
    costs = Costs(
        worker_us=50.0,
        broker_us=20.0,
        worker_per_s=20_000.0,
        writer_per_s=4_000.0,
        resting_cores=0.2,
        store_bytes=40.0,
    )
    # Two cores less the writer's 0.2 for its epochs, over 4,000 batches, less 70 µs of worker and broker.
    assert round(costs.writer_us, 6) == 380.0
    assert plan(costs, 1_000, 10) == {
        "pairs": "1,000",
        "batches/s": "10,000",
        "broker, cores": "0.20",
        "workers": "1",
        "their cores": "0.50",
        "writers": "4",
        "their cores, at most": "4.60",
        "partitions, at least": "4",
        "store, GB a day": "34.6",
    }
