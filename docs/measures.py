"""Makes docs/metrics.md from the declarations: `python -m docs.measures`. A test makes it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from streams.limits import (
    DEVICE_FORGOTTEN_S,
    DEVICE_SILENT_S,
    METRICS_INTERVAL_S,
    MODELS_KEPT_MAX,
    SCRAPES_MAX,
    SERIES_MAX,
    STATES_BYTES_MAX,
)
from streams.metrics.declared import DECLARED, PREFIX, PROCESSES, Declared, Process

PAGE = Path(__file__).with_name("metrics.md")
_INTRODUCTION = f"""\
# Metrics

What the processes count and measure, for Prometheus. Made by `python -m docs.measures` from
`streams/metrics/declared.py`; a test makes it again and compares, and another one compares it with what
running processes show.

```sh
sightline worker --metrics-port 9101
sightline snapshots --metrics-port 9102
sightline page --metrics-port 9103
curl http://127.0.0.1:9101/metrics
```

Each process answers at a port of its own, on 127.0.0.1 unless `--metrics-host` names another address; port 0
is any that is free, and the process says which. Whoever reaches the port reads the metrics, unencrypted: they
hold no id of a device, a wearer or an event, but the names of zones, rules and topics. A process whose port
is taken ends with exit code 3 before it reads anything. At most {SCRAPES_MAX} scrapes are answered at a time.
`sightline worker --metrics FILE` writes the same text to a file every {METRICS_INTERVAL_S:g} s instead, for a
collector of text files.

- **Counters begin with zero when a process starts**, so use `rate()` or `increase()`, which know that. What a
  worker does with events is counted when their transaction is committed, so a crash takes nothing back, and
  what is repeated after it counts once. Counts since the last scrape before a crash are not seen by
  Prometheus; the store has all of them.
- **Several workers** share the partitions: add up their counters and their lags. A partition's gauges are
  shown by the worker that owns it, and vanish from the one that lost it.
- **Time.** What ends in `_timestamp_seconds` is a time of day: its age is `time() - x`. Durations,
  `store_waiting_seconds`, `devices_sending` and `devices_stopped` are measured by a clock that never steps.
  `lag_seconds` is too; for a record that is being processed it also compares the broker's time with the time
  of day.
- **Series.** Labels hold kinds, zones, sinks, rules, topics, stages and partitions, never an id, so the
  number of series does not grow with the devices. Should policies bring more than {SERIES_MAX:,} series,
  further sets of labels are counted together as `other`, and `sightline_series_merged_total` says so.

`docker-compose --profile watch up` starts Prometheus and Grafana beside the loop, on this machine only:
[`prometheus.yml`](../observability/prometheus.yml) reads all three,
[`alerts.yml`](../observability/alerts.yml) holds [the alerts](alerts.md), and http://127.0.0.1:3000 shows
[`dashboard.json`](../observability/dashboard.json) to everybody who reaches that port. In a Grafana of your
own, import that file and choose your Prometheus.

![Its panels over a minute of a ride: zones, refusals, lag, the loop, completeness](images/panels.png)

## Traces

`sightline worker --traces-to http://127.0.0.1:4318` (`pip install 'sightline[otel]'`) sends a span of each
fetch to a collector of OpenTelemetry, over HTTP. It has a link to every record of the fetch, by the
record's header `traceparent`; below it are the stages and the transaction. Names and attributes are those
of OpenTelemetry's conventions for messaging, which are still in development. They hold topics, partitions,
offsets and counts, and of an error its type; trace ids are digests of the ids of events. A collector that
is away or hangs loses spans and delays nothing; the log says so. `OTEL_TRACES_SAMPLER` and the other
variables of OpenTelemetry apply. Without `--traces-to` nothing of it is loaded.
"""
_TITLES: Mapping[Process, str] = {
    "worker": "The worker",
    "snapshots": "The writer of the store",
    "page": "The page",
}
#: Questions that the metrics answer, as expressions.
EXPRESSIONS: Mapping[str, str] = {
    "Events per second, by zone": "sum by (zone) (rate(sightline_events_total[5m]))",
    "Share of decisions that refuse": (
        'sum(rate(sightline_decisions_total{verdict!="allow"}[5m]))'
        " / sum(rate(sightline_decisions_total[5m]))"
    ),
    "What reached a sink from a restricted zone": (
        "sum by (sink, zone) (increase(sightline_crossed_events_total[1h]))"
        " and on (zone) (sightline_zone_restricted == 1)"
    ),
    "95 % of fetches took at most": (
        "histogram_quantile(0.95, sum by (le) (rate(sightline_fetch_compute_seconds_bucket[5m])))"
    ),
    "Oldest record that waits, by agent": "max by (agent) (sightline_lag_seconds)",
    "Share of feedback that confirms an answer": (
        'sum(rate(sightline_feedback_total{meaning="confirmed"}[1h]))'
        " / sum(rate(sightline_feedback_total[1h]))"
    ),
    "Words about consent that took more than 5 s": (
        "sum(increase(sightline_consent_effect_seconds_count[1h]))"
        ' - sum(increase(sightline_consent_effect_seconds_bucket{le="5.0"}[1h]))'
    ),
    "Lineage completeness": (
        "1 - sum(increase(sightline_lineage_incomplete_events_total[1h]))"
        " / sum(increase(sightline_lineage_checked_events_total[1h]))"
    ),
    "Disk that is left": "sightline_store_disk_free_bytes / sightline_store_disk_size_bytes",
}
_BOUNDS: Mapping[str, str] = {
    "DEVICE_SILENT_S": f"{DEVICE_SILENT_S:g} s",
    "DEVICE_FORGOTTEN_S": f"{DEVICE_FORGOTTEN_S:g} s",
    "MODELS_KEPT_MAX": f"{MODELS_KEPT_MAX}",
    "STATES_BYTES_MAX": f"{STATES_BYTES_MAX:,} bytes",
    "SERIES_MAX": f"{SERIES_MAX:,}",
}


def page() -> str:
    """Text of metrics.md."""
    return "\n".join([_INTRODUCTION, *_tables(), *_expressions()])


def _tables() -> Iterator[str]:
    shared = {name: each for name, each in DECLARED.items() if len(each.processes) > 1}
    for process in PROCESSES:
        yield f"## {_TITLES[process]}\n"
        yield _table({name: each for name, each in DECLARED.items() if each.processes == (process,)})
    yield "## More than one of them\n"
    yield _table(shared)
    yield (
        f"`{PREFIX}process_*` are those of the Prometheus client for the process itself: CPU, memory, "
        "descriptors, start. They are there on Linux.\n"
    )


def _table(metrics: Mapping[str, Declared]) -> str:
    lines = ["| metric | kind | labels | says |", "|---|---|---|---|"]
    for name, declared in metrics.items():
        labels = ", ".join(f"`{label}`" for label in declared.labels)
        lines.append(f"| `{PREFIX}{name}` | {declared.kind} | {labels} | {_said(declared)} |")
    return "".join(f"{line}\n" for line in lines)


def _said(declared: Declared) -> str:
    text = declared.says
    for name, bound in _BOUNDS.items():
        text = text.replace(name, f"{name} ({bound})")
    if declared.buckets:
        text += f" Buckets up to {', '.join(f'{bound:g}' for bound in declared.buckets)} s."
    if len(declared.processes) > 1:
        text += f" Shown by {', '.join(declared.processes)}."
    return text


def _expressions() -> Iterator[str]:
    yield "## Questions\n"
    for question, expression in EXPRESSIONS.items():
        yield f"{question}:\n\n```promql\n{expression}\n```\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
