"""Numbers as text, made by the Prometheus client, in a file or over HTTP."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from streams import files
from streams.limits import SCRAPE_WAIT_S, SCRAPES_MAX
from streams.listening import bound
from streams.metrics.declared import PREFIX, Declared
from streams.metrics.numbers import Labels, Numbers


class Exported(Collector):
    """Gives a process' numbers to the Prometheus client."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def collect(self) -> Iterator[Metric]:
        """All metrics that have a value."""
        return (_metric(*each) for each in self._numbers.current())


def _metric(name: str, declared: Declared, values: Mapping[Labels, list[float]]) -> Metric:
    full, labels = PREFIX + name, declared.labels
    if declared.kind == "histogram":
        histogram = HistogramMetricFamily(full, declared.says, labels=labels)
        bounds = [*map(floatToGoString, declared.buckets), "+Inf"]
        for key, (*counts, total) in values.items():
            histogram.add_metric(key, list(zip(bounds, _sums(counts), strict=True)), total)
        return histogram
    family = CounterMetricFamily if declared.kind == "counter" else GaugeMetricFamily
    metric = family(full, declared.says, labels=labels)
    for key, (value,) in values.items():
        metric.add_metric(key, value)
    return metric


def _sums(counts: Iterable[float]) -> Iterator[float]:
    total = 0.0
    for each in counts:
        total += each
        yield total


def registry(numbers: Numbers) -> CollectorRegistry:
    """Return a registry of the Prometheus client with these numbers, and those of the process itself."""
    registered = CollectorRegistry(auto_describe=False)
    registered.register(Exported(numbers))
    ProcessCollector(namespace=PREFIX.rstrip("_"), registry=registered)
    return registered


def write(path: Path, numbers: Numbers) -> None:
    """Write the text to a file atomically, for a collector of text files; readers see only complete files."""
    with files.written(path) as file:
        file.write(generate_latest(registry(numbers)))


class _Handler(WSGIRequestHandler):
    """Answers one request and ends the connection, also if nothing comes on it."""

    timeout = SCRAPE_WAIT_S

    def log_message(self, *_: Any) -> None:
        """Log nothing of requests."""

    def address_string(self) -> str:
        """Address of the client; its name would have to be asked for."""
        return str(self.client_address[0])


class _Server(ThreadingWSGIServer):
    """A thread for each request, but no more than SCRAPES_MAX at one time; further ones are refused."""

    def __init__(self, listening: socket.socket, answer: Callable[..., Any]) -> None:
        super().__init__(listening.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.server_name, self.server_port = listening.getsockname()[:2]
        self.setup_environ()
        self.set_app(answer)
        self._room = threading.BoundedSemaphore(SCRAPES_MAX)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for one more."""
        del request, client_address
        return self._room.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away."""


@contextlib.contextmanager
def serving(host: str, port: int, numbers: Numbers) -> Iterator[tuple[str, int]]:
    """Answer `GET /metrics` in threads until the block ends; the value is the address listened on.

    Port 0 is any that is free. A scrape needs no event loop, so it is answered while a worker rebalances.

    Raises
    ------
    UnavailableError
        The address cannot be listened on.
    """
    with bound(
        host,
        port,
        lambda why: f"--metrics-host {host}: cannot be listened on ({why})",
        lambda why: (
            f"--metrics-port {port}: {host}:{port} cannot be listened on ({why}); name another port, or 0 "
            "for any that is free"
        ),
    ) as listening:
        server = _Server(listening, make_wsgi_app(registry(numbers)))
        thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[:2]
        finally:
            server.shutdown()
            thread.join()
